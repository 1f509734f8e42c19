"""How a straight grid of streets becomes a city of curved ones: one smooth map of the plane, applied to everything.

A point (x, y) of the grid lies at (x + f(y), y + g(x)) in the world, with f and g sines of at most a quarter's slope:
streets bend, junctions stay junctions, and what is drawn, driven and measured bends alike.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["Warp"]

_SLOPE = 0.25  # tangent of the sharpest bend of a street against its straight course


class Warp:
    """One smooth map from the straight grid to the world.

    Args:
        seed: Decides wavelengths (150 to 230 m) and phases.
        bend: 0 = straight streets, 1 = the most curved ones.
    """

    def __init__(self, seed: int, bend: float) -> None:
        rng = np.random.default_rng((seed, 6))
        waves = (2 * np.pi / rng.uniform(150, 230, 2)).tolist()  # 1/m
        phases = rng.uniform(0, 2 * np.pi, 2).tolist()
        self.bend = bend
        self._f = (_SLOPE * bend / waves[0], waves[0], phases[0])  # m, 1/m, rad
        self._g = (_SLOPE * bend / waves[1], waves[1], phases[1])

    def points(self, grid: np.ndarray) -> np.ndarray:
        """Return world positions of grid positions (..., >= 2); further columns are kept."""
        moved = np.array(grid, dtype=float)
        (a, k, p), (b, q, r) = self._f, self._g
        moved[..., 0] += a * np.sin(k * grid[..., 1] + p)
        moved[..., 1] += b * np.sin(q * grid[..., 0] + r)
        return moved

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Return the world position of one grid position."""
        (a, k, p), (b, q, r) = self._f, self._g
        return x + a * math.sin(k * y + p), y + b * math.sin(q * x + r)

    def grid(self, x: float, y: float) -> tuple[float, float]:
        """Return the grid position of one world position, exact to a micrometre."""
        (a, k, p), (b, q, r) = self._f, self._g
        u, v = x, y
        if self.bend == 0:
            return u, v
        for _ in range(8):  # each round divides the error by at least 16
            u = x - a * math.sin(k * v + p)
            v = y - b * math.sin(q * u + r)
        return u, v

    def slopes(self, x: float, y: float) -> tuple[float, float]:
        """Return f'(y) and g'(x) at a grid position."""
        (a, k, p), (b, q, r) = self._f, self._g
        return a * k * math.cos(k * y + p), b * q * math.cos(q * x + r)

    def heading(self, x: float, y: float, yaw: float) -> float:
        """Return the world heading of a grid heading at a grid position, rad."""
        f, g = self.slopes(x, y)
        c, s = math.cos(yaw), math.sin(yaw)
        turned = math.atan2(s + g * c, c + f * s)
        return yaw + math.remainder(turned - yaw, 2 * math.pi)

    def grid_heading(self, x: float, y: float, yaw: float) -> float:
        """Return the grid heading of a world heading at a grid position, rad."""
        f, g = self.slopes(x, y)
        c, s = math.cos(yaw), math.sin(yaw)
        return math.atan2(s - g * c, c - f * s)
