"""Calibrate a model's uncertainty against rollouts of the truth that it has not seen.

Even clips teach which error the signs foretell, odd ones say how well that works and what is much and little: no figure
is taken on what was fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import nnls
from scipy.stats import rankdata

from worldsim.errors import EnvError
from worldsim.evaluate.clips import record_clips
from worldsim.evaluate.imagine import action_matrix, noise_seed
from worldsim.metrics import mse
from worldsim.model import WorldModel, encode_actions
from worldsim.sim.uncertainty import SIGNS, Calibration, Gauge, features

__all__ = ["VALIDATION_SEED", "auroc", "calibrate"]

VALIDATION_SEED = 100_000
"""First env seed of the range kept for validation."""
LARGE = 0.75
"""An error is large if it lies above this quantile of the errors it is judged among."""
_NUM_QUANTILES = 101
_LEAST_STD = 0.05  # of an encoded action, so that a dimension that never moved does not divide by zero
_LEAST_ERROR = 0.1  # squared levels, before the logarithm


def calibrate(
    model: WorldModel,
    env_id: str | None = None,
    *,
    episodes: int = 32,
    horizon: int = 32,
    seed: int = VALIDATION_SEED,
    env_kwargs: Mapping[str, Any] | None = None,
    sampler_steps: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Calibration:
    """Learn what a model's uncertainty means, from the truth.

    Args:
        model: That `Gauge` is to judge.
        env_id: The truth; the model's own if None.
        episodes: Clips, cut as `compare` cuts them; at least 4, half to fit and half to judge.
        horizon: Steps imagined from each.
        seed: Clip i uses env seed ``seed + i``.
        env_kwargs: Arguments of the truth; those the model was trained on if None.
        sampler_steps: Denoiser calls per frame; None takes the checkpoint's.
        progress: Called with (stage, done, total).

    Returns:
        A calibration whose ``figures`` hold, for the fitted error and for each sign and the step alone, ``auroc``: how
        surely it ranks a large error (above the 0.75 quantile) over another, 0.5 being chance; and ``auroc_at_step``,
        the same among steps equally far from the start, so that the mere number of steps cannot help.

    Raises:
        EnvError: If there are fewer than 4 episodes, or the truth cannot be driven.
    """
    if episodes < 4:
        raise EnvError(f"calibrate needs at least 4 episodes, half to fit and half to judge; got {episodes}")
    say = progress or (lambda stage, done, total: None)
    env_id, env_kwargs = env_id or model.spec.env_id, model.spec.env_kwargs if env_kwargs is None else env_kwargs
    clips = record_clips(
        env_id,
        episodes=episodes,
        horizon=horizon,
        seed=seed,
        num_context=model.config.num_context,
        env_kwargs=env_kwargs,
        progress=lambda done, total: say("truth", done, total),
    ).clips
    actions = action_matrix(clips, horizon)  # (n, T, *A)
    encoded = encode_actions(model.spec, actions, batch_ndim=2).reshape(episodes * horizon, -1)
    raw = Calibration(
        model_sha=model.sha,
        action_mean=tuple(encoded.mean(axis=0).tolist()),
        action_std=tuple(np.maximum(encoded.std(axis=0), _LEAST_STD).tolist()),
        weights=(0.0,) * (len(SIGNS) + 2),  # not known yet; only the signs are read
        quantiles=(0.0, 1.0),
    )
    gauge = Gauge(model, raw)
    contexts = [clip.context(model.config.num_context) for clip in clips]
    state = model.encode(
        np.stack([frames for frames, _ in contexts]),
        np.stack([past for _, past in contexts]),
        prompts=[None] * episodes,
        seeds=np.array([noise_seed(clip, 0) for clip in clips], np.int64),
    )
    errors = np.full((episodes, horizon), np.nan)
    signs = {name: np.empty((episodes, horizon)) for name in SIGNS}
    for t in range(horizon):
        before = state
        state, predicted = model.step(before, actions[:, t], sampler_steps=sampler_steps)
        for name, values in gauge.signs(before, actions[:, t], predicted.frames).items():
            signs[name][:, t] = values
        for i, clip in enumerate(clips):
            if t < len(clip):
                errors[i, t] = mse(predicted.frames[i], clip.future[t])
        say("imagined", t + 1, horizon)
    steps = np.broadcast_to(np.arange(1, horizon + 1), errors.shape)
    counts, fits = ~np.isnan(errors), np.arange(episodes)[:, None] % 2 == 0
    weights = _fit(signs, steps, errors, counts & fits)
    judged = counts & ~fits
    fitted = replace(raw, weights=weights)
    flat = {name: values[judged] for name, values in signs.items()}
    expected = fitted.expected_log_error(flat, steps[judged])
    rankings = {"expected": expected, **flat, "step": steps[judged].astype(float)}
    figures = {
        "auroc": {name: auroc(values, _large(errors[judged])) for name, values in rankings.items()},
        "auroc_at_step": {
            name: _auroc_at_step(values, errors[judged], steps[judged]) for name, values in rankings.items()
        },
        "env": env_id,
        "episodes": episodes,
        "horizon": horizon,
        "seed": seed,
        "judged_steps": int(judged.sum()),
        "sampler_steps": sampler_steps or model.config.sampler_steps,
    }
    quantiles = np.quantile(expected, np.linspace(0, 1, _NUM_QUANTILES))
    return replace(fitted, quantiles=tuple(quantiles.tolist()), figures=figures)


def auroc(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Return how often a positive has the higher score of a positive and a negative, ties half; None without both."""
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if num_positive == 0 or num_negative == 0:
        return None
    ranks = rankdata(scores)
    above = ranks[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * num_negative))


def _fit(
    signs: Mapping[str, np.ndarray], steps: np.ndarray, errors: np.ndarray, counted: np.ndarray
) -> tuple[float, ...]:
    """Return least-squares weights of the logarithm of the error; no sign may speak for trust."""
    columns = features({name: values[counted] for name, values in signs.items()}, steps[counted])  # (M, 6)
    both_ways = np.concatenate([-columns[:, :1], columns], axis=1)  # the constant alone may be negative
    solution, _ = nnls(both_ways, np.log(errors[counted] + _LEAST_ERROR))
    return (float(solution[1] - solution[0]), *map(float, solution[2:]))


def _large(errors: np.ndarray) -> np.ndarray:
    return errors > np.quantile(errors, LARGE)


def _auroc_at_step(scores: np.ndarray, errors: np.ndarray, steps: np.ndarray) -> float | None:
    """Return the mean over steps of the AUROC among clips at that step; None where no step has two."""
    found = []
    for step in np.unique(steps):
        here = steps == step
        value = auroc(scores[here], _large(errors[here]))
        if value is not None:
            found.append(value)
    return float(np.mean(found)) if found else None
