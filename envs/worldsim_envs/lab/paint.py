"""How the bench looks: a palette of eight hues 45 degrees apart on grey, and meshes coloured from one atlas.

Every object is saturated and everything else is grey, so that colour alone says which object a pixel belongs to.
"""

from __future__ import annotations

import colorsys
from functools import cache

import numpy as np
import trimesh

from worldsim_envs.mesh import Mesh, Rect, join, quads

__all__ = ["HUES", "PALETTE", "SKY", "atlas", "ball_mesh", "box_mesh", "color_of", "floor_mesh"]

HUES = ("red", "yellow", "lime", "green", "cyan", "blue", "purple", "magenta")
"""Names of the objects' colours, 45 degrees of hue apart."""
PALETTE: dict[str, tuple[int, int, int]] = {
    **{
        name: tuple(round(255 * c) for c in colorsys.hsv_to_rgb(k / len(HUES), 0.88, 0.95))  # type: ignore[misc]
        for k, name in enumerate(HUES)
    },
    "border": (146, 150, 158),
    "screen": (92, 96, 104),
    "hand": (58, 60, 66),
    "rod": (72, 74, 80),
    "mark": (250, 250, 250),
}
"""Colours under white light by name."""
SKY = (222, 227, 234)
_FLOOR = ((196, 197, 194), (178, 180, 180))
_FLOOR_SIZE, _SQUARES = 9.6, 16  # m, squares a side
_SIZE, _SQUARE, _CELL = 256, 8, 16  # px of the atlas, of a floor square, of a flat colour
_DARK = 0.62
"""Brightness of the half of a ball that tells how it is turned."""


def color_of(hue: int, index: int) -> str:
    """Return the name of the colour of an episode's object ``index``."""
    return HUES[(hue + 3 * index) % len(HUES)]  # 135 degrees from one to the next, all eight before any twice


def _flat_names() -> list[str]:
    return [*PALETTE, *(f"{name} dark" for name in PALETTE)]


@cache
def atlas() -> np.ndarray:
    """Return the texture of the bench, (256, 256, 3) uint8: the floor's squares, then flat colours."""
    image = np.zeros((_SIZE, _SIZE, 3), np.uint8)
    row, column = np.mgrid[: _SQUARES * _SQUARE, : _SQUARES * _SQUARE] // _SQUARE
    image[: _SQUARES * _SQUARE, : _SQUARES * _SQUARE] = np.array(_FLOOR)[(row + column) % 2]
    for index, name in enumerate(_flat_names()):
        y, x = divmod(index, _SIZE // _CELL)
        base = name.removesuffix(" dark")
        shade = _DARK if base not in (name, "mark") else 1.0
        top, left = _SQUARES * _SQUARE + y * _CELL, x * _CELL
        image[top : top + _CELL, left : left + _CELL] = np.array(PALETTE[base]) * shade
    return image


def _rect(name: str) -> Rect:
    y, x = divmod(_flat_names().index(name), _SIZE // _CELL)
    u, v = (x + 0.5) * _CELL / _SIZE, 1 - (_SQUARES * _SQUARE + (y + 0.5) * _CELL) / _SIZE
    return (u, v, u, v)


@cache
def floor_mesh() -> Mesh:
    """Return the floor at z = 0: squares of 0.6 m around the origin."""
    half = _FLOOR_SIZE / 2
    corners = np.array([[(-half, -half, 0), (half, -half, 0), (half, half, 0), (-half, half, 0)]])
    end = _SQUARES * _SQUARE / _SIZE
    return quads(corners, (0.0, 1 - end, end, 1.0))


@cache
def box_mesh(half: tuple[float, float, float], paint: str) -> Mesh:
    """Return a box around the origin; its top and bottom are a shade darker than its sides."""
    x, y, z = half
    ring = [(-x, -y), (x, -y), (x, y), (-x, y)]
    walls = [[(*p, -z), (*q, -z), (*q, z), (*p, z)] for p, q in zip(ring, ring[1:] + ring[:1], strict=True)]
    lids = [[(*p, z) for p in ring], [(*p, -z) for p in reversed(ring)]]
    return join([quads(np.array(walls), _rect(paint)), quads(np.array(lids), _rect(f"{paint} dark"))])


@cache
def _sphere() -> np.ndarray:
    return np.asarray(trimesh.creation.icosphere(subdivisions=2).triangles)  # (320, 3, 3)


@cache
def ball_mesh(radius: float, paint: str) -> Mesh:
    """Return a ball around the origin, two opposite quarters of it dark, so that its rolling can be seen."""
    triangles = _sphere()
    middle = triangles.mean(axis=1)
    is_dark = middle[:, 0] * middle[:, 2] > 0
    uv = np.where(is_dark[:, None], _rect(f"{paint} dark")[:2], _rect(paint)[:2])  # (320, 2)
    vertices = triangles.reshape(-1, 3)
    return Mesh(vertices * radius, vertices, np.repeat(uv, 3, axis=0))
