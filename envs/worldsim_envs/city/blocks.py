"""What stands and lies in one block or on one street: kerbs, marks, buildings, parks, parked cars, lamps and trees.

Everything is laid out on the straight grid and carried into the world by the city's warp: surfaces point by point,
solid things as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from worldsim_envs.city.houses import house_box, house_mesh, middle_of
from worldsim_envs.city.paint import (
    CAR_COLORS,
    CAR_SIZE,
    FACADES,
    color_rect,
    facade_rect,
    parked_mesh,
    street_lamp,
    tree,
)
from worldsim_envs.city.warp import Warp
from worldsim_envs.geojson import Footprint
from worldsim_envs.mesh import Mesh, join, prism, quads
from worldsim_envs.scene import Box

__all__ = ["Block", "Plan", "fill_block", "fill_houses", "fill_outskirts", "mark_street"]

Area = tuple[float, float, float, float]
"""x0, y0, x1, y1 in metres of the grid."""

HALF_ROAD = 5.5  # m, centre line to kerb
LANE = 1.75  # m, centre line to the middle of a lane
PARKING = 4.5  # m, centre line to the middle of a parked car
BOX = 7.5  # m, centre of a junction to where its turns begin
ZEBRA = (7.8, 10.8)  # m, centre of a junction to the near and far edge of its crossings
STOP_LINE = 11.5  # m, centre of a junction to where one waits
PAVEMENT = 0.17  # m, its height above the road
_PIECE = 16.0  # m, the longest straight piece of a curved kerb or line


@dataclass(frozen=True)
class Block:
    """What is drawn and touched in one block or on the streets of one junction."""

    mesh: Mesh
    boxes: tuple[Box, ...]
    labels: tuple[str, ...] = ()
    """What each box is: building or parked car."""

    @cached_property
    def _plan(self) -> np.ndarray:
        """Centre, half extents and turn of every box seen from above, (6, N)."""
        rows = [(*b.centre[:2], *b.half[:2], math.cos(b.yaw), math.sin(b.yaw)) for b in self.boxes]
        return np.array(rows, dtype=float).reshape(-1, 6).T

    def distances(self, x: float, y: float) -> np.ndarray:
        """Return metres from a point to every box, seen from above, (N,)."""
        cx, cy, along, across, c, s = self._plan
        dx, dy = x - cx, y - cy
        forward, left = np.abs(c * dx + s * dy) - along, np.abs(c * dy - s * dx) - across
        return np.hypot(np.maximum(forward, 0.0), np.maximum(left, 0.0))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all blocks of a city have in common."""

    warp: Warp
    side: int
    """1 = traffic keeps right, -1 = traffic keeps left."""
    traffic: str
    """Decides how many cars are parked."""
    building_height: float
    """Factor on the height of all buildings."""


class _Heap:
    """Meshes and boxes on their way into a block."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.warp = plan, plan.warp
        self._meshes: list[Mesh] = []
        self._boxes: list[Box] = []
        self._labels: list[str] = []

    def surface(self, corners: Sequence[Sequence[tuple[float, float, float]]] | np.ndarray, color: str) -> None:
        """Add rectangles (N, 4, 3) of the grid in one colour."""
        self._meshes.append(quads(self.warp.points(np.asarray(corners, dtype=float)), color_rect(color)))

    def fan(self, ring: np.ndarray, z: float, color: str) -> None:
        """Add the flat inside of a ring (N, 2) of the grid that is seen whole from its middle."""
        points = self.warp.points(np.concatenate([ring, ring.mean(axis=0)[None]]))
        points = np.concatenate([points, np.full((len(points), 1), z)], axis=1)
        edge, centre = points[:-1], points[-1]
        faces = np.stack([np.broadcast_to(centre, edge.shape), edge, np.roll(edge, -1, axis=0)], axis=1).reshape(-1, 3)
        up, uv = np.tile((0.0, 0.0, 1.0), (len(faces), 1)), np.tile(color_rect(color)[:2], (len(faces), 1))
        self._meshes.append(Mesh(faces, up, uv))

    def put(self, mesh: Mesh, x: float, y: float, yaw: float = 0.0, z: float = 0.0) -> None:
        """Add a thing whose own origin comes to lie at a grid position; ``yaw`` is the world's."""
        self._meshes.append(mesh.moved(*self.warp.point(x, y), yaw, z))

    def solid(self, x: float, y: float, yaw: float, half: tuple[float, float, float], label: str) -> None:
        """Add what is touched: a box on the ground around a grid position; ``yaw`` is the world's."""
        self._boxes.append(Box((*self.warp.point(x, y), half[2]), half, yaw))
        self._labels.append(label)

    def block(self) -> Block:
        return Block(join(self._meshes), tuple(self._boxes), tuple(self._labels))


def _cut(start: float, end: float, bend: float) -> np.ndarray:
    """Return where a line from start to end is cut so that its pieces follow a curved street."""
    return np.linspace(start, end, 2 if bend == 0 else max(1, round((end - start) / _PIECE)) + 1)


def _strip(x0: float, y0: float, x1: float, y1: float, z: float, bend: float) -> list[list[tuple[float, float, float]]]:
    """Return a rectangle cut across its longer side."""
    if x1 - x0 >= y1 - y0:
        s = _cut(x0, x1, bend).tolist()
        return [[(a, y0, z), (b, y0, z), (b, y1, z), (a, y1, z)] for a, b in pairwise(s)]
    s = _cut(y0, y1, bend).tolist()
    return [[(x0, a, z), (x1, a, z), (x1, b, z), (x0, b, z)] for a, b in pairwise(s)]


def mark_street(
    plan: Plan, kind: int, rng: np.random.Generator, x: float, y: float, end: float, lit: tuple[bool, bool]
) -> Block:
    """Return the marks of the street that leads from a junction at (x, y) along y (kind 1) or along x (kind 2).

    Args:
        plan: The city.
        kind: 1 or 2.
        rng: Decides the patches.
        x, y: The junction, grid metres.
        end: Distance to the next junction, metres; 0 if there is none.
        lit: Whether there are traffic lights, and so a stop line, at this junction and at the next one.
    """
    bend = plan.warp.bend
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
        for start in (ZEBRA[0], end - ZEBRA[1]):
            for bar in np.arange(-4.7, 4.8, 1.9):
                parts.append((start, bar - 0.5, start + 3.0, bar + 0.5, 0.03, "mark"))
        mine = plan.side if kind == 1 else -plan.side  # the side across on which one leaves this junction
        for is_lit, start, across in ((lit[0], STOP_LINE, -mine), (lit[1], end - STOP_LINE - 0.6, mine)):
            low = 0.0 if across > 0 else -HALF_ROAD + 1.85
            if is_lit:
                parts.append((start, low, start + 0.6, low + HALF_ROAD - 1.85, 0.03, "mark"))
    else:
        parts.append((-1.0, -0.5, 0.0, 0.5, 0.015, "patch"))
    heap = _Heap(plan)
    for color in ("mark", "patch"):
        rows = []
        for s0, c0, s1, c1, z, name in parts:
            if name == color:
                at = (x + c0, y + s0, x + c1, y + s1) if kind == 1 else (x + s0, y + c0, x + s1, y + c1)
                rows += _strip(*at, z, bend)
        if rows:
            heap.surface(rows, color)
    return heap.block()


def _pave(heap: _Heap, area: Area, cut: float) -> None:
    """Add kerb and pavement of a block with corners cut off by ``cut`` metres."""
    x0, y0, x1, y1 = area
    bend = heap.warp.bend
    corners = [
        (x0 + cut, y0), (x1 - cut, y0), (x1, y0 + cut), (x1, y1 - cut),
        (x1 - cut, y1), (x0 + cut, y1), (x0, y1 - cut), (x0, y0 + cut),
    ]  # fmt: skip
    corners = [p for k, p in enumerate(corners) if p != corners[k - 1]]
    rows = []
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        part = _cut(0.0, float(np.hypot(bx - ax, by - ay)), bend)[:-1, None]
        rows.append((ax, ay) + part / np.hypot(bx - ax, by - ay) * (bx - ax, by - ay))
    ring = np.concatenate(rows)  # (N, 2)
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    inside = ring + 0.5 * np.sign(middle - ring) * (np.abs(ring - middle) > np.abs(np.array((x1, y1)) - middle) - 2.1)
    for outer, inner, low, high in ((ring, ring, 0.0, 0.16), (ring, inside, 0.16, 0.16)):
        a = np.concatenate([outer, np.full((len(ring), 1), low)], axis=1)
        b = np.concatenate([inner, np.full((len(ring), 1), high)], axis=1)
        heap.surface(np.stack([a, np.roll(a, -1, axis=0), np.roll(b, -1, axis=0), b], axis=1), "kerb")
    heap.fan(inside, PAVEMENT, "pavement")


def fill_outskirts(plan: Plan, area: Area, rng: np.random.Generator) -> Block:
    """Return a block around the map: buildings without parked cars."""
    heap = _Heap(plan)
    _pave(heap, area, 0.0)
    _fill_lots(heap, rng, area)
    return heap.block()


def fill_block(plan: Plan, area: Area, rng: np.random.Generator) -> Block:
    """Return a block between four streets: a park or buildings, with parked cars, lamps and trees along its kerbs."""
    heap = _Heap(plan)
    _pave(heap, area, 2.0)
    if rng.random() < 0.22:
        _fill_park(heap, rng, area)
    else:
        _fill_lots(heap, rng, area)
    _line_kerbs(heap, rng, area)
    return heap.block()


def fill_houses(plan: Plan, area: Area, rng: np.random.Generator, footprints: Sequence[Footprint]) -> Block:
    """Return a block between four streets with houses on given footprints, in metres of the grid."""
    heap = _Heap(plan)
    _pave(heap, area, 2.0)
    for footprint in footprints:
        draws = rng.random(2).tolist()
        x, y = middle_of(footprint).tolist()
        f, g = heap.warp.slopes(x, y)
        yaw, floors = (g - f) / 2, 2 if footprint.height < 10 else 4 if footprint.height < 19 else 6
        color = int(draws[0] * len(FACADES))
        roof = color_rect("roof" if draws[1] < 0.6 else "roof2")
        mesh = house_mesh(footprint, facade_rect(color, floors, 2), facade_rect(color, floors, 4), roof)
        heap.put(mesh, x, y, yaw, z=0.1)
        touched = house_box(footprint)
        heap.solid(x + touched.centre[0], y + touched.centre[1], yaw + touched.yaw, touched.half, "building")
    _line_kerbs(heap, rng, area)
    return heap.block()


def _fill_park(heap: _Heap, rng: np.random.Generator, area: Area) -> None:
    x0, y0, x1, y1 = area[0] + 3.5, area[1] + 3.5, area[2] - 3.5, area[3] - 3.5
    bend = heap.warp.bend
    heap.surface(_strip(x0, y0, x1, y1, 0.23, bend), "grass")
    cx, cy = rng.uniform(x0 + 10, x1 - 10), rng.uniform(y0 + 10, y1 - 10)
    rows = [*_strip(cx - 1.2, y0, cx + 1.2, y1, 0.26, bend), *_strip(x0, cy - 1.2, x1, cy + 1.2, 0.27, bend)]
    heap.surface(rows, "path")
    for _ in range(rng.integers(9, 14)):
        x, y = rng.uniform(x0 + 2, x1 - 2), rng.uniform(y0 + 2, y1 - 2)
        heap.put(tree(rng, rng.uniform(5, 10)), x, y)


def _fill_lots(heap: _Heap, rng: np.random.Generator, area: Area) -> None:
    x0, y0, x1, y1 = area[0] + 3.6, area[1] + 3.6, area[2] - 3.6, area[3] - 3.6
    columns, rows = max(2, round((x1 - x0) / 18)), max(2, round((y1 - y0) / 18))
    xs, ys = np.linspace(x0, x1, columns + 1).tolist(), np.linspace(y0, y1, rows + 1).tolist()
    for i in range(columns):
        for j in range(rows):
            draws = rng.random(8).tolist()
            if 0 < i < columns - 1 and 0 < j < rows - 1:
                continue
            wide, deep = xs[i + 1] - xs[i], ys[j + 1] - ys[j]
            x, y = xs[i] + wide / 2, ys[j] + deep / 2
            if draws[0] < 0.08:
                heap.surface(_strip(xs[i] + 1, ys[j] + 1, xs[i + 1] - 1, ys[j + 1] - 1, 0.23, 0.0), "grass")
                heap.put(tree(rng, 8.0), x, y)
                continue
            gap = 0.3 + 1.6 * draws[1]
            height = float(np.clip((6 + 24 * draws[2] ** 1.6) * heap.plan.building_height, 5, 40))
            footprint = ("rect", "rect", "l", "u")[int(draws[4] * 4)]
            if draws[7] < 0.1:
                footprint, height = "round", min(height * 1.3, 40.0)
            # a street's two sides bend differently: a house turns with the one it faces and leaves the corner free
            f, g = heap.warp.slopes(x, y)
            faces_x, faces_y = i in (0, columns - 1), j in (0, rows - 1)
            yaw = (g - f) / 2 if faces_x and faces_y else -f if faces_x else g
            room = 1 - abs(f + g) / (2 if faces_x and faces_y else 4)
            size = ((wide - gap) * room, (deep - gap) * room, height)
            floors = 2 if height < 10 else 4 if height < 19 else 6
            color = int(draws[3] * len(FACADES))
            house = prism(
                footprint,
                size,
                facade_rect(color, floors, 2),
                facade_rect(color, floors, 4),
                color_rect("roof" if draws[5] < 0.6 else "roof2"),
                turns=int(draws[6] * 4),
            )
            heap.put(house.moved(-size[0] / 2, -size[1] / 2), x, y, yaw, z=0.1)
            heap.solid(x, y, yaw, (size[0] / 2, size[1] / 2, height / 2), "building")


def _line_kerbs(heap: _Heap, rng: np.random.Generator, area: Area) -> None:
    """Add parked cars, street lamps and street trees along the four sides of a block."""
    x0, y0, x1, y1 = area
    paints = list(CAR_COLORS)
    strip = HALF_ROAD - PARKING
    share = {"light": 0.22, "heavy": 0.62}[heap.plan.traffic]
    half = (CAR_SIZE[0] / 2, CAR_SIZE[1] / 2, CAR_SIZE[2] / 2)
    for k in range(4):
        length = (x1 - x0) if k % 2 == 0 else (y1 - y0)
        yaw = k * np.pi / 2  # along the side, the block on the left
        origin = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))[k]
        c, s = np.cos(yaw), np.sin(yaw)
        for along in np.arange(11.0, length - 11.0, 6.5):
            draws = rng.random(4)
            if draws[0] > share:
                continue
            along = along + draws[1] - 0.5
            x, y = float(origin[0] + c * along + s * strip), float(origin[1] + s * along - c * strip)
            turn = heap.warp.heading(x, y, yaw) + (0.0 if heap.plan.side > 0 else np.pi)
            heap.put(parked_mesh(paints[int(draws[2] * len(paints))]), x, y, turn)
            heap.solid(x, y, turn, half, "parked car")
        for n, along in enumerate(np.arange(9.0, length - 6.0, 12.0)):
            x, y = float(origin[0] + c * along - s * 1.0), float(origin[1] + s * along + c * 1.0)
            draws = rng.random(2)
            if n % 2 == 0:
                heap.put(street_lamp(), x, y, heap.warp.heading(x, y, yaw))
            elif draws[0] < 0.45:
                heap.put(tree(rng, 4.5 + 2 * draws[1]), x, y)
