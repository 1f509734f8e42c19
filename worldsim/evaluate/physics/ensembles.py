"""Whether a model knows what it does not know: its samples against an ensemble of truths that began a little apart.

In a chaotic scene the truth itself is a distribution. Its members are re-simulations from perturbed starts; a model's
are noise samples from one context. Places are metres, (members, T, N, 3). Missing objects stay where they were last
seen, which is a wrong place, and their share is printed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["CHAOTIC", "held", "score_ensemble"]

CHAOTIC = ("double_pendulum", "clutter", "stack")
"""Scenarios whose future a small change of the start decides."""


def held(places: np.ndarray, begun: np.ndarray) -> tuple[np.ndarray, float]:
    """Return places (T, N, 3) with gaps filled by the last one seen, at first ``begun`` (N, 3), and their share."""
    out, now = places.copy(), begun.copy()
    for t in range(len(out)):
        missing = ~np.isfinite(out[t]).all(axis=1)
        out[t, missing] = now[missing]
        now = out[t]
    return out, float((~np.isfinite(places).all(axis=2)).mean())


def score_ensemble(samples: np.ndarray, truths: np.ndarray) -> dict[str, Any]:
    """Score samples of one clip against the truths.

    Args:
        samples: (S, T, N, 3) metres, of the model.
        truths: (M, T, N, 3) metres.

    Returns:
        Per step (T,), means over objects: ``energy_score`` E|x - y| - E|x - x'| / 2 in metres (the fair estimate) and
        ``crps``, the same per coordinate, mean of the coordinates that move; over all steps ``coverage``: by rank k,
        how often a truth lies between the k-th lowest and k-th highest sample, beside the ``expected`` share
        (S + 1 - 2 k) / (S + 1) of a calibrated ensemble; ``spread_skill``: spread over the error of the mean, 1 if
        calibrated, with the correction (S + 1) / S for a finite ensemble.
    """
    num = len(samples)
    moves = truths.std(axis=(0, 1)).max(axis=0) > 1e-3  # (3,) coordinates in which anything moves
    if not moves.any():
        moves = np.array([True, False, False])
    x, y = samples[..., moves], truths[..., moves]
    to_truth = np.linalg.norm(x[:, None] - y[None], axis=-1).mean(axis=(0, 1))  # (T, N)
    among = np.linalg.norm(x[:, None] - x[None], axis=-1).sum(axis=(0, 1)) / max(num * (num - 1), 1)
    one_truth = np.abs(x[:, None] - y[None]).mean(axis=(0, 1))  # (T, N, axes)
    one_among = np.abs(x[:, None] - x[None]).sum(axis=(0, 1)) / max(num * (num - 1), 1)
    ordered = np.sort(x, axis=0)
    ranks = range(1, num // 2 + 1)
    inside = [float(((y >= ordered[k - 1]) & (y <= ordered[num - k])).mean()) for k in ranks]
    error = float(((x.mean(axis=0) - y) ** 2).mean())
    spread = float(x.var(axis=0, ddof=1).mean()) * (num + 1) / num if num > 1 else 0.0
    return {
        "energy_score": (to_truth - among / 2).mean(axis=1).tolist(),
        "crps": (one_truth - one_among / 2).mean(axis=(1, 2)).tolist(),
        "coverage": inside,
        "expected": [(num + 1 - 2 * k) / (num + 1) for k in ranks],
        "spread_skill": (spread / error) ** 0.5 if error else None,
        "spread_m": spread**0.5,
        "error_of_mean_m": error**0.5,
        "samples": num,
        "truths": len(truths),
    }
