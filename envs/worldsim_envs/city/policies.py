"""Drivers of the city: functions from (obs, info) to an action, each made from a seed.

They read ``info["route"]`` and a task's target speed, and nothing else of the world. ``mixture`` is what data comes
from: lane keeping at many speeds with smooth exploration on top, some haste, some nonsense; left and right are a fair
coin everywhere. By skill: random, novice, aggressive, lane_follower, expert.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.rollout import Policy

__all__ = ["POLICIES"]

_WHEELBASE, _MAX_STEER = 2.7, 0.5  # m, rad
_PULL, _BRAKE = 3.0, 6.0  # m/s2


class _Smooth:
    """Smooth noise: an Ornstein-Uhlenbeck process with unit variance."""

    def __init__(self, rng: np.random.Generator, memory: float) -> None:
        self._rng, self._memory, self._value = rng, memory, float(rng.normal())

    def __call__(self) -> float:
        kick = (1 - self._memory**2) ** 0.5
        self._value = self._memory * self._value + kick * float(self._rng.normal())
        return self._value


@dataclass(frozen=True)
class _Style:
    """How someone drives."""

    cruise: float
    """m/s on a straight street."""
    turn_speed: float
    """m/s in a junction's turn."""
    steer_noise: float = 0.0
    """Standard deviation of the exploration, in action units."""
    throttle_noise: float = 0.0
    weave: float = 0.0
    """Amplitude of weaving, action units."""
    patience: float = 1.0
    """Braking distance as a share of the careful one."""
    pauses: bool = False
    """Whether it brakes to a halt now and then."""
    heeds_lights: bool = True
    """Whether it stops at a red light."""
    heeds_target: bool = False
    """Whether it drives at a task's target speed instead of its own."""


def _drive(style: _Style, rng: np.random.Generator) -> Policy:
    """Return a driver: pure pursuit of the route, speed keeping, and the style's exploration."""
    steer_noise, throttle_noise = _Smooth(rng, 0.88), _Smooth(rng, 0.92)
    phase, rate = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.35)
    pause_at = int(rng.integers(15, 90)) if style.pauses else -1
    pause_length = int(rng.integers(10, 26))
    t = -1

    def act(obs: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
        nonlocal t, pause_at
        t += 1
        route = info["route"]
        speed = route["speed"]
        points = route["points"]  # (10, 2), every 2 m
        reach = float(np.clip(0.55 * speed, 3.5, 8.0))
        x, y = points[min(int(reach / 2 + 0.5), 9)]
        x += _WHEELBASE / 2  # pursuit is from the rear axle
        steer = np.arctan(2 * _WHEELBASE * y / (x * x + y * y)) / _MAX_STEER
        bend = route["curvature"]
        wish = info["task"]["target_speed"] if style.heeds_target and "task" in info else style.cruise
        if abs(bend) > 0.01:
            wish = min(wish, style.turn_speed * (0.13 / abs(bend)) ** 0.5)  # 0.13 1/m: a turn of middling width
        room = route["gap"] - 5.5 * style.patience
        light = route["light"]
        if style.heeds_lights and (
            light["color"] == "red" or (light["color"] == "yellow" and light["distance"] > speed * speed / 7)
        ):
            room = min(room, light["distance"] - 0.4)
        if room < 30:
            wish = min(wish, max(room, 0.0) * 0.6 / style.patience)
        if pause_at >= 0 and t >= pause_at:
            wish = 0.0
            if t > pause_at + pause_length:
                pause_at = t + int(rng.integers(60, 120))
        throttle = (wish - speed) * 0.6
        throttle = throttle if throttle > 0 else throttle * _PULL / _BRAKE
        steer += style.steer_noise * steer_noise() + style.weave * np.sin(phase + rate * t)
        throttle += style.throttle_noise * throttle_noise()
        return np.clip(np.array([steer, throttle]), -1, 1).astype(np.float32)

    return act


def _random(seed: int) -> Policy:
    rng = np.random.default_rng((seed, 21))
    steer, throttle = _Smooth(rng, 0.9), _Smooth(rng, 0.93)
    size, lean = rng.uniform(0.08, 0.4), rng.uniform(0.0, 0.3)

    def act(obs: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
        action = np.array([size * steer(), lean + 0.5 * throttle()])
        return np.clip(action, -1, 1).astype(np.float32)

    return act


def _lane_follower(seed: int) -> Policy:
    rng = np.random.default_rng((seed, 22))
    return _drive(_Style(cruise=rng.uniform(7, 11), turn_speed=rng.uniform(4.4, 5.6)), rng)


def _expert(seed: int) -> Policy:
    style = _Style(cruise=8.0, turn_speed=4.8, patience=1.15, heeds_target=True)
    return _drive(style, np.random.default_rng((seed, 25)))


def _novice(seed: int) -> Policy:
    rng = np.random.default_rng((seed, 26))
    style = _Style(
        cruise=rng.uniform(4, 12),
        turn_speed=rng.uniform(4.5, 6.5),
        steer_noise=rng.uniform(0.15, 0.3),
        throttle_noise=rng.uniform(0.3, 0.6),
        patience=0.8,
        heeds_lights=rng.random() < 0.3,
    )
    return _drive(style, rng)


def _aggressive(seed: int) -> Policy:
    rng = np.random.default_rng((seed, 23))
    style = _Style(
        cruise=rng.uniform(11, 14.5),
        turn_speed=rng.uniform(5.2, 6.4),
        steer_noise=rng.uniform(0.02, 0.07),
        throttle_noise=0.2,
        weave=rng.uniform(0.02, 0.08),
        patience=0.75,
        heeds_lights=False,
    )
    return _drive(style, rng)


def _mixture(seed: int) -> Policy:
    rng = np.random.default_rng((seed, 24))
    kind, inner = rng.random(), int(rng.integers(1 << 30))
    if kind < 0.45:
        style = _Style(
            cruise=rng.uniform(5.5, 12),
            turn_speed=rng.uniform(4.2, 5.6),
            steer_noise=rng.uniform(0.03, 0.18),
            throttle_noise=rng.uniform(0.1, 0.5),
            heeds_lights=rng.random() < 0.5,
        )
        return _drive(style, rng)
    if kind < 0.70:
        style = _Style(
            cruise=rng.uniform(5.5, 13),
            turn_speed=rng.uniform(4, 5.6),
            pauses=rng.random() < 0.4,
            heeds_lights=rng.random() < 0.6,
        )
        return _drive(style, rng)
    return _aggressive(inner) if kind < 0.92 else _random(inner)


POLICIES: dict[str, Callable[[int], Policy]] = {
    "random": _random,
    "novice": _novice,
    "lane_follower": _lane_follower,
    "expert": _expert,
    "aggressive": _aggressive,
    "mixture": _mixture,
}
"""Makers of drivers by name."""
