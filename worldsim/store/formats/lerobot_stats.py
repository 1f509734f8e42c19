"""The statistics that a LeRobotDataset carries, by which its policies normalise: per episode and of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["feature_stats", "pooled_stats"]

Stats = dict[str, dict[str, np.ndarray]]

_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_FRAMES_SAMPLED = 8  # per episode


def feature_stats(columns: Mapping[str, np.ndarray], frames: Mapping[str, np.ndarray]) -> Stats:
    """Return min, max, mean, std, count and quantiles of an episode's columns and, per channel in [0, 1], its frames.

    Args:
        columns: (T,) or (T, D) by feature.
        frames: (T, H, W, 3) uint8 by feature; 8 of them are looked at.
    """
    found = {name: _stats(values.reshape(len(values), -1)) for name, values in columns.items()}
    for name, rows in frames.items():
        sample = rows[:: max(1, len(rows) // _FRAMES_SAMPLED)]
        stats = _stats(sample.reshape(-1, 3) / 255.0)
        found[name] = {key: value.reshape(3, 1, 1) for key, value in stats.items() if key != "count"}
        found[name]["count"] = np.array([len(sample)])
    return found


def pooled_stats(episodes: Sequence[Stats]) -> Stats:
    """Return the statistics of all episodes from those of each; quantiles are means of quantiles, as LeRobot pools."""
    return {name: _pooled([stats[name] for stats in episodes]) for name in episodes[0]}


def _stats(values: np.ndarray) -> dict[str, np.ndarray]:
    values = values.astype(np.float64)  # (N, D)
    found = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    quantiles = np.quantile(values, list(_QUANTILES.values()), axis=0)
    return found | {"count": np.array([len(values)])} | dict(zip(_QUANTILES, quantiles, strict=True))


def _pooled(stats: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    count = np.array([found["count"][0] for found in stats])

    def mean_of(values: np.ndarray) -> np.ndarray:
        return np.tensordot(count / count.sum(), values, axes=1)

    rows = {key: np.stack([found[key] for found in stats]) for key in stats[0]}
    mean = mean_of(rows["mean"])
    return {
        "min": rows["min"].min(0),
        "max": rows["max"].max(0),
        "mean": mean,
        "std": np.sqrt(mean_of(rows["std"] ** 2 + (rows["mean"] - mean) ** 2)),
        "count": np.array([count.sum()]),
        **{name: mean_of(rows[name]) for name in _QUANTILES},
    }
