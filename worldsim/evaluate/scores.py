"""Sums per clip and step, from which every figure of a comparison is a ratio.

Nothing is averaged here: a :class:`Tally` keeps one number per (clip, step), zero behind the truth's end, and
tallies of different clips are stacked. Pooling and the division come last, in :mod:`worldsim.evaluate.figures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from worldsim import metrics
from worldsim.evaluate.clips import Clip

__all__ = [
    "Reference",
    "Tally",
    "copy_last",
    "linear_extrapolation",
    "perfect",
    "reference",
    "sample_mean_error",
    "sample_variance",
    "stack",
    "tally",
]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The truth that predictions are held against, padded to the horizon."""

    frames: np.ndarray
    """(clips, T, H, W, 3) uint8, zeros behind the truth's end."""
    last: np.ndarray
    """(clips, 1, H, W, 3) uint8, the last context frame."""
    valid: np.ndarray
    """(clips, T) bool: the truth had not ended before this frame."""
    moving: np.ndarray
    """(clips, T, H, W) bool: pixels that left the last context frame, false behind the end."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Sums of one predictor, (clips, T) each, zero behind the truth's end."""

    error: np.ndarray
    """Squared levels over all pixels and channels."""
    error_moving: np.ndarray
    """The same over moving pixels."""
    ssim: np.ndarray
    """Structural similarity of the frame."""
    gradient: np.ndarray
    """Gradient energy of the frame, squared levels."""


def reference(clips: Sequence[Clip], horizon: int) -> Reference:
    """Stack the true frames behind the starts of ``clips`` and mark what counts."""
    shape = clips[0].last.shape
    frames = np.zeros((len(clips), horizon, *shape), np.uint8)
    valid = np.zeros((len(clips), horizon), bool)
    for i, clip in enumerate(clips):
        steps = min(len(clip), horizon)
        frames[i, :steps] = clip.future[:steps]
        valid[i, :steps] = True
    last = np.stack([clip.last for clip in clips])[:, None]  # (clips, 1, H, W, 3)
    moving = metrics.moving_mask(frames, last) & valid[:, :, None, None]
    return Reference(frames=frames, last=last, valid=valid, moving=moving)


def tally(frames: np.ndarray, truth: Reference) -> Tally:
    """Score predicted frames (clips, T, H, W, 3), uint8 or float, against the truth; T may be below the truth's."""
    horizon = frames.shape[1]
    true, valid = truth.frames[:, :horizon], truth.valid[:, :horizon]
    return Tally(
        error=metrics.squared_error(frames, true) * valid,
        error_moving=metrics.squared_error(frames, true, truth.moving[:, :horizon]),
        ssim=metrics.ssim(frames, true) * valid,
        gradient=metrics.gradient_energy(frames) * valid,
    )


def perfect(truth: Reference) -> Tally:
    """Score the truth itself: the ceiling, since frames enter the model as they are, through no codec."""
    zeros = np.zeros(truth.valid.shape)
    return Tally(
        error=zeros,
        error_moving=zeros,
        ssim=truth.valid.astype(np.float64),
        gradient=metrics.gradient_energy(truth.frames) * truth.valid,
    )


def sample_mean_error(samples: np.ndarray, truth: Reference) -> np.ndarray:
    """Return the squared error of the mean over samples (S, clips, T, H, W, 3), in squared levels, (clips, T)."""
    means = [samples[:, i].mean(axis=0, dtype=np.float32) for i in range(samples.shape[1])]
    return (
        np.stack([metrics.squared_error(mean, true) for mean, true in zip(means, truth.frames, strict=True)])
        * truth.valid
    )


def sample_variance(samples: np.ndarray, truth: Reference) -> np.ndarray:
    """Return the unbiased variance over samples (S, clips, T, H, W, 3), summed over pixels and channels, (clips, T).

    One sample stands for samples that are all the same: its variance is zero.
    """
    if len(samples) == 1:
        return np.zeros(samples.shape[1:3])
    sums = [
        samples[:, i].astype(np.float32).var(axis=0, ddof=1).sum(axis=(-3, -2, -1)) for i in range(samples.shape[1])
    ]
    return np.stack(sums).astype(np.float64) * truth.valid


def stack(tallies: Sequence[Tally]) -> Tally:
    """Put the clips of several tallies under each other."""
    return Tally(**{f.name: np.concatenate([getattr(t, f.name) for t in tallies]) for f in fields(Tally)})


def copy_last(clips: Sequence[Clip], horizon: int) -> np.ndarray:
    """Predict the last context frame for every step, (clips, T, H, W, 3) uint8."""
    return np.stack([np.repeat(clip.last[None], horizon, axis=0) for clip in clips])


def linear_extrapolation(clips: Sequence[Clip], horizon: int) -> np.ndarray:
    """Continue every pixel at its last speed: x[0] + k (x[0] - x[-1]) at step k, clipped, (clips, T, H, W, 3) uint8."""
    steps = np.arange(1, horizon + 1)[:, None, None, None]  # (T, 1, 1, 1)
    out = []
    for clip in clips:
        now = clip.last.astype(np.int32)
        speed = now - clip.truth.obs[clip.start - 1]
        out.append(np.clip(now + steps * speed, 0, 255).astype(np.uint8))
    return np.stack(out)
