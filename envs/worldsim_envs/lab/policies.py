"""Who acts on the bench: functions from (obs, info) to an action, each made from a seed.

They read ``info["task"]``, ``info["state"]`` and the scenario's name. ``noop`` lets physics run; ``random`` moves
everything smoothly; the others know one scenario each and do nothing in the rest. ``expert`` picks the right one,
``clumsy`` is an expert with a shaking hand, and ``mixture``, where data comes from, is some of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import atan2, cos, pi, sin
from typing import Any

import numpy as np

from worldsim.rollout import Policy
from worldsim_envs.lab.world import ACTIONS, HAND_SPEED, MAX_BRAKE, MAX_PULL, MAX_STEER, WHEELBASE

__all__ = ["POLICIES"]

_INDEX = {name: k for k, name in enumerate(ACTIONS)}
_HAND = slice(_INDEX["hand_x"], _INDEX["hand_z"] + 1)

Info = Mapping[str, Any]


def _action(**values: float) -> np.ndarray:
    action = np.zeros(len(ACTIONS), np.float32)
    for name, value in values.items():
        action[_INDEX[name]] = min(max(value, -1.0), 1.0)
    return action


def _toward(here: np.ndarray, there: np.ndarray, pace: float) -> dict[str, float]:
    """Return hand speeds that approach a point, slower when near."""
    wish = (there - here) / 0.10  # m/s; arrives within about two steps
    size = float(np.linalg.norm(wish))
    wish *= min(1.0, pace * HAND_SPEED / max(size, 1e-9))
    return dict(zip(("hand_x", "hand_y", "hand_z"), (wish / HAND_SPEED).tolist(), strict=True))


def _in(scenario: str, act: Callable[[Info], np.ndarray]) -> Policy:
    """Return a policy that acts in one scenario and keeps still elsewhere."""

    def policy(obs: np.ndarray, info: Info) -> np.ndarray:
        return act(info) if info["variation"]["scenario"] == scenario else _action()

    return policy


def _noop(seed: int) -> Policy:
    return lambda obs, info: _action()


def _random(seed: int) -> Policy:
    rng = np.random.default_rng((seed, 31))
    keep, size = 0.9, rng.uniform(0.2, 0.6)
    value = rng.normal(size=len(ACTIONS))

    def policy(obs: np.ndarray, info: Info) -> np.ndarray:
        nonlocal value
        value = keep * value + (1 - keep**2) ** 0.5 * rng.normal(size=len(ACTIONS))
        return np.clip(size * value, -1, 1).astype(np.float32)

    return policy


def _kick(seed: int) -> Policy:
    """One or two pushes at the first body, of a few steps each."""
    rng = np.random.default_rng((seed, 32))
    begins = rng.integers(5, 70, size=2)
    lengths, sizes = rng.integers(1, 5, size=2), rng.uniform(0.3, 1.0, size=2) * rng.choice([-1, 1], size=2)
    t = -1

    def policy(obs: np.ndarray, info: Info) -> np.ndarray:
        nonlocal t
        t += 1
        now = (begins <= t) & (t < begins + lengths)
        return _action(impulse=float(sizes[now][0]) if now.any() else 0.0)

    return policy


def _push(seed: int) -> Policy:
    """Go behind the block as seen from the goal, then push along the line to it."""
    pace = np.random.default_rng((seed, 33)).uniform(0.5, 0.8)

    def act(info: Info) -> np.ndarray:
        hand, block = info["state"]["hand"]["pos"], info["state"]["a"]["pos"][:2]
        line = info["task"]["goal"][:2] - block
        left = float(np.linalg.norm(line))
        if left < 0.09:
            return _action()
        line /= left
        across = np.array([-line[1], line[0]])
        behind, aside = float((block - hand[:2]) @ line), float((hand[:2] - block) @ across)
        if behind > 0.25 and abs(aside) < 0.08:
            speed = line * min(pace, 0.1 + left) - across * aside * 3.0
            return _action(hand_x=float(speed[0]), hand_y=float(speed[1]))
        waypoint = block - line * 0.6
        if behind < 0.45:  # beside or before the block: around it, not through
            waypoint += across * (0.6 if aside >= 0 else -0.6)
        return _action(**_toward(hand, np.array([*waypoint, hand[2]]), pace))

    return _in("push", act)


def _pick_place(seed: int) -> Policy:
    """Come from above, close, lift, carry, set down, open."""
    pace = np.random.default_rng((seed, 34)).uniform(0.6, 0.95)
    stage, waited = 0, 0

    def act(info: Info) -> np.ndarray:
        nonlocal stage, waited
        hand, block, goal = info["state"]["hand"]["pos"], info["state"]["a"]["pos"], info["task"]["goal"]
        points = (
            np.array([block[0], block[1], 0.75]),
            np.array([block[0], block[1], 0.08]),
            None,
            np.array([hand[0], hand[1], 0.55]),
            np.array([goal[0], goal[1], 0.55]),
            np.array([goal[0], goal[1], 0.085]),
            None,
            np.array([goal[0], goal[1], 0.9]),
        )
        point = points[min(stage, len(points) - 1)]
        if point is None:
            waited += 1
            grip = 1.0 if stage == 2 else -1.0
            if waited >= 9:
                stage, waited = stage + 1, 0
            return _action(grip=grip)
        if float(np.abs(hand - point).max()) < 0.03 and stage < len(points) - 1:
            stage += 1
        return _action(**_toward(hand, point, pace))

    return _in("pick_place", act)


def _cart(seed: int) -> Policy:
    """Steer at the mark, and brake as late as the friction that it guesses allows."""
    rng = np.random.default_rng((seed, 35))
    cruise, brake = rng.uniform(1.0, 2.2), rng.uniform(1.5, 3.5)  # m/s, m/s2

    def act(info: Info) -> np.ndarray:
        state, goal = info["state"]["a"], info["task"]["goal"]
        yaw = 2 * atan2(state["quat"][2], state["quat"][3])
        to = goal[:2] - state["pos"][:2]
        left = float(np.linalg.norm(to))
        speed = float(state["vel"][0] * cos(yaw) + state["vel"][1] * sin(yaw))
        aside = float(to[1] * cos(yaw) - to[0] * sin(yaw))
        wish = min(cruise, (2 * brake * max(left - 0.05, 0.0)) ** 0.5)
        if left < 0.6 and to[0] * cos(yaw) + to[1] * sin(yaw) < 0:
            wish = 0.0  # gone past
        pull = (wish - speed) / 0.15
        bend = 2 * aside / max(left * left, 0.3)  # 1/m, pure pursuit
        steer = np.arctan(WHEELBASE * bend) / MAX_STEER if left > 0.3 else 0.0
        return _action(throttle=pull / (MAX_PULL if pull > 0 else MAX_BRAKE), steer=float(steer))

    return _in("cart", act)


def _orbit(seed: int) -> Policy:
    """Look to one side and back, again and again."""
    rng = np.random.default_rng((seed, 36))
    size, period, sign = rng.uniform(0.3, 1.0), rng.uniform(40, 96), rng.choice([-1.0, 1.0])
    t = -1

    def act(info: Info) -> np.ndarray:
        nonlocal t
        t += 1
        return _action(camera=float(sign * size * np.sign(sin(2 * pi * (t + 0.5) / period))))

    return _in("camera", act)


def _expert(seed: int) -> Policy:
    skills = [make(seed) for make in (_push, _pick_place, _cart, _orbit)]
    return lambda obs, info: np.stack([skill(obs, info) for skill in skills]).sum(axis=0)


def _clumsy(seed: int) -> Policy:
    rng = np.random.default_rng((seed, 37))
    expert, noise, size = _expert(seed), _random(seed), rng.uniform(0.3, 1.2)

    def policy(obs: np.ndarray, info: Info) -> np.ndarray:
        return np.clip(expert(obs, info) + size * noise(obs, info), -1, 1).astype(np.float32)

    return policy


def _mixture(seed: int) -> Policy:
    """Leave half of the passive episodes alone and kick the others; act as an expert, a clumsy one, or by chance."""
    rng = np.random.default_rng((seed, 38))
    passive = _noop(seed) if rng.random() < 0.5 else _kick(seed)
    chance = rng.random()
    active = _expert(seed) if chance < 0.4 else _clumsy(seed) if chance < 0.75 else _random(seed)
    acting = ("push", "pick_place", "cart", "camera")

    def policy(obs: np.ndarray, info: Info) -> np.ndarray:
        return (active if info["variation"]["scenario"] in acting else passive)(obs, info)

    return policy


POLICIES: dict[str, Callable[[int], Policy]] = {
    "noop": _noop,
    "random": _random,
    "kick": _kick,
    "push": _push,
    "pick_place": _pick_place,
    "cart": _cart,
    "orbit": _orbit,
    "expert": _expert,
    "clumsy": _clumsy,
    "mixture": _mixture,
}
"""Makers of policies by name."""
