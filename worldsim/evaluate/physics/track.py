"""Follow blobs through time: a Kalman filter per object and an optimal assignment of what is seen to what is expected.

A filter's state is (u, v, du, dv, ddu, ddv) in pixels and frames. Its acceleration fades, so that an object that was
lost behind something goes on in a straight line.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

__all__ = ["Filters", "assign"]

_MEASURED = 0.15  # px, standard deviation of a centroid
_JERKED = 1.5  # px per frame^2, by which an acceleration may change from one frame to the next
_FADING = 0.7  # of an acceleration that is left after a frame
_UNKNOWN = np.array([0.2, 0.2, 4.0, 4.0, 2.0, 2.0])  # standard deviations at the beginning


def _dynamics() -> np.ndarray:
    step = np.eye(6)
    step[[0, 1, 2, 3], [2, 3, 4, 5]] = 1.0
    step[[0, 1], [4, 5]] = 0.5
    step[[4, 5], [4, 5]] = _FADING
    return step


_STEP = _dynamics()
_NOISE = np.diag([0.02, 0.02, 0.3, 0.3, _JERKED, _JERKED]) ** 2


class Filters:
    """One constant-acceleration Kalman filter per object.

    Args:
        px: (N, 2) where the objects are first seen.
    """

    def __init__(self, px: np.ndarray) -> None:
        self.state = np.concatenate([px, np.zeros((len(px), 4))], axis=1)  # (N, 6)
        self._cov = np.tile(np.diag(_UNKNOWN**2), (len(px), 1, 1))  # (N, 6, 6)

    def predict(self) -> np.ndarray:
        """Advance by a frame and return where the objects are expected, (N, 2)."""
        self.state = self.state @ _STEP.T
        self._cov = _STEP @ self._cov @ _STEP.T + _NOISE
        return self.state[:, :2].copy()

    def update(self, k: int, px: np.ndarray) -> None:
        """Take in where object k is seen, (2,)."""
        cov = self._cov[k]
        gain = cov[:, :2] @ np.linalg.inv(cov[:2, :2] + _MEASURED**2 * np.eye(2))  # (6, 2)
        self.state[k] += gain @ (px - self.state[k, :2])
        self._cov[k] = cov - gain @ cov[:2]

    def spread(self) -> np.ndarray:
        """Return the standard deviation of every expected position in pixels, (N,)."""
        return np.sqrt((self._cov[:, 0, 0] + self._cov[:, 1, 1]) / 2)


def assign(cost: np.ndarray, limit: float = np.inf) -> list[tuple[int, int]]:
    """Return the pairs (row, column) of the cheapest assignment, without those that cost more than a limit."""
    if not cost.size:
        return []
    rows, columns = linear_sum_assignment(np.minimum(cost, 1e6))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if cost[r, c] <= limit]
