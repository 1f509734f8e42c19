"""How far imagined frames are from true ones: pure functions of numpy arrays.

The one idea to know: a figure over many clips is a ratio of sums, never a mean of ratios. Each function therefore gives
one number per frame (or per clip and step), and the caller adds these up over clips before it divides. Frames are uint8
or float arrays (..., H, W, 3) in levels of 0 to 255; the leading axes are free, usually (clip, step).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

__all__ = [
    "MOVING_LEVELS",
    "derangement",
    "gradient_energy",
    "moving_mask",
    "mse",
    "pooled_ratio",
    "pooled_ratio_interval",
    "psnr",
    "sharpness",
    "skill",
    "squared_error",
    "ssim",
]

PEAK = 255.0
"""Largest level of a frame."""
MOVING_LEVELS = 10
"""A pixel moves if a channel differs from the last context frame by more than this many levels."""
_SSIM_SIGMA = 1.5  # px, with the constants below those of Wang et al. 2004
_SSIM_RADIUS = 5  # px: a window of 11 x 11
_SSIM_C1 = (0.01 * PEAK) ** 2
_SSIM_C2 = (0.03 * PEAK) ** 2


def squared_error(frames: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Sum (frames - truth)^2 over the pixels and channels of each frame, in squared levels.

    Args:
        frames, truth: (..., H, W, 3), broadcast against each other.
        mask: (..., H, W) bool; only these pixels count. None counts all.

    Returns:
        (...) float64.
    """
    error = (frames.astype(np.float32) - truth.astype(np.float32)) ** 2  # (..., H, W, 3)
    if mask is not None:
        error = error * mask[..., None]
    return error.sum(axis=(-3, -2, -1), dtype=np.float64)


def mse(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the mean over pixels and channels of (frames - truth)^2, in squared levels, shape (...)."""
    return squared_error(frames, truth) / np.prod(truth.shape[-3:])


def psnr(mean_squared_error: np.ndarray) -> np.ndarray:
    """Return 10 log10(255^2 / MSE) in decibels; infinite where the error is zero."""
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(PEAK**2 / np.asarray(mean_squared_error, dtype=np.float64))


def skill(mse_model: np.ndarray, mse_copy_last: np.ndarray) -> np.ndarray:
    """Return 1 - MSE(model) / MSE(copy-last): 1 is the truth, 0 is copying the last frame, below 0 is worse than that.

    Both errors must be pooled over the same clips and pixels. NaN where copy-last makes no error, since nothing moved.
    """
    return 1.0 - pooled_ratio(mse_model, mse_copy_last)


def moving_mask(truth: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Mark pixels of the truth with a channel more than MOVING_LEVELS away from the last context frame.

    Args:
        truth: (..., H, W, 3) true frames.
        last: (..., H, W, 3) last frame of the context, broadcast against ``truth``.

    Returns:
        (..., H, W) bool.
    """
    change = np.abs(truth.astype(np.int16) - last.astype(np.int16))  # (..., H, W, 3)
    return np.asarray(change.max(axis=-1) > MOVING_LEVELS)


def ssim(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the mean structural similarity of each frame, per colour channel and then averaged; 1 is identical.

    Wang et al. 2004 with their constants (K1 = 0.01, K2 = 0.03, L = 255) and Gaussian window (sigma 1.5 pixels,
    11 x 11), mirrored at the border:
    SSIM = (2 m_x m_y + C1)(2 s_xy + C2) / ((m_x^2 + m_y^2 + C1)(s_x^2 + s_y^2 + C2)).

    Args:
        frames, truth: (..., H, W, 3).

    Returns:
        (...) float64.
    """

    def blur(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, _SSIM_SIGMA, radius=_SSIM_RADIUS, axes=(-3, -2))

    x, y = frames.astype(np.float32), truth.astype(np.float32)  # (..., H, W, 3)
    mean_x, mean_y = blur(x), blur(y)
    var_x = blur(x * x) - mean_x**2
    var_y = blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    similarity = ((2 * mean_x * mean_y + _SSIM_C1) * (2 * covariance + _SSIM_C2)) / (
        (mean_x**2 + mean_y**2 + _SSIM_C1) * (var_x + var_y + _SSIM_C2)
    )
    return similarity.mean(axis=(-3, -2, -1), dtype=np.float64)


def gradient_energy(frames: np.ndarray) -> np.ndarray:
    """Sum the squared differences of neighbouring pixels, across and down, over all channels of each frame.

    Args:
        frames: (..., H, W, 3).

    Returns:
        (...) float64, squared levels.
    """
    image = frames.astype(np.float32)
    across = np.diff(image, axis=-2)  # (..., H, W - 1, 3)
    down = np.diff(image, axis=-3)  # (..., H - 1, W, 3)
    axes = (-3, -2, -1)
    return (across**2).sum(axis=axes, dtype=np.float64) + (down**2).sum(axis=axes, dtype=np.float64)


def sharpness(frames: np.ndarray, truth: np.ndarray) -> float:
    """Return the gradient energy of all ``frames`` over that of all ``truth``: 1 is as sharp, below 1 is blurred."""
    return float(gradient_energy(frames).sum() / gradient_energy(truth).sum())


def derangement(n: int, seed: int) -> np.ndarray:
    """Return a seeded permutation of ``range(n)`` that leaves nothing in its place.

    Raises:
        ValueError: If ``n`` is below 2; nothing can be exchanged then.
    """
    if n < 2:
        raise ValueError(f"a derangement needs at least 2 items; got {n}")
    rng = np.random.default_rng(seed)
    while True:  # a random permutation is a derangement with a chance of 1 / e
        order = rng.permutation(n)
        if (order != np.arange(n)).all():
            return order


def pooled_ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return numerator / denominator, NaN where the denominator is zero."""
    numerator, denominator = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


def pooled_ratio_interval(
    numerator: np.ndarray, denominator: np.ndarray, *, num_samples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bootstrap interval over clips of sum(numerator) / sum(denominator).

    Whole clips are drawn with replacement, all their steps together, since frames of one clip are not independent.

    Args:
        numerator, denominator: (clips, steps) sums per clip; both 0 where a clip does not count.
        num_samples: Resamples.
        level: Share of the resamples inside the interval.
        seed: Of the resampling.

    Returns:
        Lower and upper ends, (steps,) each; NaN where no clip counts.
    """
    num_clips = len(numerator)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(num_clips, np.full(num_clips, 1 / num_clips), size=num_samples)  # (samples, clips)
    ratios = pooled_ratio(counts @ numerator, counts @ denominator)  # (samples, steps)
    tail = (1 - level) / 2
    low, high = np.full(ratios.shape[1], np.nan), np.full(ratios.shape[1], np.nan)
    for step, column in enumerate(ratios.T):
        present = column[~np.isnan(column)]
        if len(present):
            low[step], high[step] = np.quantile(present, [tail, 1 - tail])
    return low, high
