"""The colours of the city, the texture they share, and the meshes of single things: cars, people, signals, trees."""

from __future__ import annotations

from functools import cache

import numpy as np

from worldsim_envs.mesh import Mesh, Rect, blob, box, join, polygon, quads

__all__ = [
    "CAR_COLORS",
    "CAR_SIZE",
    "COAT_COLORS",
    "FACADES",
    "PALETTE",
    "WALKER_SIZE",
    "atlas",
    "brake_mesh",
    "car_mesh",
    "color_rect",
    "facade_rect",
    "ground_mesh",
    "parked_mesh",
    "signal_mesh",
    "street_lamp",
    "tile_of",
    "tree",
    "walker_mesh",
]

CAR_SIZE = (4.2, 1.8, 1.45)  # m, length, width, height
WALKER_SIZE = (0.5, 0.75, 1.8)  # m, depth, width, height

PALETTE = {
    "asphalt": (98, 98, 102),
    "patch": (82, 82, 86),
    "mark": (208, 206, 198),
    "kerb": (196, 192, 184),
    "pavement": (150, 143, 134),
    "grass": (92, 138, 66),
    "path": (190, 172, 134),
    "trunk": (96, 70, 48),
    "leaf": (58, 112, 50),
    "leaf2": (96, 132, 48),
    "lamp": (170, 200, 235),
    "pole": (84, 82, 80),
    "glass": (44, 44, 46),
    "tyre": (30, 28, 28),
    "tail": (240, 20, 20),
    "roof": (122, 112, 104),
    "roof2": (150, 96, 78),
    "brake": (70, 34, 32),
    "braking": (255, 30, 0),
    "skin": (222, 172, 140),
    "trousers": (60, 56, 62),
    "housing": (38, 38, 40),
    "red_light": (255, 24, 0),
    "yellow_light": (255, 196, 0),
    "green_light": (0, 240, 70),
}
"""Flat colours by name, RGB."""

CAR_COLORS = {
    "red": (196, 58, 46),
    "yellow": (232, 190, 52),
    "white": (232, 230, 224),
    "black": (44, 42, 42),
    "green": (62, 138, 84),
    "orange": (228, 124, 48),
    "brown": (134, 96, 66),
    "silver": (168, 166, 162),
}
"""Paint by name, RGB; none may look like a lamp (see look.py)."""

FACADES = [
    (186, 104, 82), (214, 186, 142), (158, 150, 138), (204, 160, 102), (140, 92, 72),
    (222, 208, 182), (176, 172, 160), (128, 128, 104), (200, 132, 112), (112, 104, 100),
]  # fmt: skip
COAT_COLORS = ("red", "yellow", "white", "green", "orange", "black")
"""Coats of the people by slot; names of CAR_COLORS."""

_FLOORS, _COLUMNS = (2, 4, 6), (2, 4)
_CELL, _GRID = 24, 10  # px per tile of the atlas, tiles per side
_ATLAS = _CELL * _GRID


def _rect(tile: int) -> Rect:
    """Return where a tile lies, half a texel inside its border."""
    row, column = divmod(tile, _GRID)
    edge = 0.5 / _ATLAS
    u0, v1 = column / _GRID, 1 - row / _GRID
    return (u0 + edge, v1 - 1 / _GRID + edge, u0 + 1 / _GRID - edge, v1 - edge)


_FLAT = {name: len(FACADES) * 6 + i for i, name in enumerate([*PALETTE, *CAR_COLORS])}


def tile_of(name: str) -> tuple[slice, slice]:
    """Return the rows and columns of the atlas that show a colour of PALETTE or CAR_COLORS."""
    row, column = divmod(_FLAT[name], _GRID)
    return slice(row * _CELL, (row + 1) * _CELL), slice(column * _CELL, (column + 1) * _CELL)


def color_rect(name: str) -> Rect:
    """Return where the atlas shows a colour of PALETTE or CAR_COLORS."""
    u0, v0, u1, v1 = _rect(_FLAT[name])
    u, v = (u0 + u1) / 2, (v0 + v1) / 2
    return (u, v, u, v)


def facade_rect(color: int, floors: int, columns: int) -> Rect:
    """Return where the atlas shows a facade of so many floors (2, 4, 6) and columns of windows (2, 4)."""
    return _rect(color * 6 + _FLOORS.index(floors) * 2 + _COLUMNS.index(columns))


@cache
def atlas() -> np.ndarray:
    """Return the texture of the city, (240, 240, 3) uint8: facades with windows, then flat colours."""
    image = np.zeros((_ATLAS, _ATLAS, 3), dtype=np.uint8)
    rng = np.random.default_rng(7)
    for color, paint in enumerate(FACADES):
        for floors in _FLOORS:
            for columns in _COLUMNS:
                tile = np.full((_CELL, _CELL, 3), paint, dtype=np.uint8)
                ground = max(3, _CELL // (floors + 1))
                tile[-ground:] = np.array(paint) * 0.66
                for floor in range(floors):
                    top = floor * (_CELL - ground) // floors
                    deep = (_CELL - ground) // floors
                    for column in range(columns):
                        left, wide = column * _CELL // columns, _CELL // columns
                        glass = (118, 138, 165) if rng.random() < 0.38 else np.array(paint) * 0.66
                        tile[
                            top + deep // 4 : top + deep - max(1, deep // 6), left + wide // 4 : left + wide - wide // 4
                        ] = glass
                row, col = divmod(color * 6 + _FLOORS.index(floors) * 2 + _COLUMNS.index(columns), _GRID)
                image[row * _CELL : (row + 1) * _CELL, col * _CELL : (col + 1) * _CELL] = tile
    for name, paint in {**PALETTE, **CAR_COLORS}.items():
        rows, columns = tile_of(name)
        image[rows, columns] = paint
    return image


@cache
def car_mesh(color: str) -> Mesh:
    """Return a car around the origin, its nose along +x."""
    paint, glass, tyre = color_rect(color), color_rect("glass"), color_rect("tyre")
    length, width, height = CAR_SIZE
    x, y = length / 2, width / 2
    return join(
        [
            box(-x + 0.2, -y + 0.1, 0.0, x - 0.2, y - 0.1, 0.35, tyre),
            box(-x, -y, 0.3, x, y, 0.85, paint),
            box(-x + 0.5, -y + 0.12, 0.85, x - 1.1, y - 0.12, height, glass, paint),
            quads(np.array([[(x + 0.03, s * 0.55 - 0.25, 0.5), (x + 0.03, s * 0.55 + 0.25, 0.5),
                             (x + 0.03, s * 0.55 + 0.25, 0.75), (x + 0.03, s * 0.55 - 0.25, 0.75)]
                            for s in (-1, 1)]), color_rect("lamp")),
            quads(np.array([[(-x - 0.03, s * 0.6 + 0.25, 0.5), (-x - 0.03, s * 0.6 - 0.25, 0.5),
                             (-x - 0.03, s * 0.6 - 0.25, 0.8), (-x - 0.03, s * 0.6 + 0.25, 0.8)]
                            for s in (-1, 1)]), color_rect("tail")),
            quads(_rear(0.85, 0.5, 0.8, 0.015), color_rect("brake")),
        ]
    )  # fmt: skip


@cache
def parked_mesh(color: str) -> Mesh:
    """Return a car without lights around the origin, its nose along +x."""
    length, width, height = CAR_SIZE
    x, y = length / 2, width / 2
    return join(
        [
            box(-x + 0.2, -y + 0.1, 0.0, x - 0.2, y - 0.1, 0.35, color_rect("tyre")),
            box(-x, -y, 0.3, x, y, 0.85, color_rect(color)),
            box(-x + 0.5, -y + 0.12, 0.85, x - 1.1, y - 0.12, height, color_rect("glass"), color_rect(color)),
        ]
    )


@cache
def brake_mesh() -> Mesh:
    """Return the burning brake lights of a car around the origin, its nose along +x."""
    return quads(_rear(0.9, 0.46, 0.9, 0.07), color_rect("braking"))


def _rear(half: float, low: float, high: float, out: float) -> np.ndarray:
    """Return the corners of a plate across the rear of a car, ``out`` metres behind it."""
    x = -CAR_SIZE[0] / 2 - out
    return np.array([[(x, half, low), (x, -half, low), (x, -half, high), (x, half, high)]])


@cache
def walker_mesh(coat: str) -> Mesh:
    """Return a person around the origin, facing +x."""
    trousers, skin = color_rect("trousers"), color_rect("skin")
    return join(
        [
            box(-0.2, -0.3, 0.0, 0.2, 0.3, 0.8, trousers),
            box(-0.25, -0.38, 0.75, 0.25, 0.38, 1.45, color_rect(coat)),
            box(-0.17, -0.17, 1.45, 0.17, 0.17, 1.8, skin),
        ]
    )


@cache
def signal_mesh(along_x: str, along_y: str) -> Mesh:
    """Return the traffic light of a junction around the origin: a mast, an arm and one lamp to each side.

    Args:
        along_x: green, yellow or red: what traffic moving along x sees.
        along_y: What traffic moving along y sees.
    """
    pole, housing = color_rect("pole"), color_rect("housing")
    mast = box(6.9, 6.9, 0.1, 7.3, 7.3, 7.2, pole)
    arm = box(0.0, -0.2, 6.8, 10.0, 0.2, 7.2, pole).moved(0, 0, np.pi / 4)
    head = box(-1.2, -1.2, 4.2, 1.2, 1.2, 6.8, housing)
    below = quads(np.array([[(-1.2, 1.2, 4.2), (1.2, 1.2, 4.2), (1.2, -1.2, 4.2), (-1.2, -1.2, 4.2)]]), housing)
    plate = quads(
        np.array([[(1.25, -0.95, 4.55), (1.25, 0.95, 4.55), (1.25, 0.95, 6.45), (1.25, -0.95, 6.45)]]), housing
    )
    lamps = []
    for turn, color in ((0, along_x), (1, along_y), (2, along_x), (3, along_y)):
        u, v = color_rect(f"{color}_light")[:2]
        lamp = plate.moved(0, 0, turn * np.pi / 2)
        lamps.append(Mesh(lamp.vertices, lamp.normals, np.tile((u, v), (len(lamp.vertices), 1))))
    return join([mast, arm, head, below, *lamps])


@cache
def ground_mesh() -> Mesh:
    """Return the asphalt under everything."""
    reach = 1200.0
    return polygon([(-reach, -reach), (reach, -reach), (reach, reach), (-reach, reach)], 0.0, color_rect("asphalt"))


def tree(rng: np.random.Generator, size: float) -> Mesh:
    """Return a tree ``size`` metres tall; ``rng`` decides its colour and turn."""
    leaf = color_rect("leaf" if rng.random() < 0.6 else "leaf2")
    trunk = box(-0.2, -0.2, 0.1, 0.2, 0.2, size * 0.5, color_rect("trunk"))
    crown = blob(size * 0.36, size * 0.75, leaf).moved(0, 0, z=size * 0.68)
    return join([trunk, crown]).moved(0, 0, rng.uniform(0, 6))


@cache
def street_lamp() -> Mesh:
    """Return a lamp whose arm reaches over the street along -y."""
    pole = box(-0.12, -0.12, 0.1, 0.12, 0.12, 5.0, color_rect("pole"))
    head = box(-0.45, -1.6, 4.9, 0.45, 0.2, 5.25, color_rect("lamp"))
    below = [[(-0.45, 0.2, 4.9), (0.45, 0.2, 4.9), (0.45, -1.6, 4.9), (-0.45, -1.6, 4.9)]]
    return join([pole, head, quads(np.array(below), color_rect("lamp"))])
