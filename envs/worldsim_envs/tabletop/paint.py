"""How the table looks: blocks in the eight hues of the bench, all else near grey, meshes coloured from one atlas.

Every block is saturated and nothing else is, so that colour alone says which block a pixel belongs to. No surface has
a pattern: what does not move keeps its pixels.
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import pairwise

import numpy as np

from worldsim_envs.lab.paint import HUES
from worldsim_envs.lab.paint import PALETTE as BENCH
from worldsim_envs.mesh import Mesh, Rect, blob, join, quads

__all__ = ["PALETTE", "WALL", "atlas", "ball_mesh", "box_mesh", "tube_mesh"]

PALETTE: dict[str, tuple[int, int, int]] = {
    **{name: BENCH[name] for name in HUES},
    "table": (186, 180, 170),
    "rim": (136, 130, 122),
    "arm": (238, 240, 243),
    "joint": (104, 110, 120),
    "gripper": (46, 48, 54),
    "mark": (252, 252, 252),
    "post": (120, 124, 130),
    "shade": (146, 141, 134),
}
"""Colours under white light by name; ``shade`` is the spot below the gripper that tells where it is in depth."""
WALL = (132, 142, 156)
"""What is seen behind the table."""
_CELL, _COLUMNS = 16, 8  # px of a flat colour, cells a row


@cache
def atlas() -> np.ndarray:
    """Return the texture of the table, (128, 128, 3) uint8: cells of flat colour."""
    image = np.zeros((_CELL * _COLUMNS, _CELL * _COLUMNS, 3), np.uint8)
    for index, color in enumerate(PALETTE.values()):
        y, x = (_CELL * k for k in divmod(index, _COLUMNS))
        image[y : y + _CELL, x : x + _CELL] = color
    return image


def _rect(name: str) -> Rect:
    y, x = divmod(list(PALETTE).index(name), _COLUMNS)
    u, v = (x + 0.5) / _COLUMNS, 1 - (y + 0.5) / _COLUMNS
    return (u, v, u, v)


@lru_cache(maxsize=64)
def box_mesh(half: tuple[float, float, float], paint: str) -> Mesh:
    """Return a box around the origin."""
    x, y, z = half
    ring = [(-x, -y), (x, -y), (x, y), (-x, y)]
    walls = [[(*p, -z), (*q, -z), (*q, z), (*p, z)] for p, q in zip(ring, ring[1:] + ring[:1], strict=True)]
    lids = [[(*p, z) for p in ring], [(*p, -z) for p in reversed(ring)]]
    return quads(np.array(walls + lids), _rect(paint))


@lru_cache(maxsize=64)
def ball_mesh(radius: float, paint: str) -> Mesh:
    """Return a rough ball around the origin."""
    return blob(radius, 2 * radius, _rect(paint))


@lru_cache(maxsize=64)
def tube_mesh(radius: float, half_length: float, axis: str, paint: str, sides: int = 10) -> Mesh:
    """Return a closed cylinder around the origin along ``axis``, x, y or z."""
    angle = np.arange(sides + 1) * 2 * np.pi / sides
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)  # (S + 1, 2)
    h = half_length
    walls = [[(*p, -h), (*q, -h), (*q, h), (*p, h)] for p, q in pairwise(ring)]
    tube = quads(np.array(walls), _rect(paint))
    middle = ring[:-1].reshape(-1, 2)
    fan = [(middle[0], middle[k], middle[k + 1]) for k in range(1, sides - 1)]
    up = np.array([(*p, h) for corners in fan for p in corners])
    down = np.array([(*p, -h) for corners in fan for p in reversed(corners)])
    uv = np.tile(_rect(paint)[:2], (len(up), 1))
    whole = join([tube, *(Mesh(v, np.tile((0.0, 0.0, s), (len(v), 1)), uv) for v, s in ((up, 1.0), (down, -1.0)))])
    order = {"x": [2, 0, 1], "y": [1, 2, 0], "z": [0, 1, 2]}[axis]  # cyclic: faces keep looking outwards
    return Mesh(whole.vertices[:, order], whole.normals[:, order], whole.uvs)
