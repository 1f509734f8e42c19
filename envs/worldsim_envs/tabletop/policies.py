"""Who moves the arm: functions from (obs, info) to an action, each made from a seed.

They read ``info["task"]`` and ``info["state"]``. ``expert`` does each task from its true state; ``careless`` is an
expert that sees everything a few centimetres beside, ``clumsy`` one with a shaking hand; ``sweep`` pushes block a off
the table, ``random`` moves smoothly, ``noop`` does nothing, and ``mixture``, where data comes from, is some of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from worldsim.rollout import Policy
from worldsim_envs.tabletop.arm import MAX_MOVE
from worldsim_envs.tabletop.world import ACTIONS

__all__ = ["POLICIES"]

_HIGH = 0.17  # m, the finger tips above every block on the table
_LOW = 0.05  # m, the finger tips while they push
_SIZE = 0.125  # m, of the largest block of training
_PAUSE = 8  # steps of a task that is done, after which `mixture` plays on: still frames teach nothing

Info = Mapping[str, Any]


def _action(way: np.ndarray, close: float, pace: float = 1.0) -> np.ndarray:
    """Return the action that goes ``way`` metres, at most ``pace`` of full speed, and closes the fingers."""
    wish = np.array([*(way / MAX_MOVE), 0.0], np.float32)
    wish *= min(1.0, pace / max(float(np.linalg.norm(wish)), 1e-9))
    wish[3] = close
    return wish


def _where(info: Info, name: str) -> np.ndarray:
    return info["state"][name]["pos"]


def _reach(pace: float, miss: np.ndarray) -> Policy:
    return lambda obs, info: _action(info["task"]["goal"] + miss - _where(info, "hand"), 0.0, pace)


def _push(pace: float, miss: np.ndarray) -> Policy:
    return lambda obs, info: _pushed(info, info["task"]["goal"][:2] + miss[:2], pace)


def _pushed(info: Info, goal: np.ndarray, pace: float) -> np.ndarray:
    """Return the action that comes down behind block a as seen from a goal, fingers closed, and pushes towards it."""
    hand, block = _where(info, "hand"), _where(info, "a")[:2]
    line = goal - block
    left = float(np.linalg.norm(line))
    if left < 0.015:
        return _action(np.zeros(3), 1.0)
    line /= left
    across = np.array([-line[1], line[0]])
    behind, aside = float((block - hand[:2]) @ line), float((hand[:2] - block) @ across)
    room = 0.55 * _SIZE * float(np.abs(line).sum()) + 0.045
    if hand[2] < 0.1 and behind > 0.03 and abs(aside) < 0.04:
        way = line * min(left, pace * MAX_MOVE) - across * aside * 0.15
        return _action(np.array([*way, 0.0]), 1.0, pace)
    spot = block - line * room
    if np.linalg.norm(spot - hand[:2]) < 0.015:
        return _action(np.array([*(spot - hand[:2]), _LOW - hand[2]]), 1.0, pace)
    if hand[2] < _HIGH - 0.03:
        return _action(np.array([0.0, 0.0, _HIGH - hand[2]]), 1.0, pace)
    return _action(np.array([*spot, _HIGH]) - hand, 1.0, pace)


def _stack(pace: float, miss: np.ndarray) -> Policy:
    """Come from above, close, lift, carry over the other block, set down, open, leave; begin anew if a is lost."""
    stage, waited = 0, 0

    def policy(obs: np.ndarray, info: Info) -> np.ndarray:
        nonlocal stage, waited
        hand, block, goal = _where(info, "hand"), _where(info, "a"), info["task"]["goal"]
        if stage in (2, 3, 4) and np.linalg.norm(hand - block) > 0.1:
            stage, waited = 0, 0  # lost
        if stage == 0:  # above a, open
            way = np.array([*(block + miss)[:2], block[2] + 0.14]) - hand
            if np.linalg.norm(way[:2]) > 0.05:
                way[2] = max(way[2], 0.0)
            stage += bool(np.abs(way).max() < 0.012)
            return _action(way, -1.0, pace)
        if stage == 1:  # down and close
            way = np.array([*(block + miss)[:2], block[2]]) - hand
            if np.abs(way).max() > 0.012:
                return _action(way, -1.0, pace)
            waited += 1
            if waited >= 4:
                stage, waited = 2, 0
            return _action(np.zeros(3), 1.0)
        if stage == 2:  # up
            way = np.array([0.0, 0.0, goal[2] + 0.04 - block[2]])
            stage += bool(way[2] < 0.01)
            return _action(way, 0.5, 0.8 * pace)
        if stage == 3:  # across
            way = np.array([*(goal - block)[:2], goal[2] + 0.04 - block[2]])
            stage += bool(np.abs(way).max() < 0.008)
            waited += 1
            return _action(way, 0.5, pace * min(0.8, 0.2 * waited))  # a jerk would turn it between the fingers
        if stage == 4:  # down
            way = goal - block
            way[2] += 0.003
            waited += 1
            if abs(way[2]) < 0.004 or waited > 40:
                stage, waited = 5, 0
            return _action(way, 0.5, 0.6 * pace)
        if stage == 5:  # open
            waited += 1
            if waited >= 3:
                stage, waited = 6, 0
            return _action(np.zeros(3), -1.0)
        up = float(np.clip(goal[2] + 0.12 - hand[2], 0.0, 0.1))
        if up < 0.02 and not info["task"]["is_success"]:
            stage = 0
        return _action(np.array([0.0, 0.0, up]), 0.0, pace)

    return policy


_SKILLS = {"reach": _reach, "push": _push, "stack": _stack}


def _skilled(pace: float, miss: np.ndarray) -> Policy:
    skills = {task: make(pace, miss) for task, make in _SKILLS.items()}
    return lambda obs, info: skills[info["task"]["name"]](obs, info)


def _expert(seed: int) -> Policy:
    return _skilled(np.random.default_rng((seed, 41)).uniform(0.75, 1.0), np.zeros(3))


def _careless(seed: int) -> Policy:
    rng = np.random.default_rng((seed, 42))
    angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(0.015, 0.06)
    return _skilled(rng.uniform(0.75, 1.0), size * np.array([np.cos(angle), np.sin(angle), 0.0]))


def _clumsy(seed: int) -> Policy:
    rng = np.random.default_rng((seed, 43))
    expert, noise, size = _expert(seed), _random(seed), rng.uniform(0.3, 0.9)

    def policy(obs: np.ndarray, info: Info) -> np.ndarray:
        return np.clip(expert(obs, info) + size * noise(obs, info), -1, 1).astype(np.float32)

    return policy


def _sweep(seed: int) -> Policy:
    """Push block a over the front or the rear edge of the table."""
    rng = np.random.default_rng((seed, 46))
    pace, edge = rng.uniform(0.8, 1.0), rng.choice([-0.6, 0.6])
    return lambda obs, info: _pushed(info, np.array([_where(info, "a")[0], edge]), pace)


def _random(seed: int) -> Policy:
    rng = np.random.default_rng((seed, 44))
    keep, size = 0.85, rng.uniform(0.3, 0.8)
    value = rng.normal(size=len(ACTIONS))

    def policy(obs: np.ndarray, info: Info) -> np.ndarray:
        nonlocal value
        value = keep * value + (1 - keep**2) ** 0.5 * rng.normal(size=len(ACTIONS))
        return np.clip(size * value, -1, 1).astype(np.float32)

    return policy


def _noop(seed: int) -> Policy:
    return lambda obs, info: np.zeros(len(ACTIONS), np.float32)


def _mixture(seed: int) -> Policy:
    """Return one of the others, 45% of the time the expert; once the task is done, it plays on."""
    chance = np.random.default_rng((seed, 45)).random()
    shares = ((0.45, _expert), (0.58, _careless), (0.75, _clumsy), (0.9, _random), (1.0, _sweep))
    make = next(make for limit, make in shares if chance < limit)
    work, play, num_done = make(seed), _random(seed), 0

    def policy(obs: np.ndarray, info: Info) -> np.ndarray:
        nonlocal num_done
        num_done += info["is_success"]
        return (play if num_done > _PAUSE else work)(obs, info)

    return policy


POLICIES: dict[str, Callable[[int], Policy]] = {
    "noop": _noop,
    "random": _random,
    "clumsy": _clumsy,
    "careless": _careless,
    "expert": _expert,
    "sweep": _sweep,
    "mixture": _mixture,
}
"""Makers of policies by name."""
