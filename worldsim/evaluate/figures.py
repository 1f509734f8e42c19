"""From sums per clip and step to the figures of a report: pool over clips, then divide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from worldsim import metrics
from worldsim.evaluate.clips import CONDITIONS, Clip, conditions_of
from worldsim.evaluate.imagine import Imagined
from worldsim.evaluate.scores import Tally

__all__ = [
    "END_TOLERANCE",
    "action_shuffle_ratio",
    "condition_figures",
    "plain",
    "row_figures",
    "skill_interval",
    "termination_figures",
]

END_TOLERANCE = 3
"""A predicted end is right within this many steps of the true one."""
"""Probability above which an imagined episode ends, as in the imagined env."""


def plain(values: np.ndarray) -> list[Any]:
    """Return numbers as JSON values of five significant digits; what is not finite becomes None."""
    if values.ndim > 1:
        return [plain(row) for row in values]
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.tolist()]


def row_figures(row: Tally, copy_last: Tally, truth: Tally, num_valid: np.ndarray, frame_size: int) -> dict[str, Any]:
    """Return skill, skill_moving, psnr, ssim and sharpness per step of one predictor.

    Args:
        row, copy_last, truth: Sums (clips, T); ``row`` may cover fewer steps than the others.
        num_valid: (T,) clips that count at each step.
        frame_size: Values per frame, H * W * 3.
    """
    steps = row.error.shape[1]

    def pooled(values: np.ndarray) -> np.ndarray:
        return values[:, :steps].sum(axis=0)  # (T,)

    n = num_valid[:steps]
    return {
        "skill": plain(metrics.skill(pooled(row.error), pooled(copy_last.error))),
        "skill_moving": plain(metrics.skill(pooled(row.error_moving), pooled(copy_last.error_moving))),
        "psnr": plain(metrics.psnr(metrics.pooled_ratio(pooled(row.error), n * frame_size))),
        "ssim": plain(metrics.pooled_ratio(pooled(row.ssim), n)),
        "sharpness": plain(metrics.pooled_ratio(pooled(row.gradient), pooled(truth.gradient))),
    }


def skill_interval(error: np.ndarray, error_copy_last: np.ndarray) -> list[Any]:
    """Return [low, high] per step, the 95% bootstrap interval of the skill over clips, from sums (clips, T)."""
    low, high = metrics.pooled_ratio_interval(error, error_copy_last)
    return plain(np.stack([1 - high, 1 - low], axis=1))


def action_shuffle_ratio(shuffled: Tally, model: Tally, clips: Sequence[Clip], order: np.ndarray) -> float | None:
    """Return the pooled error with exchanged actions over that with the true ones.

    A step counts where both the clip and the one whose actions it was given had not ended.
    """
    steps = np.arange(shuffled.error.shape[1])
    length = np.array([len(clip) for clip in clips])
    both = steps[None] < np.minimum(length, length[order])[:, None]  # (clips, T)
    (ratio,) = plain(
        metrics.pooled_ratio(
            np.array([(shuffled.error * both).sum()]), np.array([(model.error[:, : len(steps)] * both).sum()])
        )
    )
    return ratio


def condition_figures(model: Tally, copy_last: Tally, clips: Sequence[Clip], steps: Sequence[int]) -> dict[str, Any]:
    """Return {factor: {value: {"episodes": n, "skill": {step: skill}}}} for the named factors that the truth gives."""
    out: dict[str, Any] = {}
    for factor in CONDITIONS:
        values = [conditions_of(clip.truth, clip.start).get(factor) for clip in clips]
        for value in sorted({value for value in values if value is not None}):
            chosen = np.array([v == value for v in values])
            skill = metrics.skill(model.error[chosen].sum(axis=0), copy_last.error[chosen].sum(axis=0))
            out.setdefault(factor, {})[value] = {
                "episodes": int(chosen.sum()),
                "skill": {str(step): plain(skill)[step - 1] for step in steps if step <= len(skill)},
            }
    return out


def termination_figures(clips: Sequence[Clip], imagined: Sequence[Imagined], threshold: float) -> dict[str, Any]:
    """Score the model's first predicted end of each clip against the true one, over the steps that count.

    ``right``: within END_TOLERANCE steps of a true end. ``early``: the truth went on. ``missed``: a true end without a
    predicted one that is right. An end is predicted where its chance is above ``threshold``.
    """
    right = early = ends = 0
    for clip, stream in zip(clips, imagined, strict=True):
        says_end = np.flatnonzero(stream.terminate_prob[: len(clip)] > threshold)
        ended = bool(clip.truth.terminated[: clip.start + len(clip)].any())
        ends += ended
        if len(says_end):
            is_right = ended and len(clip) - 1 - says_end[0] <= END_TOLERANCE
            right += is_right
            early += not is_right
    return {
        "true_ends": ends,
        "right": int(right),
        "early": int(early),
        "missed": int(ends - right),
        "tolerance_steps": END_TOLERANCE,
        "threshold": threshold,
    }
