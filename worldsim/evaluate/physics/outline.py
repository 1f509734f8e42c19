"""The outline of a box in the image, from where it is and how it is turned.

Seen from one side, a box that turns changes its outline, and the middle of the outline wanders off the box's centre by
pixels. With the box's size known, the turn that fits what is seen gives both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from worldsim.evaluate.physics.geometry import project

__all__ = ["Outline", "box_outline", "turned"]

_CORNERS = np.array(list(product((-1.0, 1.0), repeat=3)))
_GRID = 0.5  # px between points that fill an outline


@dataclass(frozen=True)
class Outline:
    """A convex outline around the pixel in which a box's centre is seen."""

    edges: np.ndarray
    """(E, 3): inside, every a u + b v + c is below 0; u and v from the centre, pixels."""
    area: float
    """px^2."""
    points: np.ndarray
    """(P, 2) that fill it evenly, from the centre, pixels."""
    low: np.ndarray
    """(2,) its least u and v, from the centre."""
    high: np.ndarray
    """(2,) its largest."""

    def holds(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return which pixels (...), given from the centre, lie inside."""
        a, b, c = self.edges.T[:, :, None]
        return (a * u.ravel() + b * v.ravel() + c < 0).all(axis=0).reshape(u.shape)


def turned(turn: np.ndarray, normal: np.ndarray, angle: float) -> np.ndarray:
    """Return an orientation (3, 3) turned further by an angle in rad about a unit vector (3,) (Rodrigues' formula)."""
    x, y, z = normal
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return turn + (np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross) @ turn


def box_outline(
    centre: np.ndarray, turn: np.ndarray, half: tuple[float, float, float], K: np.ndarray, c2w: np.ndarray
) -> Outline | None:
    """Return how a box is seen; None if any of it is behind the camera or it is seen edge-on.

    Args:
        centre: (3,) metres.
        turn: (3, 3) orientation in the world.
        half: Half extents in metres.
        K, c2w: The camera, as in `project`.
    """
    corners = centre + (_CORNERS * half) @ turn.T  # (8, 3)
    seen = project(np.concatenate([corners, np.asarray(centre)[None]]), K, c2w)
    px = seen[:8] - seen[8]
    if not np.isfinite(px).all():
        return None
    try:
        hull = ConvexHull(px)
    except QhullError:
        return None
    low, high = px.min(axis=0), px.max(axis=0)
    u, v = np.meshgrid(np.arange(low[0] + _GRID / 2, high[0], _GRID), np.arange(low[1] + _GRID / 2, high[1], _GRID))
    points = np.stack([u.ravel(), v.ravel()], axis=1)
    outline = Outline(hull.equations, float(hull.volume), points, low, high)
    inside = outline.holds(u, v).ravel()
    return Outline(outline.edges, outline.area, points[inside], low, high) if inside.any() else None
