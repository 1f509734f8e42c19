"""Houses on footprints of a real place: each to the block where it stands, extruded, with windows.

The place's middle is the map's. The city keeps its own streets: a house that reaches into one is moved aside by up to
12 m, and left out if that does not help. A block with such houses has no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import trimesh
from shapely import affinity
from shapely.geometry import Polygon

from worldsim_envs.geojson import Footprint
from worldsim_envs.mesh import Mesh, Rect, join, quads
from worldsim_envs.scene import Box

__all__ = ["MARGIN", "house_box", "house_mesh", "middle_of", "settled"]

MARGIN = 3.6  # m, kerb to house
_FARTHEST = 12.0  # m, how far a house may be moved
_OVERLAP = 1.0  # m2 that two houses may share
_Key = TypeVar("_Key")


def settled(
    footprints: Sequence[Footprint], areas: Mapping[_Key, tuple[float, float, float, float]]
) -> tuple[dict[_Key, tuple[Footprint, ...]], int]:
    """Return the footprints of each block, moved off the streets, and how many found no place.

    Args:
        footprints: From `read_footprints`; the largest ones choose first.
        areas: x0, y0, x1, y1 of every block in metres of the grid.
    """
    rooms = {key: np.add(area, (MARGIN, MARGIN, -MARGIN, -MARGIN)) for key, area in areas.items()}
    placed: dict[_Key, list[tuple[Footprint, Polygon]]] = {}
    shapes = [(Polygon(footprint.points), footprint) for footprint in footprints]
    for shape, footprint in sorted(shapes, key=lambda pair: -pair[0].area):
        x0, y0, x1, y1 = shape.bounds
        best: tuple[float, _Key | None, tuple[float, float]] = (_FARTHEST, None, (0.0, 0.0))
        for key, (left, low, right, high) in rooms.items():
            if x1 - x0 > right - left or y1 - y0 > high - low:
                continue
            shift = max(left - x0, 0.0) + min(right - x1, 0.0), max(low - y0, 0.0) + min(high - y1, 0.0)
            if np.hypot(*shift) < best[0]:
                best = (float(np.hypot(*shift)), key, shift)
        _, key, (dx, dy) = best
        if key is None:
            continue
        moved = affinity.translate(shape, dx, dy)
        if any(moved.intersection(other).area > _OVERLAP for _, other in placed.get(key, [])):
            continue
        points = tuple((x + dx, y + dy) for x, y in footprint.points)
        placed.setdefault(key, []).append((Footprint(points, footprint.height, footprint.name), moved))
    result = {key: tuple(footprint for footprint, _ in houses) for key, houses in placed.items()}
    return result, len(footprints) - sum(map(len, result.values()))


def house_mesh(footprint: Footprint, narrow: Rect, wide: Rect, roof: Rect) -> Mesh:
    """Return a house around its footprint's middle: walls with windows, and a flat roof.

    Args:
        footprint: Where it stands.
        narrow, wide, roof: Where the atlas shows walls below and above 9 m of width, and the roof.
    """
    ring = np.array(footprint.points) - middle_of(footprint)  # (K, 2)
    after = np.roll(ring, -1, axis=0)
    low, high = np.zeros((len(ring), 1)), np.full((len(ring), 1), footprint.height)
    corners = np.stack(
        [np.hstack([ring, low]), np.hstack([after, low]), np.hstack([after, high]), np.hstack([ring, high])], axis=1
    )  # (K, 4, 3)
    is_wide = np.hypot(*(after - ring).T) > 9.0
    walls = [quads(corners[chosen], rect) for chosen, rect in ((is_wide, wide), (~is_wide, narrow)) if chosen.any()]
    points, faces = trimesh.creation.triangulate_polygon(Polygon(ring), engine="earcut")
    top = np.hstack([points, np.full((len(points), 1), footprint.height)])[faces]  # (F, 3, 3)
    is_down = np.cross(top[:, 1] - top[:, 0], top[:, 2] - top[:, 0])[:, 2] < 0
    top[is_down] = top[is_down][:, ::-1]
    vertices = top.reshape(-1, 3)
    colour = ((roof[0] + roof[2]) / 2, (roof[1] + roof[3]) / 2)
    lid = Mesh(vertices, np.tile((0.0, 0.0, 1.0), (len(vertices), 1)), np.tile(colour, (len(vertices), 1)))
    return join([*walls, lid])


def middle_of(footprint: Footprint) -> np.ndarray:
    """Return the middle of a footprint's bounding rectangle, (2,) metres."""
    points = np.array(footprint.points)
    return (points.min(axis=0) + points.max(axis=0)) / 2


def house_box(footprint: Footprint) -> Box:
    """Return the smallest upright box around a house, around its footprint's middle: what a car touches."""
    ring = np.array(footprint.points) - middle_of(footprint)
    rectangle = np.array(Polygon(ring).minimum_rotated_rectangle.exterior.coords)[:4]  # type: ignore[union-attr]
    along, across = rectangle[1] - rectangle[0], rectangle[2] - rectangle[1]
    x, y = rectangle.mean(axis=0).tolist()
    half = (float(np.hypot(*along)) / 2, float(np.hypot(*across)) / 2, footprint.height / 2)
    return Box((x, y, footprint.height / 2), half, float(np.arctan2(along[1], along[0])))
