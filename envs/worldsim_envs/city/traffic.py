"""The other cars: where they appear, how they follow, and what they stop for.

A car follows a route of the map and is fully described by that route's key, its progress and its speed. What it does
next is a function of these, so traffic continues bit for bit from a snapshot. Cars keep their distance by the
intelligent driver model (Treiber, Hennecke, Helbing 2000):

    v' = a (1 - (v / v0)^4 - (s* / s)^2)    s* = s0 + v T + v dv / (2 sqrt(a b))

with a = 1.8 m/s2, b = 2.5 m/s2, s0 = 2 m and T = 1.1 s; s is the free road to what is ahead and dv the speed at which
it comes nearer. A red light is a standing car at its stop line; v0 falls before a bend to what 2.4 m/s2 sideways allow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldsim_envs.city.layout import NUM_LINES, Layout, Street
from worldsim_envs.city.lights import colors
from worldsim_envs.city.paint import CAR_COLORS, CAR_SIZE

__all__ = ["NUM_CARS", "Car", "Moving", "gap_ahead", "move_cars", "spawn_cars"]

NUM_CARS = {"light": 3, "heavy": 8}
"""Moving cars by traffic density."""
_SPAWN, _LEAVE = (58.0, 95.0), 115.0  # m from the ego
_PULL, _COMFORT, _STANDSTILL, _TIME_GAP = 1.8, 2.5, 2.0, 1.1  # m/s2, m/s2, m, s: a, b, s0, T
_HARDEST = 6.0  # m/s2, braking on a dry road
_ASIDE = 2.4  # m/s2 sideways in a bend
_BRAKING = -0.9  # m/s2, below which brake lights burn
_SEEN = 30  # m of its route that a driver watches
_FAR = 100.0  # m, a free road
_WIDTH = 1.9  # m from its route within which a thing is in the way


@dataclass(frozen=True)
class Car:
    """One moving car."""

    slot: int
    """Index among the moving cars; decides colour and who yields to whom."""
    route: Street
    progress: float
    """Metres along the route."""
    speed: float
    """m/s."""
    cruise: float
    """m/s on an open street."""
    pose: tuple[float, float, float, float]
    """Where that puts it: x m, y m, heading rad and curvature 1/m of its middle."""
    pull: float = 0.0
    """Acceleration of the last step, m/s2."""

    @property
    def color(self) -> str:
        """Name of its paint."""
        return list(CAR_COLORS)[self.slot % len(CAR_COLORS)]

    @property
    def is_braking(self) -> bool:
        """Whether its brake lights burn."""
        return self.pull < _BRAKING or self.speed < 0.05


@dataclass(frozen=True)
class Moving:
    """What else moves, as the traffic sees it."""

    ego: tuple[float, float, float, float]
    """x m, y m, heading rad and speed m/s of the ego car's middle."""
    walkers: tuple[tuple[float, float], ...]
    """Positions of people on the carriageway."""
    step: int
    """Decides what the lights show."""
    grip: float
    """m/s2 that tyres hold."""


def _pose(points: np.ndarray, progress: float) -> tuple[float, float, float, float]:
    """Return x m, y m, heading rad and curvature 1/m at a distance along a route."""
    index = min(int(progress), len(points) - 2)
    part = min(progress - index, 1.0)
    a, b = points[index : index + 2].tolist()
    return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part, a[2] + (b[2] - a[2]) * part, a[3]


def gap_ahead(points: np.ndarray, others: np.ndarray) -> tuple[float, int]:
    """Return how far along ``points`` (N, >= 2) the first of ``others`` (M, >= 2) stands in the way, and which one.

    The distance is in metres between middles, 100 if the way is free.
    """
    if len(others) == 0:
        return _FAR, -1
    apart = points[:, None, :2] - others[None, :, :2]  # (N, M, 2)
    hit = (apart[..., 0] ** 2 + apart[..., 1] ** 2) < _WIDTH**2  # (N, M)
    rows = np.flatnonzero(hit.any(axis=1))
    if len(rows) == 0:
        return _FAR, -1
    return float(rows[0]) + 1.0, int(np.argmax(hit[rows[0]]))


def move_cars(layout: Layout, cars: Sequence[Car], moving: Moving, dt: float) -> tuple[Car, ...]:
    """Return the cars one step later.

    Args:
        layout: The map.
        cars: The cars now.
        moving: What else moves.
        dt: Seconds.
    """
    if not cars:
        return ()
    routes = [layout.route(*car.route) for car in cars]
    starts = [min(int(car.progress) + 2, len(r.points) - _SEEN) for car, r in zip(cars, routes, strict=True)]
    ahead = np.stack([r.points[s : s + _SEEN] for r, s in zip(routes, starts, strict=True)])  # (M, N, 4)
    n, people = len(cars), len(moving.walkers)
    bodies = np.array(
        [(*car.pose[:3], car.speed) for car in cars] + [moving.ego] + [(x, y, 0.0, 0.0) for x, y in moving.walkers]
    )  # (M + 1 + P, 4)
    apart = (ahead[:, :, None, 0] - bodies[:, 0]) ** 2 + (ahead[:, :, None, 1] - bodies[:, 1]) ** 2  # (M, N, M + 1 + P)
    turn = bodies[:n, 2, None] - bodies[:, 2]  # (M, M + 1 + P)
    same_way = np.cos(turn)
    heeds = same_way > 0.5
    heeds |= np.arange(n)[:, None] > np.arange(n + 1 + people)  # the earlier of two has priority
    heeds[:, n:] = True
    heeds[np.arange(n), np.arange(n)] = False
    in_way = (apart < _WIDTH**2) & heeds[:, None]
    blocked = in_way.any(axis=-1)  # (M, N)
    first = np.where(blocked.any(axis=-1), blocked.argmax(axis=1), -1)
    who = in_way[np.arange(n), first].argmax(axis=1)
    bend = np.abs(ahead[..., 3])  # (M, N)
    slow = np.sqrt(_ASIDE / np.maximum(bend, 1e-3) + 2 * 1.5 * np.arange(_SEEN)).min(axis=1).tolist()
    hardest = min(_HARDEST, moving.grip)
    moved = []
    for k, car in enumerate(cars):
        room, lead_speed, v = _FAR, 0.0, car.speed
        if first[k] >= 0:
            one = int(who[k])
            room = float(first[k]) + 2.0 - (CAR_SIZE[0] if one <= n else CAR_SIZE[0] / 2 + 0.6)
            lead_speed = max(float(bodies[one, 3] * same_way[k, one]), 0.0)
        line = _red_line(layout, routes[k].stops, car, moving.step)
        if line + 1.0 < room:
            room, lead_speed = line + 1.0, 0.0
        wish = min(car.cruise, slow[k])
        near = _STANDSTILL + max(v * _TIME_GAP + v * (v - lead_speed) / (2 * math.sqrt(_PULL * _COMFORT)), 0.0)
        pull = _PULL * (1 - (v / wish) ** 4 - (near / max(room, 0.1)) ** 2)
        pull = max(pull, -hardest)
        speed = max(v + pull * dt, 0.0)
        if speed < 0.15 and pull < 0.3:
            speed = 0.0
        progress = car.progress + speed * dt
        pose = _pose(routes[k].points, progress)
        moved.append(Car(car.slot, car.route, progress, speed, car.cruise, pose, (speed - v) / dt))
    return tuple(moved)


def _red_line(layout: Layout, stops: np.ndarray, car: Car, step: int) -> float:
    """Return metres from a car's nose to the stop line it has to heed now, 100 if there is none."""
    nose = car.progress + CAR_SIZE[0] / 2
    at = int(np.searchsorted(stops[:, 0], nose - 1.0))
    if at == len(stops) or stops[at, 0] - nose > 40:
        return _FAR
    line, _, i, j, axis, _ = stops[at].tolist()
    offset = layout.offsets[int(i)][int(j)]
    if offset < 0:
        return _FAR
    color, room = colors(offset, step)[int(axis)], line - nose
    if (color == "red" and room > -0.5) or (color == "yellow" and room > car.speed**2 / (2 * 3.0)):
        return max(room, 0.0)
    return _FAR


def spawn_cars(
    layout: Layout,
    cars: Sequence[Car],
    ego: tuple[float, float, float],
    wanted: int,
    key: tuple[int, int],
    near: float = _SPAWN[0],
) -> tuple[Car, ...]:
    """Return the cars with those far from the ego replaced by new ones, up to ``wanted`` of them.

    Args:
        layout: The map.
        cars: The cars now.
        ego: x m, y m, heading rad of the ego car's middle.
        wanted: How many cars there should be.
        key: Seed and step, which decide where new ones appear.
        near: No new car appears closer to the ego than this, metres.
    """
    kept, poses = [], [ego]
    c, s = math.cos(ego[2]), math.sin(ego[2])
    for car in cars:
        dx, dy = car.pose[0] - ego[0], car.pose[1] - ego[1]
        distance = math.hypot(dx, dy)
        if distance < _LEAVE and dx * c + dy * s >= -35 and (car.slot < wanted or distance < _SPAWN[0]):
            kept.append(car)
            poses.append(car.pose[:3])
    free = sorted(set(range(wanted)) - {car.slot for car in kept})
    if not free:
        return tuple(kept)
    rng = np.random.default_rng((*key, 11))
    for slot in free[:2] if near == _SPAWN[0] else free:
        car = _try_spawn(layout, slot, np.array(poses), near, rng)
        if car is not None:
            kept.append(car)
            poses.append(car.pose[:3])
    return tuple(sorted(kept, key=lambda car: car.slot))


def _try_spawn(layout: Layout, slot: int, poses: np.ndarray, near: float, rng: np.random.Generator) -> Car | None:
    ex, ey, heading = poses[0].tolist()
    i0, j0 = layout.nearest_junction(ex, ey)
    for attempt in range(12):
        i, j = np.clip((i0 + rng.integers(-1, 2), j0 + rng.integers(-1, 2)), 0, NUM_LINES - 1).tolist()
        direction, part, salt = int(rng.integers(4)), rng.random(), int(rng.integers(1 << 30))
        cruise = float(rng.uniform(5.0, 9.0))
        if not layout.has_street(i, j, direction):
            continue
        length = layout.street_length(i, j, direction)
        skip = round(9 + part * (length - 18), 3)
        x, y, _, _ = pose = layout.street_point(i, j, direction, skip)
        apart = np.hypot(poses[:, 0] - x, poses[:, 1] - y)
        ahead = (x - ex) * math.cos(heading) + (y - ey) * math.sin(heading) > 0
        if near < apart[0] < _SPAWN[1] and (len(apart) == 1 or apart[1:].min() > 12) and (ahead or attempt > 8):
            return Car(slot, (i, j, direction, skip, salt), 0.0, cruise, cruise, pose)
    return None
