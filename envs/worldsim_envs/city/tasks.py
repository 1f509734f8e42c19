"""What one may be asked to do in the city: keep the lane at a speed, or follow a route to its goal.

A task changes rewards, ends and `info["task"]`; world, pictures and actions are those of `worldsim/City-v0`.
"""

from __future__ import annotations

import math
from typing import Any

from worldsim_envs.city.layout import Layout
from worldsim_envs.city.state import CityState

__all__ = ["TASKS", "goal_of", "order_of", "task_info", "task_terms"]

TASKS = ("lane_follow", "route")
LANE_LENGTH = 100.0  # m without a fault, with which lane keeping is a success
_JUNCTIONS = 3  # of a route
_BEYOND = 15.0  # m behind the last junction, where the goal is
_NEAR_TURN = 40.0  # m, from where on an instruction names a turn


def goal_of(layout: Layout, task: str, route: tuple[int, int, int, float, int]) -> float:
    """Return metres along the ego's route to where a task is done; 0 without a task."""
    if task == "route":
        return float(layout.route(*route).stops[_JUNCTIONS - 1, 1]) + _BEYOND
    return LANE_LENGTH if task == "lane_follow" else 0.0


def task_terms(
    task: str, state: CityState, progress: float, offset: float, target_speed: float, hit: bool, lost: bool
) -> dict[str, float]:
    """Return the terms of a step's reward.

    Args:
        task: One of TASKS, or nothing.
        state: After the step.
        progress: Metres along the lane in this step.
        offset: Metres beside the middle of the lane.
        target_speed: m/s.
        hit: Whether something was hit.
        lost: Whether the route was left for good.
    """
    crash = -5.0 if hit else 0.0
    if task == "lane_follow":
        lane = 0.5 * math.exp(-((offset / 0.6) ** 2))
        speed = 0.5 * max(1 - abs(state.speed - target_speed) / target_speed, 0.0)
        return {"lane": lane, "speed": speed, "collision": crash}
    terms = {"progress": 0.1 * progress, "collision": crash}
    if task == "route":
        terms |= {"goal": 10.0 if state.is_done else 0.0, "lost": -5.0 if lost else 0.0}
    return terms


def order_of(layout: Layout, state: CityState) -> tuple[str, float]:
    """Return what comes next on the ego's route, left, right, straight or goal, and how many metres ahead."""
    stops = layout.route(*state.route).stops
    for line, leave, _, _, _, turn in stops.tolist():
        if leave > state.progress:
            if state.task == "route" and leave > state.goal:
                break
            return {1: "left", -1: "right", 0: "straight"}[int(turn)], max(line - state.progress, 0.0)
    return "goal", max(state.goal - state.progress, 0.0)


def task_info(layout: Layout, state: CityState, target_speed: float) -> tuple[dict[str, Any], str]:
    """Return `info["task"]`, and the instruction of the moment: left, right, straight, goal or lane."""
    turn, ahead = order_of(layout, state)
    gone = state.progress if state.task == "route" else state.travelled
    facts = {
        "name": state.task,
        "distance_left": max(state.goal - gone, 0.0),
        "is_success": state.is_done,
        "next_turn": turn,
        "next_turn_distance": ahead,
        "target_speed": target_speed,
    }
    if state.task == "lane_follow":
        return facts, "lane"
    return facts, turn if turn == "goal" or ahead < _NEAR_TURN else "straight"
