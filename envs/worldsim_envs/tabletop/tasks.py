"""The three tasks: what each puts on the table, where its goal is, when it is done, and what a step was worth.

A task is data and functions of plain state rows. Lengths are in metres, masses in kilograms, angles in radians; the
table's top is at z = 0, x points right and y away from the side camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, dist, hypot, radians, sin
from typing import Any

import numpy as np

from worldsim_envs.lab.paint import color_of

__all__ = ["TABLE", "Block", "Setup", "build", "distances", "goal_now", "is_done", "potentials"]

TABLE = (0.50, 0.36)
"""Half extents of the table's top."""
HOME_Z = 0.26  # m, height of the hand at reset
REACHED, PUSHED, STACKED, LEVEL = 0.03, 0.04, 0.045, 0.012  # m from the goal that count as there; LEVEL is upwards
STILL = 0.05  # m/s
_BLOCK_NAMES = ("a", "b", "c", "d")

Vector = tuple[float, float, float]
Row = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A cube on the table."""

    name: str
    half: float
    """Half of its edge."""
    at: tuple[float, float]
    yaw: float
    mass: float
    friction: float
    """Between it and the table."""
    paint: str


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is on the table."""

    task: str
    blocks: tuple[Block, ...]
    hand: Vector
    """Where the middle between the finger tips begins."""
    goal: Vector
    """Where the hand (reach) or block a belongs; stack's goal is where b begins, moves with b, and is b's top plus half
    of a."""


def build(variation: Mapping[str, Any], rng: np.random.Generator) -> Setup:
    """Return the table of an episode; ``rng`` places only the blocks that no factor places."""
    v, task = variation, variation["task"]
    blocks: list[Block] = []
    if task == "reach":
        goal = (v["goal_x"], v["goal_y"], v["height"])
        taken = [(goal[0], goal[1])]
        extra = 1 + v["extra"]
    else:
        sign, angle, extra = (-1 if v["side"] == "left" else 1), radians(v["bearing"]), v["extra"]
        dx, dy = (part * v["distance"] / 2 for part in (cos(angle) * sign, sin(angle)))
        start, end = (v["centre_x"] + dx, v["centre_y"] + dy), (v["centre_x"] - dx, v["centre_y"] - dy)
        blocks.append(_block(0, v["size"], start, radians(v["yaw"]), v["mass"], v["friction"], v["hue"]))
        goal = (*end, v["size"] / 2)
        if task == "stack":
            blocks.append(_block(1, v["size_b"], end, 0.0, v["mass_b"], v["friction"], v["hue"]))
            goal = (*end, v["size_b"] + v["size"] / 2)
        taken = [(v["centre_x"] + k * dx, v["centre_y"] + k * dy) for k in (-1.0, -0.5, 0.0, 0.5, 1.0, 1.6, 2.2)]
    for index in range(len(blocks), len(blocks) + extra):
        size, place = float(rng.uniform(0.105, 0.125)), _free_place(rng, taken)
        taken.append(place)
        blocks.append(_block(index, size, place, float(rng.uniform(-0.2, 0.2)), 0.3, 0.6, v["hue"]))
    return Setup(task=task, blocks=tuple(blocks), hand=(v["hand_x"], v["hand_y"], HOME_Z), goal=goal)


def _block(
    index: int, size: float, at: tuple[float, float], yaw: float, mass: float, friction: float, hue: int
) -> Block:
    return Block(
        name=_BLOCK_NAMES[index],
        half=size / 2,
        at=at,
        yaw=yaw,
        mass=mass,
        friction=friction,
        paint=color_of(hue, index),
    )


def _free_place(rng: np.random.Generator, taken: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the place of many tried that is farthest from all others."""
    tried = np.stack([rng.uniform(-0.2, 0.34, 64), rng.uniform(-0.22, 0.24, 64)], axis=1)  # (64, 2)
    room = np.linalg.norm(tried[:, None] - np.array(taken), axis=2).min(axis=1)  # (64,)
    x, y = tried[np.flatnonzero(room > min(0.19, room.max() - 1e-9))[0]].tolist()
    return x, y


def goal_now(setup: Setup, rows: Mapping[str, Row]) -> Vector:
    """Return where the task's object belongs at this moment."""
    if setup.task != "stack":
        return setup.goal
    under, (over, below) = rows["b"], (block.half for block in setup.blocks[:2])
    return (under[0], under[1], under[2] + below + over)


def distances(setup: Setup, rows: Mapping[str, Row]) -> tuple[float, float]:
    """Return how far the hand is from the task's object, and the object from its goal, metres."""
    goal, hand = goal_now(setup, rows), rows["hand"]
    if setup.task == "reach":
        return 0.0, dist(hand[:3], goal)
    block = rows["a"]
    num_axes = 2 if setup.task == "push" else 3
    return dist(hand[:3], block[:3]), dist(block[:num_axes], goal[:num_axes])


def is_done(setup: Setup, rows: Mapping[str, Row], held: frozenset[str]) -> bool:
    """Return whether the task's goal is met: stack needs a to rest level on b, at rest and let go.

    Args:
        setup: What was put on the table.
        rows: State rows by body.
        held: What the gripper touches.
    """
    _, left = distances(setup, rows)
    if setup.task == "reach":
        return left < REACHED
    if setup.task == "push":
        return left < PUSHED and abs(rows["a"][2] - setup.goal[2]) < LEVEL
    over, goal = rows["a"], goal_now(setup, rows)
    aside, upwards = dist(over[:2], goal[:2]), abs(over[2] - goal[2])
    return aside < STACKED and upwards < LEVEL and "a" not in held and hypot(*over[7:10]) < STILL


def potentials(setup: Setup, rows: Mapping[str, Row], is_success: bool) -> dict[str, float]:
    """Return what a moment is worth in each term of the dense reward; a step earns the differences."""
    away, left = distances(setup, rows)
    return {"approach": -0.3 * away, "nearer": -left, "success": float(is_success)}
