"""One clip, many rows, one ruler: every row's frames through the same extractor and the same formulas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.evaluate.physics.clip import Clip
from worldsim.evaluate.physics.extract import extract
from worldsim.evaluate.physics.pixels import TruePixels, object_mask, physics_iq, physics_iq_verified, pisa, saturated
from worldsim.evaluate.physics.state_metrics import METRICS, score_clip, truth_tracks

__all__ = ["PIXEL_METRICS", "RowScore", "Ruler", "best_of", "better_of", "loss", "worst_of"]

PIXEL_METRICS: dict[str, tuple[str, str, float, str]] = {
    "mse": ("levels2", "low", 255.0**2, "mean squared error over all pixels"),
    "mse_moving": ("levels2", "low", 255.0**2, "the same where the truth left the last context frame"),
    "mse_object": ("levels2", "low", 255.0**2, "the same where the truth shows an object"),
    "ssim": ("", "high", 0.0, "structural similarity, mean over steps"),
    "ssim_moving": ("", "high", 0.0, "the same where the truth left the last context frame"),
    "ssim_object": ("", "high", 0.0, "the same where the truth shows an object"),
    "iq_spatial_iou": ("", "high", 0.0, "where anything moved (Physics-IQ's term, our scenes)"),
    "iq_spatiotemporal_iou": ("", "high", 0.0, "where and when it moved"),
    "iq_weighted_spatial_iou": ("", "high", 0.0, "where and how much it moved"),
    "iq_mse": ("", "low", 1.0, "how it looked, levels of 0 to 1"),
    "iq_verified": ("", "high", 0.0, "Physics-IQ's Verified score on our scenes, 0 to 100"),
    "pisa_l2": ("", "low", 1.0, "PISA's centroid distance, in heights of the frame over the root of 2"),
    "pisa_chamfer": ("", "low", 1.0, "PISA's chamfer distance of the object's pixels"),
    "pisa_iou": ("", "high", 0.0, "PISA's overlap of the object's pixels"),
}
"""Unit, better end, worst value, meaning; as ``METRICS`` of the state."""
_BEST = {"iq_verified": 100.0}
_LINES = ("psnr", "psnr_moving", "psnr_object", "ssim", "ssim_moving", "ssim_object")


@dataclass(frozen=True, kw_only=True)
class RowScore:
    """Everything that is known about one row of one clip."""

    metrics: Mapping[str, float]
    failed: tuple[str, ...]
    """Metrics whose value is the worst one because something is missing."""
    curves: Mapping[str, list[float | None]]
    """(T,) each; None where a region is empty."""
    fits: tuple[Any, ...] = ()
    """Laws that were fitted, to be drawn over the trajectory."""

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values, without the fits."""
        return {"metrics": dict(self.metrics), "failed": list(self.failed), "curves": dict(self.curves)}


class Ruler:
    """Scores continuations of one clip; what the truth alone decides is computed once.

    Args:
        clip: The truth.
        second_take: (T, H, W, 3) the truth from a perturbed start, for the Verified score.
    """

    def __init__(self, clip: Clip, second_take: np.ndarray) -> None:
        self._clip = clip
        self._pixels = TruePixels(clip.future, clip.context[-1], _object_pixels(clip))
        self._variance = physics_iq(second_take, clip.future)
        self._truth = truth_tracks(clip) if clip.objects else None
        self._first = _first_object(clip) if clip.objects else None

    def score(self, frames: np.ndarray) -> RowScore:
        """Score a continuation (T, H, W, 3) uint8, of a model, a baseline, or a corrupted truth."""
        clip = self._clip
        curves = self._pixels.curves(frames)
        metrics: dict[str, float] = {
            "mse": curves.mse,
            "mse_moving": curves.mse_moving,
            "ssim": float(np.mean(curves.ssim)),
            "ssim_moving": _finite_mean(curves.ssim_moving),
        }
        terms = physics_iq(frames, clip.future)
        metrics |= {f"iq_{name}": value for name, value in terms.items()}
        metrics["iq_verified"] = physics_iq_verified(terms, self._variance)
        lines: dict[str, np.ndarray] = {name: getattr(curves, name) for name in _LINES}
        failed: list[str] = []
        fits: tuple[Any, ...] = ()
        if self._truth is not None and self._first is not None:
            tracks = extract(clip.with_future(frames), clip)
            score = score_clip(clip, tracks, self._truth)
            metrics |= {name: metric.value for name, metric in score.metrics.items()}
            failed = [name for name, metric in score.metrics.items() if metric.failed]
            lines |= {name: np.asarray(curve, float) for name, curve in score.curves.items()}
            fits = tuple(score.fits)
            metrics["mse_object"] = curves.mse_object
            metrics["ssim_object"] = _finite_mean(curves.ssim_object)
            masks = pisa(tracks.labels[clip.num_context :] == 1, self._first)
            metrics |= {f"pisa_{name}": _finite_mean(line) for name, line in masks.items()}
            lines |= {f"pisa_{name}": line for name, line in masks.items()}
        return RowScore(
            metrics={name: float(value) for name, value in metrics.items() if np.isfinite(value)},
            failed=tuple(failed),
            curves={name: _line(np.asarray(line, float)) for name, line in lines.items()},
            fits=fits,
        )


def better_of(metric: str) -> str:
    """Return ``low`` or ``high``."""
    return _table(metric)[1]


def worst_of(metric: str) -> float:
    """Return the value of a metric that failed."""
    return float(_table(metric)[2])


def best_of(metric: str) -> float:
    """Return the value of a metric that cannot be better: 0 for errors, 1 for shares and similarities."""
    return _BEST.get(metric, 0.0 if better_of(metric) == "low" else 1.0)


def loss(metric: str, value: float) -> float:
    """Return how far a value is from the best one, always to be low."""
    return abs(value - best_of(metric))


def _table(metric: str) -> tuple[Any, ...]:
    return PIXEL_METRICS[metric] if metric in PIXEL_METRICS else METRICS[metric]


def _object_pixels(clip: Clip) -> np.ndarray:
    """Return where the truth shows an object, (T, H, W): by its masks, else by colour where objects alone have one."""
    names = tuple(body.name for body in clip.objects)
    if not names:
        return np.zeros(clip.future.shape[:3], bool)
    if clip.masks is None:
        return saturated(clip.future)
    masks = {name: clip.mask(name)[clip.num_context :] for name in names}
    return object_mask(masks, names)


def _first_object(clip: Clip) -> np.ndarray:
    if clip.masks is None:
        return extract(clip.frames, clip).labels[clip.num_context :] == 1
    return clip.mask(clip.objects[0].name)[clip.num_context :]


def _line(values: np.ndarray) -> list[float | None]:
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in values]


def _finite_mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
