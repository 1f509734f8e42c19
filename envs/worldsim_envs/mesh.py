"""Triangle meshes as plain arrays: flat-shaded, textured from one atlas, cheap to move and to join.

Every world builds its static geometry from these few functions and hands the result to the renderer as one body per
neighbourhood, because the cost of a frame is in bodies and triangles. Footprints are extruded by trimesh once per
shape; a building is then an affine copy of its prototype.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import trimesh
from shapely.geometry import Polygon

__all__ = ["FOOTPRINTS", "Mesh", "blob", "box", "join", "polygon", "prism", "quads"]

FOOTPRINTS = {
    "rect": [(0, 0), (1, 0), (1, 1), (0, 1)],
    "l": [(0, 0), (1, 0), (1, 0.55), (0.5, 0.55), (0.5, 1), (0, 1)],
    "u": [(0, 0), (1, 0), (1, 1), (0.7, 1), (0.7, 0.5), (0.3, 0.5), (0.3, 1), (0, 1)],
    "round": [(0.3, 0), (0.7, 0), (1, 0.3), (1, 0.7), (0.7, 1), (0.3, 1), (0, 0.7), (0, 0.3)],
}
"""Footprints in the unit square, counterclockwise."""

Rect = tuple[float, float, float, float]
"""A rectangle of the atlas: u0, v0, u1, v1 in [0, 1]."""


@dataclass(frozen=True)
class Mesh:
    """Triangles with three vertices of their own each."""

    vertices: np.ndarray
    """(3 F, 3) metres, counterclockwise seen from outside."""
    normals: np.ndarray
    """(3 F, 3) unit vectors."""
    uvs: np.ndarray
    """(3 F, 2) positions in the atlas, v upwards."""

    def moved(self, x: float, y: float, yaw: float = 0.0, z: float = 0.0) -> Mesh:
        """Return a copy turned by ``yaw`` about z and then shifted."""
        c, s = np.cos(yaw), np.sin(yaw)
        turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        return Mesh(self.vertices @ turn + (x, y, z), self.normals @ turn, self.uvs)

    def scaled(self, x: float, y: float, z: float) -> Mesh:
        """Return a copy stretched along the axes by positive factors."""
        normals = self.normals / (x, y, z)
        return Mesh(self.vertices * (x, y, z), normals / np.linalg.norm(normals, axis=1, keepdims=True), self.uvs)


def join(meshes: Sequence[Mesh]) -> Mesh:
    """Return all meshes as one."""
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        np.concatenate([m.uvs for m in meshes]),
    )


def quads(corners: np.ndarray, rect: Rect) -> Mesh:
    """Return one textured rectangle per row of ``corners`` (N, 4, 3), counterclockwise from the lower left."""
    corners = np.asarray(corners, dtype=float)  # (N, 4, 3)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    u0, v0, u1, v1 = rect
    order = [0, 1, 2, 0, 2, 3]
    uv = np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])[order]
    return Mesh(corners[:, order].reshape(-1, 3), np.repeat(normal, 6, axis=0), np.tile(uv, (len(corners), 1)))


def polygon(points: Sequence[tuple[float, float]], z: float, rect: Rect) -> Mesh:
    """Return a flat convex polygon that looks up, in one colour."""
    ring = np.array([(x, y, z) for x, y in points])
    fan = np.array([(ring[0], ring[i], ring[i + 1]) for i in range(1, len(ring) - 1)]).reshape(-1, 3)
    centre = ((rect[0] + rect[2]) / 2, (rect[1] + rect[3]) / 2)
    return Mesh(fan, np.tile((0.0, 0.0, 1.0), (len(fan), 1)), np.tile(centre, (len(fan), 1)))


def box(x0: float, y0: float, z0: float, x1: float, y1: float, z1: float, side: Rect, top: Rect | None = None) -> Mesh:
    """Return an upright box without its bottom."""
    a, b, c, d = (x0, y0), (x1, y0), (x1, y1), (x0, y1)
    walls = [[(*p, z0), (*q, z0), (*q, z1), (*p, z1)] for p, q in ((a, b), (b, c), (c, d), (d, a))]
    roof = [[(*p, z1) for p in (a, b, c, d)]]
    return join([quads(np.array(walls), side), quads(np.array(roof), top or side)])


@cache
def _prototype(footprint: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Extrude a footprint by 1 m; return triangles (F, 3, 3), normals (F, 3), wall uv (F, 3, 2) and wall width (F,)."""
    solid = trimesh.creation.extrude_polygon(Polygon(FOOTPRINTS[footprint]), 1.0)
    triangles = np.asarray(solid.triangles)
    normals = np.round(np.asarray(solid.face_normals), 6)
    keep = normals[:, 2] > -0.5
    triangles, normals = triangles[keep], normals[keep]
    uv, width = np.zeros((len(triangles), 3, 2)), np.zeros(len(triangles))
    ring = np.array(FOOTPRINTS[footprint], dtype=float)
    for start, end in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        along = (end - start) / np.linalg.norm(end - start)
        across = np.array([along[1], -along[0]])
        on_wall = (np.abs((triangles[..., :2] - start) @ across) < 1e-6).all(1) & (normals[:, :2] @ across > 0.5)
        reach = (triangles[..., :2] - start) @ along / np.linalg.norm(end - start)
        on_wall &= (reach > -1e-6).all(1) & (reach < 1 + 1e-6).all(1)
        uv[on_wall] = np.stack([reach, triangles[..., 2]], axis=-1)[on_wall]
        width[on_wall] = np.linalg.norm(end - start)
    return triangles, normals, uv, width


def prism(
    footprint: str, size: tuple[float, float, float], narrow: Rect, wide: Rect, roof: Rect, turns: int = 0
) -> Mesh:
    """Return a building on ``footprint``, its lower corner at the origin.

    Args:
        footprint: A key of FOOTPRINTS.
        size: Width, depth and height, metres.
        narrow, wide, roof: Where the atlas shows walls below and above 9 m of width, and the roof.
        turns: Quarter turns of the footprint within its rectangle.
    """
    triangles, normals, wall_uv, _ = _prototype(footprint)
    angle = turns * np.pi / 2
    turn = np.round(np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]]))
    placed = ((triangles - (0.5, 0.5, 0)) @ turn + (0.5, 0.5, 0)) * size
    normals = normals @ turn
    is_wall = normals[:, 2] < 0.5
    spread = placed.max(axis=1) - placed.min(axis=1)
    is_wide = spread[:, :2].max(axis=1) > 9.0
    uv = np.empty_like(wall_uv)
    for chosen, rect in ((is_wall & ~is_wide, narrow), (is_wall & is_wide, wide)):
        uv[chosen] = np.array(rect[:2]) + wall_uv[chosen] * (rect[2] - rect[0], rect[3] - rect[1])
    uv[~is_wall] = ((roof[0] + roof[2]) / 2, (roof[1] + roof[3]) / 2)
    return Mesh(placed.reshape(-1, 3), np.repeat(normals, 3, axis=0), uv.reshape(-1, 2))


@cache
def _blob() -> tuple[np.ndarray, np.ndarray]:
    ball = trimesh.creation.icosphere(subdivisions=0)
    return np.asarray(ball.triangles).reshape(-1, 3), np.repeat(np.asarray(ball.face_normals), 3, axis=0)


def blob(radius: float, height: float, rect: Rect) -> Mesh:
    """Return a rough ball around the origin, ``height`` metres tall, in one colour."""
    vertices, normals = _blob()
    centre = ((rect[0] + rect[2]) / 2, (rect[1] + rect[3]) / 2)
    ball = Mesh(vertices, normals, np.tile(centre, (len(vertices), 1)))
    return ball.scaled(radius, radius, height / 2)
