"""Calibration of the reward and termination heads on a store: what they say, against what then happened.

The heads are asked along rollouts that start from true frames and go on under the recorded actions, so the figures hold
for imagined steps, which is where the heads are used. No env is needed; `ends` finds a better calibration with one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from worldsim.errors import EnvError
from worldsim.evaluate.ends import reliability
from worldsim.model import WorldModel
from worldsim.store import RolloutStore

__all__ = ["head_figures", "reward_curve"]


def reward_curve(predicted: np.ndarray, true: np.ndarray, *, bins: int = 10) -> dict[str, Any]:
    """Return the mean true reward among steps with a like predicted one.

    Args:
        predicted, true: (n,).
        bins: Number of groups of equal size.

    Returns:
        ``curve`` [{"predicted", "observed", "n"}], ``r2`` (share of the variance that is foretold; None if the true
        reward never changes), ``slope`` of true over predicted (1 is calibrated; None if the predicted one never
        changes) and ``n``.
    """
    predicted, true = predicted.astype(np.float64), true.astype(np.float64)
    rank = np.argsort(np.argsort(predicted, kind="stable"), kind="stable")
    spread, told = true.var(), predicted.var()
    groups = [rank * bins // len(true) == row for row in range(bins)]
    curve = [
        {"predicted": float(predicted[g].mean()), "observed": float(true[g].mean()), "n": int(g.sum())}
        for g in groups
        if g.any()
    ]
    covariance = ((predicted - predicted.mean()) * (true - true.mean())).mean()
    return {
        "curve": curve,
        "r2": float(1 - ((predicted - true) ** 2).mean() / spread) if spread > 0 else None,
        "slope": float(covariance / told) if told > 0 else None,
        "n": len(true),
    }


def head_figures(
    model: WorldModel, store: RolloutStore, *, windows: int = 256, horizon: int = 8, bins: int = 10, seed: int = 0
) -> dict[str, Any]:
    """Imagine windows of a store and return the calibration of both heads.

    Args:
        model: Whose heads are asked.
        store: Rollouts that it has not seen.
        windows: How many, drawn from all that fit.
        horizon: Steps imagined in each; a window ends where its episode does, so the last steps are among them.
        bins: As in `reward_curve`.
        seed: Draws the windows.

    Returns:
        ``termination`` as `worldsim.evaluate.ends.reliability` gives it, with the ``rate`` of ends, ``reward`` as
        `reward_curve` does, ``windows`` and ``horizon``.

    Raises:
        EnvError: If no episode is long enough.
    """
    context = model.config.num_context
    length = context - 1 + horizon
    fits = [(i, t) for i in range(len(store)) for t in range(int(store.info(i).length) - length + 1)]
    if not fits:
        raise EnvError(f"the heads are judged on episodes of at least {length} steps; the store holds none")
    rng = np.random.default_rng(seed)
    chosen = [fits[k] for k in rng.choice(len(fits), size=min(windows, len(fits)), replace=False)]
    rollouts = {i: store.episode(i) for i, _ in chosen}
    frames = np.stack([rollouts[i].obs[t : t + context] for i, t in chosen])  # (n, C, H, W, 3)
    actions = np.stack([rollouts[i].action[t : t + length] for i, t in chosen])  # (n, T, *A)
    state = model.encode(frames, actions[:, : context - 1], prompts=[None] * len(chosen), seeds=np.arange(len(chosen)))
    reward, ended = [], []
    for t in range(context - 1, length):
        state, prediction = model.step(state, actions[:, t])
        reward.append(prediction.reward)
        ended.append(prediction.terminate_prob)
    steps = slice(context - 1, length)
    true_reward = np.stack([rollouts[i].reward[t : t + length][steps] for i, t in chosen], axis=1)  # (horizon, n)
    true_end = np.stack([rollouts[i].terminated[t : t + length][steps] for i, t in chosen], axis=1)
    return {
        "termination": {
            **reliability(np.stack(ended).ravel(), true_end.ravel()),
            "rate": float(true_end.mean()),
        },
        "reward": reward_curve(np.stack(reward).ravel(), true_reward.ravel(), bins=bins),
        "windows": len(chosen),
        "horizon": horizon,
    }
