"""The map of a city from a seed: streets, junctions and their lights, and the routes and walks that lead through it.

Streets form a jittered grid, which `Warp` bends. A street is 11 m wide: two lanes of 3.5 m, a parking strip of 2 m on
either side. All positions that come in or go out are the world's; grid positions stay inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from worldsim_envs.city.blocks import (
    BOX,
    HALF_ROAD,
    LANE,
    STOP_LINE,
    ZEBRA,
    Block,
    Plan,
    fill_block,
    fill_houses,
    fill_outskirts,
    mark_street,
)
from worldsim_envs.city.houses import settled
from worldsim_envs.city.lights import CYCLE
from worldsim_envs.city.warp import Warp
from worldsim_envs.geojson import Footprint

__all__ = ["HALF_ROAD", "LANE", "NUM_LINES", "Approach", "Key", "Layout", "Route", "Street"]

NUM_LINES = 8  # streets in each direction
OUTSKIRTS = 70.0  # m, depth of the blocks around the map
_ROUTE = 1100.0  # m, more than a car of the traffic drives in 1,000 steps
_WALK = 240.0  # m, more than a person walks in 1,000 steps
_LIT = 0.65  # share of junctions with traffic lights
_PATH = HALF_ROAD + 1.8  # m, centre line to where people walk
_CROSS = (ZEBRA[0] + ZEBRA[1]) / 2  # m, centre of a junction to the middle of its crossings

Key = tuple[int, int, int]
"""A block (0, column, row) or the street that leaves a junction along y (1, i, j) or along x (2, i, j)."""
Street = tuple[int, int, int, float, int]
"""Arguments of `Layout.route`."""


@dataclass(frozen=True)
class Route:
    """A way through the city, one point per metre."""

    points: np.ndarray
    """(M, 4): x m, y m, heading rad (unwrapped), curvature 1/m."""
    stops: np.ndarray
    """(K, 6), what is met in order. A route's junctions: metres to the stop line, metres to where the junction is left,
    i, j, axis (0 = x, 1 = y) of the way in, turn (1 = left). A walk's crossings: metres to the kerb, metres to the
    other kerb, i, j, axis of the traffic that is crossed, 0."""


@dataclass(frozen=True)
class Approach:
    """The junction that a car moves towards."""

    i: int
    j: int
    axis: int
    """0 = the car moves along x, 1 = along y."""
    distance: float
    """Metres from its nose to the stop line; negative behind it."""


class Layout:
    """One city.

    Args:
        seed: Decides streets, blocks and lights.
        side: 1 = traffic keeps right, -1 = traffic keeps left.
        traffic: Decides how many cars are parked.
        building_height: Factor on the height of all buildings.
        bend: 0 = straight streets, 1 = the most curved ones.
        footprints: Houses of a real place, in the blocks where they stand.
    """

    def __init__(
        self,
        seed: int,
        side: int,
        traffic: str,
        building_height: float,
        bend: float,
        footprints: Sequence[Footprint] = (),
    ) -> None:
        self.seed, self.side = seed, side
        self.warp = Warp(seed, bend)
        self._plan = Plan(warp=self.warp, side=side, traffic=traffic, building_height=building_height)
        rng = np.random.default_rng((seed, 1))
        gaps = rng.uniform(50, 80, (2, NUM_LINES - 1)) + 2 * HALF_ROAD
        lines = np.concatenate([np.zeros((2, 1)), np.cumsum(gaps, axis=1)], axis=1)
        self.lines = lines - lines[:, -1:] / 2
        """(2, NUM_LINES): grid x of the streets along y, grid y of the streets along x."""
        self._xs, self._ys = self.lines[0].tolist(), self.lines[1].tolist()
        lit = rng.random((NUM_LINES, NUM_LINES)) < _LIT
        self.offsets = np.where(lit, rng.integers(0, CYCLE, (NUM_LINES, NUM_LINES)), -1).tolist()
        """By i and j, the offset of a junction's lights in their cycle, steps; -1 without lights."""
        grid = np.stack(np.meshgrid(*self.lines, indexing="ij"), axis=-1).reshape(-1, 2)
        self._lit = np.flatnonzero(lit.ravel())
        self._lit_x, self._lit_y = self.warp.points(grid)[self._lit].T
        self._routes: dict[Street, Route] = {}
        self._walks: dict[Street, Route] = {}
        self._areas = self._map_areas()
        inside = {key: area for key, area in self._areas.items() if _is_inside(key)}
        self._houses, self.num_left_out = settled(footprints, inside)
        self._keys = list(self._areas)
        self._numbers = {key: number for number, key in enumerate(self._keys)}
        self._num_blocks = sum(key[0] == 0 for key in self._keys)
        x0, y0, x1, y1 = np.array(list(self._areas.values())).T
        xm, ym = (x0 + x1) / 2, (y0 + y1) / 2
        outline = np.array([[x0, xm, x1, x1, x1, xm, x0, x0], [y0, y0, y0, ym, y1, y1, y1, ym]])  # (2, 8, K)
        self._outline = np.moveaxis(self.warp.points(np.moveaxis(outline, 0, -1)), -1, 0).transpose(
            0, 2, 1
        )  # (2, K, 8)
        self._bounds = np.concatenate([self._outline.min(2), self._outline.max(2)])  # (4, K)
        self._margin = 3.0 + 2.0 * bend  # m, for what leans out of its block and for curved edges

    # ---- places

    def junction(self, i: int, j: int) -> tuple[float, float, float]:
        """Return x m, y m of a junction's middle and the mean turn of its streets, rad."""
        x, y = self._xs[i], self._ys[j]
        f, g = self.warp.slopes(x, y)
        return (*self.warp.point(x, y), (g - f) / 2)

    def off_road(self, x: float, y: float) -> float:
        """Return how many metres a point lies outside the carriageway (0 on it), measured along the grid."""
        x, y = self.warp.grid(x, y)
        best = math.inf
        for lines, across, along, ends in ((self._xs, x, y, self._ys), (self._ys, y, x, self._xs)):
            beyond = max(ends[0] - HALF_ROAD - along, along - ends[-1] - HALF_ROAD, 0.0)
            aside = max(min(abs(across - line) for line in lines) - HALF_ROAD, 0.0)
            best = min(best, (beyond * beyond + aside * aside) ** 0.5)
        return best

    def keys_at(self, x: float, y: float, reach: float) -> list[Key]:
        """Return the keys of the blocks and streets within ``reach`` metres."""
        x0, y0, x1, y1 = self._bounds
        aside, above = np.maximum(np.maximum(x0 - x, x - x1), 0.0), np.maximum(np.maximum(y0 - y, y - y1), 0.0)
        return [self._keys[k] for k in np.flatnonzero(aside * aside + above * above <= reach * reach).tolist()]

    def keys_near(self, x: float, y: float, yaw: float, reach: float, wide: float = 1.0) -> list[Key]:
        """Return the keys of the blocks and streets that a camera may see, or that are within reach of a bumper.

        Args:
            x, y, yaw: Where the camera is, m, and where it looks, rad.
            reach: How far it sees, metres.
            wide: Tangent of half its angle of view.
        """
        x0, y0, x1, y1 = self._bounds
        aside, above = np.maximum(np.maximum(x0 - x, x - x1), 0.0), np.maximum(np.maximum(y0 - y, y - y1), 0.0)
        distance = aside * aside + above * above
        near = np.flatnonzero(distance <= reach * reach)
        c, s = math.cos(yaw), math.sin(yaw)
        dx, dy = self._outline[0, near] - x, self._outline[1, near] - y  # (K, 8)
        forward, left = c * dx + s * dy, c * dy - s * dx
        margin = self._margin
        edge = wide * forward
        seen = (forward.max(1) > 0) & ((left - edge).min(1) <= margin) & ((-left - edge).min(1) <= margin)
        return [self._keys[k] for k in near[seen | (distance[near] < 100.0)].tolist()]

    def lights_near(self, x: float, y: float, yaw: float, reach: float, wide: float = 1.0) -> list[tuple[int, int]]:
        """Return the junctions with lights that a camera may see; arguments as of `keys_near`."""
        dx, dy = self._lit_x - x, self._lit_y - y
        c, s = math.cos(yaw), math.sin(yaw)
        forward, left = c * dx + s * dy, c * dy - s * dx
        seen = (dx * dx + dy * dy < reach * reach) & ((np.abs(left) - 9 < wide * forward) | (wide == math.inf))
        return [divmod(k, NUM_LINES) for k in self._lit[seen].tolist()]

    def number_of(self, key: Key) -> int:
        """Return the place of a block or street among all of the map."""
        return self._numbers[key]

    def blocks_at(self, x: float, y: float) -> list[Key]:
        """Return the blocks, not the streets, within 3 m of a point."""
        x0, y0, x1, y1 = self._bounds[:, : self._num_blocks]
        at = (x0 - 3 < x) & (x < x1 + 3) & (y0 - 3 < y) & (y < y1 + 3)
        return [self._keys[k] for k in np.flatnonzero(at).tolist()]

    def block(self, key: Key) -> Block:
        """Return the contents of a block or the marks of a street."""
        kind, a, b = key
        rng = np.random.default_rng((self.seed, kind, a + 1, b + 1))
        if kind == 0:
            if key in self._houses:
                return fill_houses(self._plan, self._areas[key], rng, self._houses[key])
            return (fill_block if _is_inside(key) else fill_outskirts)(self._plan, self._areas[key], rng)
        end = (self._ys[b + 1 : b + 2] or [self._ys[b]])[0] - self._ys[b]
        if kind == 2:
            end = (self._xs[a + 1 : a + 2] or [self._xs[a]])[0] - self._xs[a]
        lit = self.offsets[a][b] >= 0, end > 0 and self.offsets[a + (kind == 2)][b + (kind == 1)] >= 0
        return mark_street(self._plan, kind, rng, self._xs[a], self._ys[b], end, lit)

    def _map_areas(self) -> dict[Key, tuple[float, float, float, float]]:
        """Return grid x0, y0, x1, y1 of every block and street."""
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

    # ---- ways

    def route(self, i: int, j: int, direction: int, skip: float, salt: int) -> Route:
        """Return a route of at least 1,100 m that leaves junction (i, j) in a direction.

        Args:
            i, j: A junction.
            direction: 0 east, 1 north, 2 west, 3 south; there must be a street.
            skip: Metres along the first street at which the route begins, from the junction's middle.
            salt: Decides the turns.
        """
        key = (i, j, direction, skip, salt)
        if key not in self._routes:
            self._routes[key] = _route(self, *key)
        return self._routes[key]

    def walk(self, i: int, j: int, corner: int, lead: float, salt: int) -> Route:
        """Return a walk of at least 240 m that begins ``lead`` metres before a crossing at junction (i, j).

        Args:
            i, j: A junction.
            corner: 0 to 7: which of its four corners, and which of the corner's two crossings comes first.
            lead: Metres of pavement before the crossing.
            salt: Decides where it goes on.
        """
        key = (i, j, corner, lead, salt)
        if key not in self._walks:
            self._walks[key] = _walk(self, *key)
        return self._walks[key]

    def walk_start(self, i: int, j: int, corner: int, lead: float) -> tuple[float, float]:
        """Return where the walk with these arguments begins."""
        sx, sy, along_y = _corner(corner)
        a, b = (_CROSS + lead, _PATH) if along_y else (_PATH, _CROSS + lead)
        return self.warp.point(self._xs[i] + sx * a, self._ys[j] + sy * b)

    def has_street(self, i: int, j: int, direction: int) -> bool:
        """Return whether a street leaves junction (i, j) in a direction."""
        di, dj = _STEP[direction]
        return 0 <= i + di < NUM_LINES and 0 <= j + dj < NUM_LINES

    def street_length(self, i: int, j: int, direction: int) -> float:
        """Return metres from junction (i, j) to the next one in a direction."""
        di, dj = _STEP[direction]
        return abs(self._xs[i + di] - self._xs[i]) + abs(self._ys[j + dj] - self._ys[j])

    def street_point(self, i: int, j: int, direction: int, skip: float) -> tuple[float, float, float, float]:
        """Return x m, y m, heading rad and curvature 0 ``skip`` metres along the lane that leaves a junction."""
        di, dj = _STEP[direction]
        right = self.side * LANE
        x, y = self._xs[i] + di * skip + dj * right, self._ys[j] + dj * skip - di * right
        return (*self.warp.point(x, y), self.warp.heading(x, y, direction * math.pi / 2), 0.0)

    def nearest_junction(self, x: float, y: float) -> tuple[int, int]:
        """Return the junction nearest to a point."""
        x, y = self.warp.grid(x, y)
        return _nearest(self._xs, x), _nearest(self._ys, y)

    def nearest_street(self, x: float, y: float, yaw: float) -> tuple[int, int, int, float]:
        """Return (i, j, direction, metres since that junction) of the street that best fits a pose."""
        x, y = self.warp.grid(x, y)
        direction = round(self.warp.grid_heading(x, y, yaw) / (math.pi / 2)) % 4
        axis = direction % 2  # 0: moves along x
        along, across = (x, y) if axis == 0 else (y, x)
        lines, ends = (self._ys, self._xs) if axis == 0 else (self._xs, self._ys)
        line = _nearest(lines, across)
        if direction < 2:
            start = min(max(sum(end <= along for end in ends) - 1, 0), NUM_LINES - 2)
            skip = along - ends[start]
        else:
            start = min(max(sum(end < along for end in ends), 1), NUM_LINES - 1)
            skip = ends[start] - along
        i, j = (start, line) if axis == 0 else (line, start)
        return i, j, direction, max(skip, 0.0)

    def approach(self, x: float, y: float, yaw: float, nose: float) -> Approach | None:
        """Return the junction ahead of a car in a street, or None where it is in no street or stands across it.

        Args:
            x, y, yaw: Pose of its middle.
            nose: Metres from its middle to its front.
        """
        x, y = self.warp.grid(x, y)
        heading = self.warp.grid_heading(x, y, yaw)
        direction = round(heading / (math.pi / 2)) % 4
        axis = direction % 2
        along, across = (x, y) if axis == 0 else (y, x)
        lines, ends = (self._ys, self._xs) if axis == 0 else (self._xs, self._ys)
        line = _nearest(lines, across)
        if abs(across - lines[line]) > HALF_ROAD or abs(math.sin(heading - direction * math.pi / 2)) > 0.6:
            return None
        sign = 1 if direction < 2 else -1
        ahead = [(sign * (end - along), k) for k, end in enumerate(ends) if sign * (end - along) > 0]
        if not ahead:
            return None
        distance, k = min(ahead)
        i, j = (k, line) if axis == 0 else (line, k)
        return Approach(i, j, axis, distance - STOP_LINE - nose)

    @property
    def most_houses(self) -> int:
        """Most footprints in a block."""
        return max(map(len, self._houses.values()), default=0)

    def has_passed(
        self, junction: tuple[int, int, int], before: tuple[float, float], after: tuple[float, float], nose: float
    ) -> bool:
        """Return whether a car that was before a junction's stop line is behind it now, whichever way it looks.

        Args:
            junction: i, j and axis as of `approach`.
            before, after: x m, y m of its middle.
            nose: Metres from its middle to its front.
        """
        i, j, axis = junction
        end = self._xs[i] if axis == 0 else self._ys[j]
        was, now = (self.warp.grid(*middle)[axis] for middle in (before, after))
        return math.copysign(1, end - was) * (end - now) <= STOP_LINE + nose

    def lane(self, x: float, y: float, yaw: float) -> int:
        """Return 1 on one's own half of a street, -1 on the other, 0 in a junction or outside."""
        x, y = self.warp.grid(x, y)
        heading = self.warp.grid_heading(x, y, yaw)
        direction = round(heading / (math.pi / 2)) % 4
        along, across = (x, y) if direction % 2 == 0 else (y, x)
        lines, ends = (self._ys, self._xs) if direction % 2 == 0 else (self._xs, self._ys)
        aside = across - lines[_nearest(lines, across)]
        in_junction = abs(along - ends[_nearest(ends, along)]) < BOX
        if in_junction or abs(aside) > HALF_ROAD or abs(math.sin(heading - direction * math.pi / 2)) > 0.6:
            return 0
        rightwards = 1 if direction in (1, 2) else -1  # whether the right-hand side lies at larger coordinates
        return 1 if aside * rightwards * self.side > 0 else -1


_STEP = ((1, 0), (0, 1), (-1, 0), (0, -1))


def _is_inside(key: Key) -> bool:
    """Return whether a key is that of a block between four streets."""
    kind, a, b = key
    return kind == 0 and 0 <= a < NUM_LINES - 1 and 0 <= b < NUM_LINES - 1


def _corner(corner: int) -> tuple[int, int, bool]:
    """Return a walk's first corner as signs of x and y, and whether its first crossing leads along y."""
    return (1 if corner & 1 else -1), (1 if corner & 2 else -1), bool(corner & 4)


def _nearest(lines: list[float], value: float) -> int:
    apart = [abs(line - value) for line in lines]
    return apart.index(min(apart))


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


def _route(layout: Layout, i: int, j: int, direction: int, skip: float, salt: int) -> Route:
    rng = np.random.default_rng((layout.seed, 5, salt))
    xs, ys = layout.lines.tolist()
    pieces, stops, total, first = [], [], 0.0, True
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
        total += straight
        stops.append((total - (STOP_LINE - BOX), total + size, i, j, direction % 2, turn))
        direction = (direction + turn) % 4
        total, first = total + size, False
    return _bent(layout.warp, _sample(pieces), np.array(stops, dtype=float))


def _walk(layout: Layout, i: int, j: int, corner: int, lead: float, salt: int) -> Route:
    rng = np.random.default_rng((layout.seed, 8, salt))
    xs, ys = layout.lines.tolist()
    sx, sy, along_y = _corner(corner)

    def spot(is_beside_x: bool) -> tuple[float, float]:
        """Return where one stands at the present corner: beside the crossing of the street along x, or along y."""
        a, b = (_CROSS, _PATH) if is_beside_x else (_PATH, _CROSS)
        return xs[i] + sx * a, ys[j] + sy * b

    start = spot(along_y)
    rows = [(start[0] + sx * lead * along_y, start[1] + sy * lead * (not along_y)), start]
    marks: list[tuple[int, int, int, int]] = []  # index of the last point before a crossing, i, j, axis of its traffic
    total, beside_x = lead, along_y
    while total < _WALK:
        if len(marks) == 0 or rng.random() < 0.5:
            marks.append((len(rows) - 1, i, j, 0 if beside_x else 1))
            if beside_x:
                sy = -sy
            else:
                sx = -sx
        elif 0 <= (i + sx if beside_x else i) < NUM_LINES and 0 <= (j if beside_x else j + sy) < NUM_LINES:
            if beside_x:
                i, sx = i + sx, -sx
            else:
                j, sy = j + sy, -sy
        rows.append(spot(beside_x))
        if rng.random() < 0.5:
            beside_x = not beside_x
            rows.append(spot(beside_x))
        total = sum(math.dist(p, q) for p, q in pairwise(rows))
    points = np.array(rows)
    reach = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    s = np.arange(0.0, reach[-1], 1.0)
    dense = np.stack([np.interp(s, reach, points[:, k]) for k in (0, 1)], axis=1)
    kerb = _PATH - HALF_ROAD
    stops = [(reach[k] + kerb, reach[k] + 2 * _PATH - kerb, a, b, axis, 0) for k, a, b, axis in marks]
    rough = np.concatenate([dense, np.zeros((len(dense), 2))], axis=1)
    return _bent(layout.warp, rough, np.array(stops, dtype=float), exact=False)


def _bent(warp: Warp, points: np.ndarray, stops: np.ndarray, exact: bool = True) -> Route:
    """Return a route on the grid as it runs in the world, again one point per metre.

    Args:
        warp: How the grid lies in the world.
        points: (N, 4) on the grid; headings and curvatures are used as they are if streets are straight.
        stops: (K, 6), whose first two columns are metres on the grid.
        exact: Whether headings and curvatures of ``points`` are given.
    """
    if warp.bend == 0 and exact:
        return Route(points, stops)
    world = warp.points(points[:, :2])
    reach = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(world, axis=0).T))])
    s = np.arange(0.0, reach[-1], 1.0)
    x, y = np.interp(s, reach, world[:, 0]), np.interp(s, reach, world[:, 1])
    heading = np.unwrap(np.arctan2(np.gradient(y), np.gradient(x)))
    stops = stops.copy()
    stops[:, :2] = np.interp(stops[:, :2], np.arange(len(reach), dtype=float), reach)
    return Route(np.stack([x, y, heading, np.gradient(heading)], axis=1), stops)


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
