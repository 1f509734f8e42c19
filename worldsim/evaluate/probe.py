"""What a model's tokens know of the true state: a linear probe, for diagnosis only.

The model never sees a state. If a linear map reads one from what its last temporal layer hands on, the model has worked
it out; if a plain picture would do as well, it has not. Chosen without peeking: the strength of the regularisation by
leave-one-out on the training windows, the figures on windows of other episodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from worldsim.errors import EnvError
from worldsim.model import WorldModel, encode_actions
from worldsim.store import RolloutStore

__all__ = ["COLUMNS", "probe_state"]

COLUMNS = ("x", "y", "z", "qx", "qy", "qz", "qw", "vx", "vy", "vz", "wx", "wy", "wz", "speed")
"""What is read: a body's state row in SI units, and its speed in m/s."""
_STRENGTHS = np.logspace(-4, 2, 13)
_SIDE = 16  # pixels of the plain picture


def probe_state(
    model: WorldModel, store: RolloutStore, *, body: str | None = None, windows: int = 512, seed: int = 0
) -> dict[str, Any]:
    """Fit a linear map from tokens to a body's state, and say how much of its variance it foretells.

    Args:
        model: To be looked into.
        store: Rollouts with states; the first half of their episodes teaches the probe, the other judges it.
        body: Its name; the first of the first episode if None.
        windows: How many, half for each purpose.
        seed: Draws the windows.

    Returns:
        ``body``, ``n`` of judged windows, and ``tokens`` and ``pixels`` {column: R2}: of the tokens of the step that
        leads to the state, and of the two frames and the action that these saw. Columns that do not vary are left out.

    Raises:
        EnvError: If there are fewer than 2 episodes with a state of the body, or they are too short.
    """
    context = model.config.num_context
    first = store.episode(0).state if len(store) else None
    body = body or next(iter(first or {}), None)
    rng = np.random.default_rng(seed)
    sides: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    half = len(store) // 2
    for episodes in (range(half), range(half, len(store))):
        found = _windows(store, episodes, body, context, windows // 2, rng)
        if len(found[0]) < 2:
            raise EnvError(
                f"a probe needs episodes of at least {context} steps with a state of {body!r} on both sides of the "
                "store; collect more, or name another body"
            )
        sides.append(_features(model, *found))
    (taught_tokens, taught_pixels, taught), (judged_tokens, judged_pixels, judged) = sides
    varies = (taught.std(axis=0) > 1e-6) & (judged.std(axis=0) > 1e-6)

    def figures(known: np.ndarray, asked: np.ndarray) -> dict[str, float]:
        told = _ridge(known, taught[:, varies], asked)
        left = ((told - judged[:, varies]) ** 2).mean(axis=0) / judged[:, varies].var(axis=0)
        names = [name for name, v in zip(COLUMNS, varies, strict=True) if v]
        return {name: float(1 - value) for name, value in zip(names, left, strict=True)}

    return {
        "body": body,
        "n": len(judged),
        "tokens": figures(taught_tokens, judged_tokens),
        "pixels": figures(taught_pixels, judged_pixels),
    }


def _windows(
    store: RolloutStore, episodes: range, body: str | None, context: int, num: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (n, C, H, W, 3) frames, (n, C - 1, *A) actions and (n, 14) states at the last frame."""
    frames, actions, states = [], [], []
    for i in episodes:
        rollout = store.episode(i)
        rows = (rollout.state or {}).get(body or "")
        if rows is None or len(rollout) < context:
            continue
        ends = context - 1 + np.flatnonzero(np.isfinite(rows[context - 1 :]).all(axis=1))
        for end in rng.choice(ends, size=min(-(-num // len(episodes)), len(ends)), replace=False):
            frames.append(rollout.obs[end - context + 1 : end + 1])
            actions.append(rollout.action[end - context + 1 : end])
            states.append(np.append(rows[end], np.linalg.norm(rows[end, 7:10])))
    return np.array(frames), np.array(actions), np.array(states, np.float64)


def _features(
    model: WorldModel, frames: np.ndarray, actions: np.ndarray, states: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (n, F) tokens, (n, P) pixels with the action, and the states."""
    state = model.encode(frames, actions, prompts=[None] * len(frames), seeds=np.zeros(len(frames), np.int64))
    tokens = state.cache[:, -1, 1, :, :, -1].float().cpu().numpy()  # (n, N, heads, d): values of the last layer
    seen = torch.from_numpy(frames[:, [-2, -3]].copy()).float().movedim(-1, -3).flatten(0, 1)
    small = torch.nn.functional.interpolate(seen, size=(_SIDE, _SIDE), mode="area")
    pixels = small.reshape(len(frames), -1).numpy() / 255
    last = encode_actions(model.spec, actions[:, -1]).reshape(len(frames), -1)
    return tokens.reshape(len(frames), -1), np.concatenate([pixels, last], axis=1), states


def _ridge(known: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the values at ``asked`` by ridge regression, its strength chosen per column by leave-one-out."""
    mean, std = known.mean(axis=0), known.std(axis=0) + 1e-6
    x, z = (known - mean) / std, (asked - mean) / std
    size = np.sqrt(x.shape[1])
    left, s, _ = np.linalg.svd(x / size, full_matrices=False)
    offset = values.mean(axis=0)
    inner = left.T @ (values - offset)  # (r, columns)
    best, told = np.full(values.shape[1], np.inf), np.zeros((len(asked), values.shape[1]))
    for strength in _STRENGTHS:
        shrink = s**2 / (s**2 + strength)
        influence = np.minimum((left**2 * shrink).sum(axis=1) + 1 / len(x), 1 - 1e-6)
        missed = (values - offset - left @ (shrink[:, None] * inner)) / (1 - influence)[:, None]
        error = (missed**2).mean(axis=0)
        dual = left @ (inner / (s**2 + strength)[:, None])
        better = error < best
        told[:, better] = (offset + (z / size) @ ((x / size).T @ dual))[:, better]
        best = np.minimum(best, error)
    return told
