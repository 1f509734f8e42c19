"""How far frames are from true ones, as curves over the horizon: on the whole frame, on what moves, on the objects.

Beside PSNR and SSIM stand two published families, computed by their formulas on our own scenes, so that their values
compare with each other and with nothing else: the four terms and the Verified score of Physics-IQ (arXiv 2501.09038,
2606.18943) and the three of PISA (arXiv 2503.09595). There is no FVD and no LPIPS: both are properties of the weights
of somebody's network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_closing, binary_opening, distance_transform_edt, gaussian_filter

from worldsim.metrics import moving_mask, psnr

__all__ = [
    "Curves",
    "TruePixels",
    "object_mask",
    "physics_iq",
    "physics_iq_verified",
    "pisa",
    "saturated",
]

_SATURATED = 60
"""Levels between the largest and the smallest channel of a pixel that belongs to a coloured object."""
_RUNNING = 0.3  # weight of the newest frame in the background of Physics-IQ
_CHANGED = 10  # levels
_REFERENCE = 256  # px: image width at which Physics-IQ's kernels are 5 px


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Per step of one clip, (T,) each; NaN where a region is empty."""

    psnr: np.ndarray
    """dB, whole frame; at most 100, which stands for frames that are equal."""
    psnr_moving: np.ndarray
    psnr_object: np.ndarray
    ssim: np.ndarray
    ssim_moving: np.ndarray
    ssim_object: np.ndarray
    mse: float
    """Squared levels, over all steps together."""
    mse_moving: float
    mse_object: float


def saturated(frames: np.ndarray) -> np.ndarray:
    """Mark the pixels (..., H, W) that are coloured rather than grey, in worlds where only objects have colour."""
    channels = frames.astype(np.int16)
    return np.asarray(channels.max(axis=-1) - channels.min(axis=-1) > _SATURATED)


def object_mask(masks: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """Return the union of the true masks (T, H, W) of some bodies."""
    return np.any([masks[name] for name in names], axis=0)


class TruePixels:
    """The truth of one clip, against which frames are scored step by step; what it alone decides is computed once.

    Args:
        truth: (T, H, W, 3) uint8.
        last: (H, W, 3) last context frame; a pixel moves if the truth has left it.
        objects: (T, H, W) bool, where the truth shows an object.
    """

    def __init__(self, truth: np.ndarray, last: np.ndarray, objects: np.ndarray) -> None:
        self.moving = moving_mask(truth, last)
        self._truth = truth.astype(np.float32)
        self._objects = objects
        self._mean = _blurred(self._truth)
        self._variance = _blurred(self._truth**2) - self._mean**2

    def curves(self, frames: np.ndarray) -> Curves:
        """Score frames (T, H, W, 3) uint8."""
        shown = frames.astype(np.float32)
        red, green, blue = np.moveaxis((shown - self._truth) ** 2, -1, 0)
        errors, maps = red + green + blue, self._similarity(shown)  # (T, H, W)
        return Curves(
            psnr=_psnr(_mean(errors, None)),
            psnr_moving=_psnr(_mean(errors, self.moving)),
            psnr_object=_psnr(_mean(errors, self._objects)),
            ssim=_mean(maps, None),
            ssim_moving=_mean(maps, self.moving),
            ssim_object=_mean(maps, self._objects),
            mse=_pooled(errors, None),
            mse_moving=_pooled(errors, self.moving),
            mse_object=_pooled(errors, self._objects),
        )

    def _similarity(self, shown: np.ndarray) -> np.ndarray:
        """Return structural similarity per pixel, mean of the channels, by the constants of `worldsim.metrics`.

        The window is 11 x 11 px with sigma 1.5; a region's value is the mean of the map over it.
        """
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        mean = _blurred(shown)
        variance = _blurred(shown * shown) - mean**2
        both = _blurred(shown * self._truth) - mean * self._mean
        above = (2 * mean * self._mean + c1) * (2 * both + c2)
        return (above / ((mean**2 + self._mean**2 + c1) * (variance + self._variance + c2))).mean(axis=-1)


def _blurred(frames: np.ndarray) -> np.ndarray:
    return gaussian_filter(frames, 1.5, radius=5, axes=(-3, -2))


def _mean(maps: np.ndarray, region: np.ndarray | None) -> np.ndarray:
    """Return the mean of maps (T, H, W) over a region, (T,); NaN where it is empty."""
    if region is None:
        return maps.mean(axis=(-2, -1), dtype=np.float64)
    size = region.sum(axis=(-2, -1)).astype(np.float64)
    total = np.where(region, maps, 0.0).sum(axis=(-2, -1), dtype=np.float64)
    return np.divide(total, size, out=np.full(len(size), np.nan), where=size > 0)


def _pooled(errors: np.ndarray, region: np.ndarray | None) -> float:
    """Return the mean per channel of errors summed over channels, all steps together; NaN for an empty region."""
    kept = errors if region is None else errors[region]
    return float(kept.sum(dtype=np.float64) / (3 * kept.size)) if kept.size else float("nan")


def _psnr(errors: np.ndarray) -> np.ndarray:
    return np.minimum(psnr(errors / 3), 100.0)


# ---- Physics-IQ


def motion_masks(frames: np.ndarray) -> np.ndarray:
    """Return where the frames (T, H, W, 3) move, (T, H, W) bool: away from a running mean of the past; none at frame 0.

    Its kernels are 5 px at a width of 256 px; they scale with the width, since 5 px at 64 px would erase an object.
    """
    grey = frames.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    size = max(1, round(5 * frames.shape[2] / _REFERENCE))
    if size > 1:
        grey = gaussian_filter(grey, 0.3 * ((size - 1) * 0.5 - 1) + 0.8, radius=size // 2, axes=(-2, -1))
    kernel = np.ones((size, size), bool)
    background = grey[0].copy()
    masks = np.zeros(grey.shape, bool)
    for t in range(1, len(grey)):
        background += _RUNNING * (grey[t] - background)
        mask = np.abs(grey[t] - background) > _CHANGED
        masks[t] = binary_closing(binary_opening(mask, kernel), kernel) if size > 1 else mask
    return masks


def physics_iq(frames: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return the four terms of Physics-IQ between two clips (T, H, W, 3): where, where and when, how much, and how.

    ``spatial_iou``, ``spatiotemporal_iou``, ``weighted_spatial_iou`` in [0, 1], 1 if neither moves; ``mse`` of frames
    in [0, 1]. Physics-IQ scales 4K frames to a quarter first; frames of a world model are used as they are.
    """
    a, b = motion_masks(frames), motion_masks(truth)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    most = np.maximum(mean_a, mean_b).sum()
    return {
        "spatial_iou": _iou(np.asarray(a.any(axis=0)), np.asarray(b.any(axis=0))),
        "spatiotemporal_iou": float(np.mean([_iou(x, y) for x, y in zip(a, b, strict=True)])),
        "weighted_spatial_iou": float(np.minimum(mean_a, mean_b).sum() / most) if most else 1.0,
        "mse": float(((frames.astype(np.float32) - truth.astype(np.float32)) ** 2).mean() / 255**2),
    }


def physics_iq_verified(terms: Mapping[str, float], variance: Mapping[str, float]) -> float:
    """Return the Verified score of one clip, 0 to 100: each term over that of a second take of the truth, clipped.

    Args:
        terms: `physics_iq` of a prediction and the truth.
        variance: `physics_iq` of a second take, re-simulated from a perturbed start, and the truth.
    """
    ratios = [_ratio(terms[name], variance[name]) for name in terms if name != "mse"]
    ratios.append(_ratio(variance["mse"], terms["mse"]))
    return 100.0 * float(np.mean(ratios))


def _ratio(value: float, reference: float) -> float:
    return float(np.clip(value / reference, 0.0, 1.0)) if reference > 0 else float(value >= 0)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0


# ---- PISA


def pisa(predicted: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Return PISA's three figures between the masks of one object, (T, H, W) bool, per step (T,).

    ``l2``: centroid distance, the mean of both coordinates' absolute differences; ``chamfer``: symmetric chamfer
    distance of the mask pixels; both over the square root of 2 and the height. ``iou``: of the masks. NaN where the
    truth does not show the object; where the prediction alone does not, the worst: distances of 1, an IoU of 0.
    """
    scale = 2**0.5 * truth.shape[1]
    found = np.full((len(truth), 3), np.nan)
    for t in np.flatnonzero(truth.any(axis=(1, 2))):
        here, there = predicted[t], truth[t]
        if not here.any():
            found[t] = 1.0, 1.0, 0.0
            continue
        apart = np.abs(np.argwhere(here).mean(axis=0) - np.argwhere(there).mean(axis=0)).mean()
        chamfer = float(np.asarray(distance_transform_edt(~there))[here].mean())
        chamfer += float(np.asarray(distance_transform_edt(~here))[there].mean())
        found[t] = apart / scale, chamfer / scale, _iou(here, there)
    return dict(zip(("l2", "chamfer", "iou"), found.T, strict=True))
