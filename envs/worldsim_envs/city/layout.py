"""The map of a city from a seed: streets, what stands in each block, and the routes that lead through it.

Streets form a jittered grid. A street is 11 m wide: two lanes of 3.5 m, a parking strip of 2 m on either side. Blocks
hold buildings or a park; each is generated from its own seed when something comes near.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from worldsim_envs.mesh import Mesh, Rect, blob, box, join, polygon, prism, quads
from worldsim_envs.scene import Box

__all__ = ["CAR_COLORS", "HALF_ROAD", "LANE", "PALETTE", "Block", "Layout", "Route", "atlas", "car_mesh", "ground_mesh"]

HALF_ROAD = 5.5  # m, centre line to kerb
LANE = 1.75  # m, centre line to the middle of a lane
PARKING = 4.5  # m, centre line to the middle of a parked car
BOX = 7.5  # m, centre of a junction to where its turns begin
NUM_LINES = 8  # streets in each direction
_ROUTE = 1100.0  # m, more than a car of the traffic drives in 1,000 steps
OUTSKIRTS = 70.0  # m, depth of the blocks around the map
CAR_SIZE = (4.2, 1.8, 1.45)  # m, length, width, height

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

_FACADES = [
    (186, 104, 82), (214, 186, 142), (158, 150, 138), (204, 160, 102), (140, 92, 72),
    (222, 208, 182), (176, 172, 160), (128, 128, 104), (200, 132, 112), (112, 104, 100),
]  # fmt: skip
_FLOORS, _COLUMNS = (2, 4, 6), (2, 4)
_CELL, _GRID = 24, 10  # px per tile of the atlas, tiles per side
_ATLAS = _CELL * _GRID


def _rect(tile: int) -> Rect:
    """Return where a tile lies, half a texel inside its border."""
    row, column = divmod(tile, _GRID)
    edge = 0.5 / _ATLAS
    u0, v1 = column / _GRID, 1 - row / _GRID
    return (u0 + edge, v1 - 1 / _GRID + edge, u0 + 1 / _GRID - edge, v1 - edge)


_FLAT = {name: len(_FACADES) * 6 + i for i, name in enumerate([*PALETTE, *CAR_COLORS])}


def color_rect(name: str) -> Rect:
    """Return where the atlas shows a colour of PALETTE or CAR_COLORS."""
    u0, v0, u1, v1 = _rect(_FLAT[name])
    u, v = (u0 + u1) / 2, (v0 + v1) / 2
    return (u, v, u, v)


def _facade_rect(color: int, floors: int, columns: int) -> Rect:
    return _rect(color * 6 + _FLOORS.index(floors) * 2 + _COLUMNS.index(columns))


@cache
def atlas() -> np.ndarray:
    """Return the texture of the city, (240, 240, 3) uint8: facades with windows, then flat colours."""
    image = np.zeros((_ATLAS, _ATLAS, 3), dtype=np.uint8)
    rng = np.random.default_rng(7)
    for color, paint in enumerate(_FACADES):
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
    for name, tile_index in _FLAT.items():
        row, col = divmod(tile_index, _GRID)
        image[row * _CELL : (row + 1) * _CELL, col * _CELL : (col + 1) * _CELL] = {**PALETTE, **CAR_COLORS}[name]
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
        ]
    )  # fmt: skip


@cache
def _parked_mesh(color: str) -> Mesh:
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
def ground_mesh() -> Mesh:
    """Return the asphalt under everything."""
    reach = 1200.0
    return polygon([(-reach, -reach), (reach, -reach), (reach, reach), (-reach, reach)], 0.0, color_rect("asphalt"))


def _flat(x0: float, y0: float, x1: float, y1: float, z: float, name: str) -> Mesh:
    return polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], z, color_rect(name))


@dataclass(frozen=True)
class Block:
    """What is drawn and touched in one block or on the streets of one junction."""

    area: tuple[float, float, float, float]
    """x0, y0, x1, y1 in metres."""
    mesh: Mesh
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Route:
    """A way through the city along lanes, one point per metre; at least 1,100 m long."""

    points: np.ndarray
    """(M, 4): x m, y m, heading rad (unwrapped), curvature 1/m."""


class Layout:
    """One city.

    Args:
        seed: Decides streets and blocks.
        side: 1 = traffic keeps right, -1 = traffic keeps left.
        heavy: Whether many cars are parked.
        building_height: Factor on the height of all buildings.
    """

    def __init__(self, seed: int, side: int, heavy: bool, building_height: float) -> None:
        self.seed, self.side, self.heavy, self.building_height = seed, side, heavy, building_height
        rng = np.random.default_rng((seed, 1))
        gaps = rng.uniform(50, 80, (2, NUM_LINES - 1)) + 2 * HALF_ROAD
        lines = np.concatenate([np.zeros((2, 1)), np.cumsum(gaps, axis=1)], axis=1)
        self.lines = lines - lines[:, -1:] / 2
        """(2, NUM_LINES): x of the streets along y, y of the streets along x."""
        self._xs, self._ys = self.lines[0].tolist(), self.lines[1].tolist()
        self._areas = self._map_areas()
        self._keys = list(self._areas)
        self._bounds = np.array(list(self._areas.values())).T  # (4, K)
        self._corners = self._bounds[[[0, 2, 2, 0], [1, 1, 3, 3]]].transpose(0, 2, 1)  # (2, K, 4)

    def off_road(self, x: float, y: float) -> float:
        """Return how many metres a point lies outside the carriageway (0 on it)."""
        best = np.inf
        for lines, across, along, ends in ((self._xs, x, y, self._ys), (self._ys, y, x, self._xs)):
            beyond = max(ends[0] - HALF_ROAD - along, along - ends[-1] - HALF_ROAD, 0.0)
            aside = max(min(abs(across - line) for line in lines) - HALF_ROAD, 0.0)
            best = min(best, (beyond * beyond + aside * aside) ** 0.5)
        return best

    def keys_near(self, x: float, y: float, yaw: float, reach: float) -> list[tuple[int, int, int]]:
        """Return the keys of the blocks and streets that a camera may see, or that are within reach of a bumper."""
        x0, y0, x1, y1 = self._bounds
        aside, above = np.maximum(np.maximum(x0 - x, x - x1), 0.0), np.maximum(np.maximum(y0 - y, y - y1), 0.0)
        distance = aside * aside + above * above
        near = np.flatnonzero(distance <= reach * reach)
        corners = self._corners[:, near] - np.array([x, y])[:, None, None]  # (2, K, 4)
        c, s = np.cos(yaw), np.sin(yaw)
        forward = c * corners[0] + s * corners[1]
        left = c * corners[1] - s * corners[0]
        margin = 3.0  # m, for what leans out of its block
        seen = (forward.max(1) > 0) & ((left - forward).min(1) <= margin) & ((-left - forward).min(1) <= margin)
        return [self._keys[k] for k in near[seen | (distance[near] < 100.0)].tolist()]

    def _map_areas(self) -> dict[tuple[int, int, int], tuple[float, float, float, float]]:
        """Return x0, y0, x1, y1 of every block (kind 0) and street (kinds 1 and 2)."""
        xs, ys = self._xs, self._ys
        areas = {}
        for a in range(-1, NUM_LINES):
            for b in range(-1, NUM_LINES):
                x0, x1 = _span(xs, a, not 0 <= b < NUM_LINES - 1)
                y0, y1 = _span(ys, b, not 0 <= a < NUM_LINES - 1)
                areas[0, a, b] = (x0, y0, x1, y1)
        for i in range(NUM_LINES):
            for j in range(NUM_LINES):
                east = xs[i + 1] - BOX if i + 1 < NUM_LINES else xs[i] + BOX
                north = ys[j + 1] - BOX if j + 1 < NUM_LINES else ys[j] + BOX
                areas[1, i, j] = (xs[i] - HALF_ROAD, ys[j] - HALF_ROAD, xs[i] + HALF_ROAD, north)
                areas[2, i, j] = (xs[i] - HALF_ROAD, ys[j] - HALF_ROAD, east, ys[j] + HALF_ROAD)
        return areas

    def block(self, key: tuple[int, int, int]) -> Block:
        """Return the contents of a block (kind 0) or the marks of a street (kind 1 along y, kind 2 along x)."""
        area = self._areas[key]
        kind, a, b = key
        rng = np.random.default_rng((self.seed, kind, a + 1, b + 1))
        if kind == 0:
            return _fill_block(area, rng, self, a, b)
        return Block(area, _street(area, kind, rng, self._xs[a], self._ys[b]), ())

    def route(self, i: int, j: int, direction: int, skip: float, salt: int) -> Route:
        """Return a route that leaves junction (i, j) in a direction (0 east, 1 north, 2 west, 3 south).

        Args:
            i, j: A junction.
            direction: Where the first street leads; there must be one.
            skip: Metres along the first street at which the route begins, from the junction's middle.
            salt: Decides the turns.
        """
        return _route(self, i, j, direction, round(float(skip), 3), salt)

    def has_street(self, i: int, j: int, direction: int) -> bool:
        """Return whether a street leaves junction (i, j) in a direction."""
        di, dj = _STEP[direction]
        return 0 <= i + di < NUM_LINES and 0 <= j + dj < NUM_LINES

    def street_length(self, i: int, j: int, direction: int) -> float:
        """Return metres from junction (i, j) to the next one in a direction."""
        di, dj = _STEP[direction]
        return abs(self._xs[i + di] - self._xs[i]) + abs(self._ys[j + dj] - self._ys[j])

    def street_point(self, i: int, j: int, direction: int, skip: float) -> tuple[float, float, float, float]:
        """Return x m, y m, heading rad and curvature 1/m ``skip`` metres along the lane that leaves a junction."""
        di, dj = _STEP[direction]
        right = self.side * LANE
        return self._xs[i] + di * skip + dj * right, self._ys[j] + dj * skip - di * right, direction * np.pi / 2, 0.0

    def nearest_street(self, x: float, y: float, yaw: float) -> tuple[int, int, int, float]:
        """Return (i, j, direction, metres since that junction) of the street that best fits a pose."""
        direction = round(yaw / (np.pi / 2)) % 4
        axis = direction % 2  # 0: moves along x
        along, across = (x, y) if axis == 0 else (y, x)
        lines, ends = (self.lines[1], self.lines[0]) if axis == 0 else (self.lines[0], self.lines[1])
        line = int(np.argmin(np.abs(lines - across)))
        forward = direction < 2
        if forward:
            start = int(np.clip(np.searchsorted(ends, along) - 1, 0, NUM_LINES - 2))
            skip = along - ends[start]
        else:
            start = int(np.clip(np.searchsorted(ends, along), 1, NUM_LINES - 1))
            skip = ends[start] - along
        i, j = (start, line) if axis == 0 else (line, start)
        return i, j, direction, float(max(skip, 0.0))


_STEP = ((1, 0), (0, 1), (-1, 0), (0, -1))


def _span(lines: list[float], index: int, corner: bool) -> tuple[float, float]:
    """Return the extent of a row of blocks; the blocks around the map meet each other without a gap."""
    if index < 0:
        return lines[0] - HALF_ROAD - OUTSKIRTS, lines[0] - HALF_ROAD
    if index >= NUM_LINES - 1:
        return lines[-1] + HALF_ROAD, lines[-1] + HALF_ROAD + OUTSKIRTS
    if corner:
        low = lines[index] - (HALF_ROAD if index == 0 else 0)
        return low, lines[index + 1] + (HALF_ROAD if index == NUM_LINES - 2 else 0)
    return lines[index] + HALF_ROAD, lines[index + 1] - HALF_ROAD


@lru_cache(maxsize=128)
def _route(layout: Layout, i: int, j: int, direction: int, skip: float, salt: int) -> Route:
    rng = np.random.default_rng((layout.seed, 5, salt))
    xs, ys = layout.lines
    pieces, total, first = [], 0.0, True
    while total < _ROUTE:
        di, dj = _STEP[direction]
        x0, y0, x1, y1 = xs[i], ys[j], xs[i + di], ys[j + dj]
        length = abs(x1 - x0) + abs(y1 - y0)
        start = skip if first else BOX
        heading = direction * np.pi / 2
        right = (np.sin(heading) * layout.side * LANE, -np.cos(heading) * layout.side * LANE)
        straight = max(length - BOX - start, 0.0)
        pieces.append((x0 + di * start + right[0], y0 + dj * start + right[1], heading, 0.0, straight))
        i, j = i + di, j + dj
        options = [t for t in (0, 1, -1) if layout.has_street(i, j, (direction + t) % 4)]
        weights = np.array([0.36 if t == 0 else 0.32 for t in options])
        turn = options[int(np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random()))]
        radius = BOX + turn * layout.side * LANE
        begin = start + straight if not first or straight > 0 else length - BOX
        x, y = x0 + di * begin + right[0], y0 + dj * begin + right[1]
        size = radius * np.pi / 2 if turn else 2 * BOX
        pieces.append((x, y, heading, turn / radius if turn else 0.0, size))
        direction = (direction + turn) % 4
        total, first = total + straight + size, False
    return Route(_sample(pieces))


def _sample(pieces: list[tuple[float, float, float, float, float]]) -> np.ndarray:
    """Return points one metre apart along pieces of (x, y, heading, curvature, length)."""
    rows, lead = [], 0.0
    for x, y, heading, curvature, length in pieces:
        s = np.arange(lead, length, 1.0)
        lead = (lead - length) % 1.0 if len(s) == 0 else s[-1] + 1.0 - length
        if curvature == 0:
            px, py, ph = x + np.cos(heading) * s, y + np.sin(heading) * s, np.full_like(s, heading)
        else:
            ph = heading + curvature * s
            px = x + (np.sin(ph) - np.sin(heading)) / curvature
            py = y - (np.cos(ph) - np.cos(heading)) / curvature
        rows.append(np.stack([px, py, ph, np.full_like(s, curvature)], axis=1))
    points = np.concatenate(rows)
    points[:, 2] = np.unwrap(points[:, 2])
    return points


def _street(area: tuple[float, float, float, float], kind: int, rng: np.random.Generator, x: float, y: float) -> Mesh:
    """Return the marks of the street that leads from a junction along y (kind 1) or along x (kind 2)."""
    end = (area[3] - y) if kind == 1 else (area[2] - x)
    parts: list[tuple[float, float, float, float, float, str]] = []  # along0, across0, along1, across1, z, colour
    if end > 2 * BOX:
        for s in np.arange(BOX + 6.5, end - 6.5, 6.0):
            parts.append((s, -0.2, s + 3.0, 0.2, 0.03, "mark"))
        for across in (-3.65, 3.35):
            parts.append((BOX + 4.0, across, end - 4.0, across + 0.3, 0.03, "mark"))
        for lane in (-1, 1):
            s = BOX + rng.uniform(3, 12)
            while s < end - 8:
                wide, long = rng.uniform(0.5, 1.2), rng.uniform(1.5, 4.0)
                middle = lane * LANE + rng.uniform(-0.5, 0.5)
                parts.append((s, middle - wide, s + long, middle + wide, 0.015, "patch"))
                s += rng.uniform(8, 20)
        for start in (BOX + 0.3, end - 3.3):
            for bar in np.arange(-4.7, 4.8, 1.9):
                parts.append((start, bar - 0.5, start + 3.0, bar + 0.5, 0.03, "mark"))
    else:
        parts.append((-1.0, -0.5, 0.0, 0.5, 0.015, "patch"))
    meshes = []
    for s0, c0, s1, c1, z, name in parts:
        if kind == 1:
            meshes.append(_flat(x + c0, y + s0, x + c1, y + s1, z, name))
        else:
            meshes.append(_flat(x + s0, y + c0, x + s1, y + c1, z, name))
    return join(meshes)


def _fill_block(
    area: tuple[float, float, float, float], rng: np.random.Generator, layout: Layout, a: int, b: int
) -> Block:
    x0, y0, x1, y1 = area
    meshes, boxes = [], []
    inner = 0 <= a < NUM_LINES - 1 and 0 <= b < NUM_LINES - 1
    cut = 2.0 if inner else 0.0
    outline = [
        (x0 + cut, y0), (x1 - cut, y0), (x1, y0 + cut), (x1, y1 - cut),
        (x1 - cut, y1), (x0 + cut, y1), (x0, y1 - cut), (x0, y0 + cut),
    ]  # fmt: skip
    ring = [p for k, p in enumerate(outline) if p != outline[k - 1]]
    kerb, pavement = color_rect("kerb"), color_rect("pavement")
    walls = np.array(
        [[(*p, 0), (*q, 0), (*q, 0.16), (*p, 0.16)] for p, q in zip(ring, ring[1:] + ring[:1], strict=True)]
    )
    meshes += [quads(walls, kerb), polygon(ring, 0.16, kerb)]
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    inside = [tuple(p - np.sign(p - middle) * 0.5) for p in np.array(ring)]
    meshes.append(polygon(inside, 0.19, pavement))
    park = inner and rng.random() < 0.22
    if park:
        _fill_park(meshes, rng, x0 + 3.5, y0 + 3.5, x1 - 3.5, y1 - 3.5)
    else:
        _fill_lots(meshes, boxes, rng, x0 + 3.6, y0 + 3.6, x1 - 3.6, y1 - 3.6, layout.building_height)
    if inner:
        _line_kerbs(meshes, boxes, rng, area, layout.heavy, layout.side)
    return Block(area, join(meshes), tuple(boxes))


def _tree(rng: np.random.Generator, x: float, y: float, size: float) -> Mesh:
    leaf = color_rect("leaf" if rng.random() < 0.6 else "leaf2")
    trunk = box(-0.2, -0.2, 0.1, 0.2, 0.2, size * 0.5, color_rect("trunk"))
    crown = blob(size * 0.36, size * 0.75, leaf).moved(0, 0, z=size * 0.68)
    return join([trunk, crown]).moved(x, y, rng.uniform(0, 6))


def _fill_park(meshes: list[Mesh], rng: np.random.Generator, x0: float, y0: float, x1: float, y1: float) -> None:
    meshes.append(_flat(x0, y0, x1, y1, 0.23, "grass"))
    cx, cy = rng.uniform(x0 + 10, x1 - 10), rng.uniform(y0 + 10, y1 - 10)
    meshes += [_flat(cx - 1.2, y0, cx + 1.2, y1, 0.26, "path"), _flat(x0, cy - 1.2, x1, cy + 1.2, 0.27, "path")]
    for _ in range(rng.integers(9, 14)):
        x, y = rng.uniform(x0 + 2, x1 - 2), rng.uniform(y0 + 2, y1 - 2)
        meshes.append(_tree(rng, x, y, rng.uniform(5, 10)))


def _fill_lots(
    meshes: list[Mesh],
    boxes: list[Box],
    rng: np.random.Generator,
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    tall: float,
) -> None:
    columns, rows = max(2, round((x1 - x0) / 18)), max(2, round((y1 - y0) / 18))
    xs, ys = np.linspace(x0, x1, columns + 1), np.linspace(y0, y1, rows + 1)
    for i in range(columns):
        for j in range(rows):
            draws = rng.random(8)
            if 0 < i < columns - 1 and 0 < j < rows - 1:
                continue
            wide, deep = xs[i + 1] - xs[i], ys[j + 1] - ys[j]
            if draws[0] < 0.08:
                meshes.append(_flat(xs[i] + 1, ys[j] + 1, xs[i + 1] - 1, ys[j + 1] - 1, 0.23, "grass"))
                meshes.append(_tree(rng, xs[i] + wide / 2, ys[j] + deep / 2, 8.0))
                continue
            gap = 0.3 + 1.6 * draws[1]
            height = float(np.clip((6 + 24 * draws[2] ** 1.6) * tall, 5, 40))
            floors = 2 if height < 10 else 4 if height < 19 else 6
            color = int(draws[3] * len(_FACADES))
            footprint = ("rect", "rect", "l", "u")[int(draws[4] * 4)]
            size = (float(wide - gap), float(deep - gap), height)
            house = prism(
                footprint,
                size,
                _facade_rect(color, floors, 2),
                _facade_rect(color, floors, 4),
                color_rect("roof" if draws[5] < 0.6 else "roof2"),
                turns=int(draws[6] * 4),
            )
            x, y = float(xs[i] + gap / 2), float(ys[j] + gap / 2)
            meshes.append(house.moved(x, y, z=0.1))
            boxes.append(Box((x + size[0] / 2, y + size[1] / 2, height / 2), (size[0] / 2, size[1] / 2, height / 2)))


def _line_kerbs(
    meshes: list[Mesh],
    boxes: list[Box],
    rng: np.random.Generator,
    area: tuple[float, float, float, float],
    heavy: bool,
    side: int,
) -> None:
    """Add parked cars, street lamps and street trees along the four sides of a block."""
    x0, y0, x1, y1 = area
    paints = list(CAR_COLORS)
    strip = HALF_ROAD - PARKING
    for k in range(4):
        length = (x1 - x0) if k % 2 == 0 else (y1 - y0)
        yaw = k * np.pi / 2  # along the side, the block on the left
        origin = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))[k]
        c, s = np.cos(yaw), np.sin(yaw)
        for along in np.arange(11.0, length - 11.0, 6.5):
            draws = rng.random(4)
            if draws[0] > (0.62 if heavy else 0.22):
                continue
            along = along + draws[1] - 0.5
            x, y = origin[0] + c * along + s * strip, origin[1] + s * along - c * strip
            meshes.append(
                _parked_mesh(paints[int(draws[2] * len(paints))]).moved(x, y, yaw if side > 0 else yaw + np.pi)
            )
            half = (CAR_SIZE[0] / 2, CAR_SIZE[1] / 2, CAR_SIZE[2] / 2)
            boxes.append(Box((x, y, half[2]), half if k % 2 == 0 else (half[1], half[0], half[2])))
        for n, along in enumerate(np.arange(9.0, length - 6.0, 12.0)):
            x, y = origin[0] + c * along - s * 1.0, origin[1] + s * along + c * 1.0
            draws = rng.random(2)
            if n % 2 == 0:
                meshes.append(_street_lamp().moved(x, y, yaw))
            elif draws[0] < 0.45:
                meshes.append(_tree(rng, x, y, 4.5 + 2 * draws[1]))


@cache
def _street_lamp() -> Mesh:
    """Return a lamp whose arm reaches over the street along -y."""
    pole = box(-0.12, -0.12, 0.1, 0.12, 0.12, 5.0, color_rect("pole"))
    head = box(-0.45, -1.6, 4.9, 0.45, 0.2, 5.25, color_rect("lamp"))
    below = [[(-0.45, 0.2, 4.9), (0.45, 0.2, 4.9), (0.45, -1.6, 4.9), (-0.45, -1.6, 4.9)]]
    return join([pole, head, quads(np.array(below), color_rect("lamp"))])
