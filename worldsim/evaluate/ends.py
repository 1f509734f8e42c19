"""Calibrate what a model's termination head says against ends of the truth that the model has not seen.

The head's log-odds become ``scale * logit + bias`` (Platt 1999). Even clips fit the two numbers, odd ones say how well
the probabilities hold: no figure is taken on what was fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import rankdata

from worldsim.errors import EnvError
from worldsim.evaluate.clips import Clip, record_clips
from worldsim.evaluate.figures import termination_figures
from worldsim.evaluate.imagine import Imagined, action_matrix, imagine
from worldsim.evaluate.uncertainty import VALIDATION_SEED, auroc
from worldsim.model import WorldModel

__all__ = ["calibrate_ends", "fit_logit", "reliability"]

EDGES = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 1.0)
"""Bins of predicted probability, in which reliability is read."""
_BATCH = 64  # streams imagined at once
_LEAST_PROB = 1e-9  # below it a float32 probability says nothing of its logit


def calibrate_ends(
    model: WorldModel,
    env_id: str | None = None,
    *,
    episodes: int = 256,
    horizon: int = 64,
    seed: int = VALIDATION_SEED,
    env_kwargs: Mapping[str, Any] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Find the scale and bias that make a model's probabilities of an end hold, and say how well they do.

    Args:
        model: Its own calibration, if it has one, is not used.
        env_id: The truth; the model's own if None.
        episodes: Clips, cut as `compare` cuts them; half to fit, half to judge, each with a true end at least.
        horizon: Steps imagined from each.
        seed: Clip i uses env seed ``seed + i``.
        env_kwargs: Arguments of the truth; those the model was trained on if None.
        progress: Called with (stage, done, total).

    Returns:
        JSON values: ``scale``, ``bias``, and ``figures`` of the clips that were not fitted: ``before`` and ``after``
        with ``log_loss`` (nats per step), ``brier``, ``calibration_error``, ``reliability`` rows and ``ends`` as
        `compare` counts them; ``log_loss_of_rate``, what the mere frequency of ends would score; ``auroc``;
        ``reward`` with the correlation, that of ranks (which rare large rewards do not decide) and the mean error
        of imagined rewards.

    Raises:
        EnvError: If there are too few ends, or the truth cannot be driven.
    """
    say = progress or (lambda stage, done, total: None)
    env_id, env_kwargs = env_id or model.spec.env_id, model.spec.env_kwargs if env_kwargs is None else env_kwargs
    raw = replace(model, terminate_scale=1.0, terminate_bias=0.0)
    clips = record_clips(
        env_id,
        episodes=episodes,
        horizon=horizon,
        seed=seed,
        num_context=model.config.num_context,
        env_kwargs=env_kwargs,
        progress=lambda done, total: say("truth", done, total),
    ).clips
    streams: list[Imagined] = []
    for first in range(0, episodes, _BATCH):
        part = clips[first : first + _BATCH]
        imagined = imagine(raw, part, action_matrix(part, horizon))
        streams += [imagined.stream(i) for i in range(len(part))]
        say("imagined", len(streams), episodes)
    fitted, judged = _steps(clips[::2], streams[::2]), _steps(clips[1::2], streams[1::2])
    for name, part in (("fit", fitted), ("judge", judged)):
        if not 0 < part["end"].sum() < len(part["end"]):
            raise EnvError(
                f"{len(part['end'])} true steps to {name} hold {int(part['end'].sum())} ends; both kinds are needed: "
                f"take more than {episodes} episodes, or a longer horizon than {horizon}"
            )
    scale, bias = fit_logit(fitted["logit"], fitted["end"])
    before, after = expit(judged["logit"]), expit(scale * judged["logit"] + bias)
    calibrated = [
        replace(stream, terminate_prob=expit(scale * _logit(stream.terminate_prob) + bias)) for stream in streams[1::2]
    ]
    threshold = replace(model, terminate_bias=bias).terminate_threshold
    figures = {
        "before": {**reliability(before, judged["end"]), "ends": termination_figures(clips[1::2], streams[1::2], 0.5)},
        "after": {
            **reliability(after, judged["end"]),
            "ends": termination_figures(clips[1::2], calibrated, threshold),
        },
        "log_loss_of_rate": _log_loss(np.full(len(after), fitted["end"].mean()), judged["end"]),
        "auroc": auroc(judged["logit"], judged["end"]),
        "reward": _agreement(judged["reward"], judged["true_reward"]),
        "judged_steps": len(judged["end"]),
        "judged_ends": int(judged["end"].sum()),
        "fitted_ends": int(fitted["end"].sum()),
        "model_sha": model.sha,
        "env": env_id,
        "episodes": episodes,
        "horizon": horizon,
        "seed": seed,
    }
    return {"scale": scale, "bias": bias, "figures": figures}


def fit_logit(logits: np.ndarray, ends: np.ndarray) -> tuple[float, float]:
    """Return the scale (positive) and bias that make log-odds likeliest.

    A weak prior (one nat for a factor of e in the scale, one for 5 in the bias) decides where the data do not.

    Args:
        logits: (M,) what the head says.
        ends: (M,) bool, what was.
    """

    def cost(parameters: np.ndarray) -> float:
        log_scale, bias = parameters
        z = np.exp(log_scale) * logits + bias
        return float((np.logaddexp(0, z) - ends * z).sum() + log_scale**2 + (bias / 5) ** 2)

    log_scale, bias = minimize(cost, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}).x
    return float(np.exp(log_scale)), float(bias)


def reliability(prob: np.ndarray, ends: np.ndarray) -> dict[str, Any]:
    """Return how well probabilities (M,) of an end hold, for what was (M,) bool.

    ``calibration_error`` is the mean over steps of the distance between the predicted and the true share of their bin.
    """
    rows, distance = [], 0.0
    bins = np.clip(np.searchsorted(EDGES, prob, side="right") - 1, 0, len(EDGES) - 2)
    for i in range(len(EDGES) - 1):
        here = bins == i
        if here.any():
            predicted, true = float(prob[here].mean()), float(ends[here].mean())
            rows.append(
                {"from": EDGES[i], "to": EDGES[i + 1], "n": int(here.sum()), "predicted": predicted, "true": true}
            )
            distance += float(here.mean()) * abs(predicted - true)
    return {
        "log_loss": _log_loss(prob, ends),
        "brier": float(((prob - ends) ** 2).mean()),
        "calibration_error": distance,
        "reliability": rows,
    }


def _steps(clips: Sequence[Clip], streams: Sequence[Imagined]) -> dict[str, np.ndarray]:
    """Return all steps that the truth took: (M,) of the head's logit, the end, the reward, the true reward."""
    parts: dict[str, list[np.ndarray]] = {"logit": [], "end": [], "reward": [], "true_reward": []}
    for clip, stream in zip(clips, streams, strict=True):
        steps, window = len(clip), slice(clip.start, clip.start + len(clip))
        parts["logit"].append(_logit(stream.terminate_prob[:steps]))
        parts["end"].append(clip.truth.terminated[window])
        parts["reward"].append(stream.reward[:steps])
        parts["true_reward"].append(clip.truth.reward[window])
    return {name: np.concatenate(values) for name, values in parts.items()}


def _logit(prob: np.ndarray) -> np.ndarray:
    return logit(np.clip(prob.astype(np.float64), _LEAST_PROB, 1 - 1e-7))


def _log_loss(prob: np.ndarray, ends: np.ndarray) -> float:
    prob = np.clip(prob, 1e-12, 1 - 1e-12)
    return float(-np.where(ends, np.log(prob), np.log1p(-prob)).mean())


def _agreement(said: np.ndarray, true: np.ndarray) -> dict[str, float | None]:
    return {
        "correlation": _correlation(said, true),
        "rank_correlation": _correlation(rankdata(said), rankdata(true)),
        "mean_error": float((said - true).mean()),
    }


def _correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else None
