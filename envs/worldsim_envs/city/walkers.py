"""The people: they walk along the pavements, cross where there are stripes, and wait while the light is not theirs.

A person follows a walk of the map and, like a car, is fully described by its key and progress.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldsim_envs.city.layout import NUM_LINES, Layout
from worldsim_envs.city.lights import red_left
from worldsim_envs.city.paint import COAT_COLORS

__all__ = ["NUM_WALKERS", "Walker", "move_walkers", "spawn_walkers"]

NUM_WALKERS = {"none": 0, "some": 3, "many": 8}
"""People by density."""
_SPAWN, _LEAVE = 45.0, 80.0  # m from the ego
_CAUTION = 1.8  # s, how near in time a car may be when one steps off the kerb


@dataclass(frozen=True)
class Walker:
    """One person."""

    slot: int
    """Index among the people; decides the coat."""
    walk: tuple[int, int, int, float, int]
    """Arguments of Layout.walk."""
    progress: float
    """Metres along the walk."""
    pace: float
    """m/s when walking."""
    speed: float
    """m/s now."""
    pose: tuple[float, float, float]
    """Where that puts them: x m, y m, heading rad."""
    is_crossing: bool = False
    """Whether they are on the carriageway."""

    @property
    def coat(self) -> str:
        """Name of its colour."""
        return COAT_COLORS[self.slot % len(COAT_COLORS)]


def _pose(points: np.ndarray, progress: float) -> tuple[float, float, float]:
    index = min(int(progress), len(points) - 2)
    part = min(progress - index, 1.0)
    a, b = points[index : index + 2].tolist()
    return a[0] + (b[0] - a[0]) * part, a[1] + (b[1] - a[1]) * part, math.atan2(b[1] - a[1], b[0] - a[0])


def move_walkers(
    layout: Layout, walkers: Sequence[Walker], cars: Sequence[tuple[float, float, float, float]], step: int, dt: float
) -> tuple[Walker, ...]:
    """Return the people one step later.

    Args:
        layout: The map.
        walkers: The people now.
        cars: x m, y m, heading rad, speed m/s of every car, the ego's included.
        step: Decides what the lights show.
        dt: Seconds.
    """
    moved = []
    for one in walkers:
        walk = layout.walk(*one.walk)
        progress = one.progress + one.pace * dt
        crossing = False
        for begin, end, i, j, axis, _ in walk.stops.tolist():
            if begin > progress:
                break
            if one.progress <= begin:
                steps = (end - begin) / one.pace / dt
                if not _may_cross(layout, int(i), int(j), int(axis), steps, step, cars, one.pose):
                    progress = one.progress
                    break
            crossing |= progress < end
        progress = min(progress, len(walk.points) - 2.0)
        speed = (progress - one.progress) / dt
        pose = _pose(walk.points, progress)
        moved.append(Walker(one.slot, one.walk, progress, one.pace, speed, pose, crossing))
    return tuple(moved)


def _may_cross(
    layout: Layout,
    i: int,
    j: int,
    axis: int,
    steps: float,
    step: int,
    cars: Sequence[tuple[float, float, float, float]],
    pose: tuple[float, float, float],
) -> bool:
    """Return whether the light allows a crossing that takes so many steps, and no car is about to be there."""
    offset = layout.offsets[i][j]
    if offset >= 0 and red_left(offset, axis, step) < steps:
        return False
    for x, y, heading, speed in cars:
        dx, dy = pose[0] - x, pose[1] - y
        ahead = dx * math.cos(heading) + dy * math.sin(heading)
        if 0 < ahead < 3 + speed * _CAUTION and math.hypot(dx, dy) < 25 and speed > 0.5:
            return False
    return True


def spawn_walkers(
    layout: Layout,
    walkers: Sequence[Walker],
    ego: tuple[float, float, float],
    wanted: int,
    key: tuple[int, int],
    near: float = 30.0,
) -> tuple[Walker, ...]:
    """Return the people with those far from the ego replaced by new ones, up to ``wanted`` of them.

    Args:
        layout: The map.
        walkers: The people now.
        ego: x m, y m, heading rad of the ego car's middle.
        wanted: How many there should be.
        key: Seed and step, which decide where new ones appear.
        near: Nobody appears closer to the ego than this, metres.
    """
    c, s = math.cos(ego[2]), math.sin(ego[2])
    kept = []
    for one in walkers:
        dx, dy = one.pose[0] - ego[0], one.pose[1] - ego[1]
        distance = math.hypot(dx, dy)
        if distance < _LEAVE and dx * c + dy * s > -12 and (one.slot < wanted or distance < _SPAWN):
            kept.append(one)
    free = sorted(set(range(wanted)) - {one.slot for one in kept})
    if not free:
        return tuple(kept)
    rng = np.random.default_rng((*key, 13))
    i0, j0 = layout.nearest_junction(ego[0] + 35 * c, ego[1] + 35 * s)
    for slot in free:
        for _ in range(4):
            i, j = np.clip((i0 + rng.integers(-1, 2), j0 + rng.integers(-1, 2)), 0, NUM_LINES - 1).tolist()
            corner, salt = int(rng.integers(8)), int(rng.integers(1 << 30))
            lead, pace = round(float(rng.choice((rng.uniform(0, 3), rng.uniform(3, 30)))), 3), rng.uniform(1.3, 1.9)
            x, y = layout.walk_start(i, j, corner, lead)
            dx, dy = x - ego[0], y - ego[1]
            ahead = dx * c + dy * s
            if near < math.hypot(dx, dy) < 70 and ahead > abs(dx * s - dy * c) * 0.8:
                walk = (i, j, corner, lead, salt)
                pose = _pose(layout.walk(*walk).points, 0.0)
                kept.append(Walker(slot, walk, 0.0, float(pace), 0.0, pose))
                break
    return tuple(sorted(kept, key=lambda one: one.slot))
