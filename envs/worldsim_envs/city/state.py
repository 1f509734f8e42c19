"""What moves in the city, as values: the state, the ego's equations of motion, and how a change of weather begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldsim_envs.city.layout import Street
from worldsim_envs.city.traffic import Car
from worldsim_envs.city.walkers import Walker
from worldsim_envs.city.weather import Conditions, between, conditions_of, grip_on, words_of
from worldsim_envs.look import Look

__all__ = ["CitySnapshot", "CityState", "changed", "conditions_at", "middle", "move_ego", "sight_of"]

CONTROL_DT, PHYSICS_DT = 0.1, 1 / 240  # s
WHEELBASE = 2.7  # m
MAX_STEER, STEER_RATE = 0.5, 2.0  # rad, rad/s
MAX_THROTTLE, MAX_BRAKE, MAX_SPEED = 3.0, 6.0, 15.0  # m/s2, m/s2, m/s
DRAG = 0.03  # 1/s
SIGHT, SIGHT_IN_FOG = 75.0, 52.0  # m, how far blocks are drawn


@dataclass(frozen=True)
class CityState:
    """Everything that moves, at one step."""

    step: int
    x: float
    """Middle of the ego's rear axle, metres."""
    y: float
    yaw: float
    """rad, 0 = east, counterclockwise."""
    speed: float
    """m/s, never negative."""
    steer: float
    """Angle of the front wheels, rad, left positive."""
    yaw_rate: float
    """rad/s."""
    route: Street
    progress: float
    """Metres along the route."""
    cars: tuple[Car, ...]
    walkers: tuple[Walker, ...]
    time_of_day: str
    weather: str
    traffic: str
    pedestrians: str
    ramp: tuple[Conditions, Conditions, int, int]
    """Conditions before and after the last change, the step at which it began, its length in steps."""
    task: str = ""
    """One of TASKS, or nothing."""
    goal: float = 0.0
    """Metres after which the task is done."""
    travelled: float = 0.0
    """Metres along the lane since the beginning."""
    faults: float = 0.0
    """Sum of all costs."""
    is_done: bool = False
    """Whether the task is done."""
    over: bool = False
    """Whether the episode has terminated."""


@dataclass(frozen=True)
class CitySnapshot:
    """Everything that the next steps depend on; it can be pickled and compared."""

    variation: str
    """The episode's factors as JSON."""
    episode_seed: int
    state: CityState
    rng: Mapping[str, Any]
    """State of ``np_random``'s bit generator."""
    unknown: tuple[str, ...]
    """Words of the prompt that were not understood."""
    footprints: str = ""
    """SHA-256 of the footprints that the city was made with; empty without any."""


def move_ego(state: CityState, wheel: float, pull: float) -> CityState:
    """Return the ego one control step later, by the equations of `CityEnv`.

    Args:
        state: The state now.
        wheel: Angle that the front wheels turn to, rad.
        pull: Acceleration of the engine or brake, m/s2.
    """
    dt = PHYSICS_DT
    x, y, yaw, speed, steer, rate = state.x, state.y, state.yaw, state.speed, state.steer, 0.0
    grip, turn = grip_on(conditions_at(state).wetness), STEER_RATE * dt
    pull = max(pull, -grip)
    for _ in range(round(CONTROL_DT / dt)):
        steer += min(max(wheel - steer, -turn), turn)
        speed = min(max(speed + (pull - DRAG * speed) * dt, 0.0), MAX_SPEED)
        limit = grip / max(speed, 1.0)
        rate = min(max(speed * math.tan(steer) / WHEELBASE, -limit), limit)
        yaw += rate * dt
        x += speed * math.cos(yaw) * dt
        y += speed * math.sin(yaw) * dt
    return replace(
        state,
        step=state.step + 1,
        x=x,
        y=y,
        yaw=yaw,
        speed=speed,
        steer=steer,
        yaw_rate=rate,
    )


def middle(state: CityState) -> tuple[float, float, float]:
    """Return x m, y m, heading rad of the ego's middle."""
    half = WHEELBASE / 2
    return state.x + half * math.cos(state.yaw), state.y + half * math.sin(state.yaw), state.yaw


def conditions_at(state: CityState) -> Conditions:
    """Return the conditions in force at a state's step."""
    before, after, begun, length = state.ramp
    return between(before, after, (state.step - begun) / length)


def sight_of(look: Look) -> float:
    """Return how far blocks are drawn, metres: less where haze hides them, so that none is seen to vanish."""
    return float(np.clip(SIGHT - 680 * (look.density - 0.016), SIGHT_IN_FOG, SIGHT))


def changed(state: CityState, wished: Mapping[str, Any], length: int) -> CityState:
    """Return the state with a change of weather, time, traffic or pedestrians begun at its step."""
    after = conditions_of(state.ramp[1], wished)
    density = {name: wished[name] for name in ("traffic", "pedestrians") if name in wished}
    return replace(state, **words_of(after), **density, ramp=(conditions_at(state), after, state.step, length))
