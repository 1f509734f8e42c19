"""The other cars: where they appear, what they brake for, and how one step moves them.

A car follows a route of the map and is fully described by that route's key, its progress and its speed. What it does
next is a function of these, so traffic continues bit for bit from a snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from worldsim_envs.city.layout import CAR_COLORS, NUM_LINES, Layout

__all__ = ["NUM_CARS", "Car", "gap_ahead", "move_cars", "spawn_cars"]

NUM_CARS = {"light": 3, "heavy": 8}
"""Moving cars by traffic density."""
_SPAWN, _LEAVE = (58.0, 95.0), 115.0  # m from the ego
_BRAKE, _PULL = 5.0, 2.0  # m/s2
_SEEN = 16  # m of its route that a driver watches


@dataclass(frozen=True)
class Car:
    """One moving car."""

    slot: int
    """Index among the moving cars; decides colour and who yields to whom."""
    route: tuple[int, int, int, float, int]
    """Arguments of Layout.route."""
    progress: float
    """Metres along the route."""
    speed: float
    """m/s."""
    cruise: float
    """m/s on an open street."""
    pose: tuple[float, float, float, float]
    """Where that puts it: x m, y m, heading rad and curvature 1/m of its middle."""

    @property
    def color(self) -> str:
        """Name of its paint."""
        return list(CAR_COLORS)[self.slot % len(CAR_COLORS)]


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
        return 100.0, -1
    apart = points[:, None, :2] - others[None, :, :2]  # (N, M, 2)
    hit = (apart[..., 0] ** 2 + apart[..., 1] ** 2) < 1.9**2  # (N, M)
    rows = np.flatnonzero(hit.any(axis=1))
    if len(rows) == 0:
        return 100.0, -1
    return float(rows[0]) + 1.0, int(np.argmax(hit[rows[0]]))


def move_cars(layout: Layout, cars: Sequence[Car], ego: tuple[float, float, float], dt: float) -> tuple[Car, ...]:
    """Return the cars one step later.

    Args:
        layout: The map.
        cars: The cars now.
        ego: x m, y m, heading rad of the ego car's middle.
        dt: Seconds.
    """
    poses = np.array([car.pose[:3] for car in cars] + [ego])  # (M + 1, 3)
    moved = []
    for k, car in enumerate(cars):
        points = layout.route(*car.route).points
        start = int(car.progress) + 2
        ahead = points[start : start + _SEEN]
        x, y = poses[k, 0], poses[k, 1]
        near = (poses[:, 0] - x) ** 2 + (poses[:, 1] - y) ** 2 < 26.0**2
        near[k] = False
        if near.any():
            same_way = np.cos(poses[:, 2] - poses[k, 2]) > 0.5
            first = np.arange(len(poses)) < k
            first[-1] = True
            gap, _ = gap_ahead(ahead, poses[near & (same_way | first)])
        else:
            gap = 100.0
        bend = np.abs(ahead[:12, 3]).max() if len(ahead) else 0.0
        wish = min(car.cruise, 4.6 if bend > 0.01 else 20.0, max(0.0, gap - 4.5) * 0.7)
        speed = car.speed + float(np.clip(wish - car.speed, -_BRAKE * dt, _PULL * dt))
        progress = car.progress + speed * dt
        moved.append(replace(car, speed=speed, progress=progress, pose=_pose(points, progress)))
    return tuple(moved)


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
    for car in cars:
        pose = car.pose[:3]
        distance = np.hypot(pose[0] - ego[0], pose[1] - ego[1])
        behind = (pose[0] - ego[0]) * np.cos(ego[2]) + (pose[1] - ego[1]) * np.sin(ego[2]) < -35
        if distance < _LEAVE and not behind and (car.slot < wanted or distance < _SPAWN[0]):
            kept.append(car)
            poses.append(pose)
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
    xs, ys = layout.lines
    ex, ey, heading = poses[0]
    i0, j0 = int(np.argmin(np.abs(xs - ex))), int(np.argmin(np.abs(ys - ey)))
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
        ahead = (x - ex) * np.cos(heading) + (y - ey) * np.sin(heading) > 0
        if near < apart[0] < _SPAWN[1] and (len(apart) == 1 or apart[1:].min() > 12) and (ahead or attempt > 8):
            return Car(slot, (i, j, direction, skip, salt), 0.0, cruise, cruise, pose)
    return None
