"""Where the ego is to go: its route, how far it has come on it, and what a driver needs to know of the way ahead."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from worldsim_envs.city.events import light_ahead
from worldsim_envs.city.layout import Layout
from worldsim_envs.city.state import CityState, middle
from worldsim_envs.city.traffic import gap_ahead

__all__ = ["follow", "lane_offset", "leader", "route_info", "way_ahead"]

_LOST, _FAR_OFF = 4.5, 15.0  # m from the route: another one is planned, or a task's route is given up


def way_ahead(layout: Layout, state: CityState) -> np.ndarray:
    """Return the next 22 m of the ego's route, one point per metre, (22, 4)."""
    points = layout.route(*state.route).points
    start = round(state.progress)
    return points[start : start + 22]


def follow(layout: Layout, state: CityState, *, is_fixed: bool) -> tuple[CityState, bool]:
    """Return the state with its progress along the route brought up to date, and whether the route is lost.

    Args:
        layout: The map.
        state: The state, with the ego moved.
        is_fixed: Whether the route must stay as it is; else another one begins where the ego has strayed to.
    """
    x, y, yaw = middle(state)
    points = layout.route(*state.route).points
    start = max(int(state.progress) - 3, 0)
    near = points[start : start + 14]
    apart = (near[:, 0] - x) ** 2 + (near[:, 1] - y) ** 2
    best = int(np.argmin(apart))
    at = near[best]
    lost = apart[best] > _LOST**2 or np.cos(at[2] - yaw) < 0 or start + best > len(points) - 40
    if lost and not is_fixed:
        i, j, direction, skip = layout.nearest_street(x, y, yaw)
        return replace(state, route=(i, j, direction, round(skip, 3), state.step), progress=0.0), False
    along = (x - at[0]) * np.cos(at[2]) + (y - at[1]) * np.sin(at[2])
    progress = float(start + best + np.clip(along, -0.5, 0.5))
    return replace(state, progress=progress), bool(apart[best] > _FAR_OFF**2)


def _obstacles(state: CityState) -> np.ndarray:
    """Return where cars and then people on the carriageway are, (N, 2)."""
    at = [car.pose[:2] for car in state.cars] + [one.pose[:2] for one in state.walkers if one.is_crossing]
    return np.array(at).reshape(-1, 2)


def leader(points: np.ndarray, state: CityState) -> int | None:
    """Return the slot of the car that stands or drives first on the way ahead."""
    if not state.cars:
        return None
    distance, index = gap_ahead(points[2:], _obstacles(state))
    return state.cars[index].slot if distance < 100 and index < len(state.cars) else None


def lane_offset(points: np.ndarray, x: float, y: float) -> float:
    """Return metres to the left of the lane that begins at the first of ``points``."""
    px, py, heading, _ = points[0].tolist()
    return float(np.sin(heading) * (px - x) - np.cos(heading) * (py - y))


def route_info(layout: Layout, state: CityState) -> dict[str, Any]:
    """Return what a driver needs: where the lane leads, in the ego's frame, and what stands in it."""
    x, y, yaw = middle(state)
    points = way_ahead(layout, state)
    c, s = math.cos(yaw), math.sin(yaw)
    dx, dy = points[:, 0] - x, points[:, 1] - y
    local = np.stack([c * dx + s * dy, c * dy - s * dx], axis=1)  # (22, 2) forward, left
    error = float(np.arctan2(np.sin(yaw - points[0, 2]), np.cos(yaw - points[0, 2])))
    bend = points[:14, 3]
    light = light_ahead(layout, state)
    return {
        "speed": state.speed,
        "offset": lane_offset(points, x, y),
        "heading_error": error,
        "curvature": float(bend[np.argmax(np.abs(bend))]),
        "gap": gap_ahead(points[2:], _obstacles(state))[0] + 2.0,
        "points": local[2::2].copy(),
        "light": {"distance": light[1], "color": light[2]} if light else {"distance": 100.0, "color": "none"},
    }
