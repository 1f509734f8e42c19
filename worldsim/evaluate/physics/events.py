"""What happens in a scenario, as yes or no, read from positions: the same rules for the truth and for a model.

Rules read positions in the plane of motion only, (F, N, 3) metres with NaN where an object is not seen, so that a truth
known to the last digit and a model seen through a camera are asked the same question.
"""

from __future__ import annotations

import numpy as np

from worldsim.evaluate.physics.clip import Clip

__all__ = ["DROP", "events_of", "fall_times", "task_reached"]

DROP = 0.15
"""Metres by which the centre of something that fell is lower than it was."""
_MOVED = 0.15  # m in the horizon
_MOVED_BENEATH = 0.25  # m, where the camera moves and every picture of a box is another one
_REACHED = 0.15  # m from the goal
_TOUCH = 1.12  # of the sum of two radii


def events_of(clip: Clip, world: np.ndarray) -> dict[str, bool]:
    """Return what happens after the context.

    Args:
        clip: Says the scenario, the bodies and where they are in the last context frame.
        world: (F, N, 3) positions of ``clip.objects``.

    Returns:
        Name of the event to whether it happens; an object that is never seen after the context does nothing.
    """
    names = [body.name for body in clip.objects]
    start = clip.num_context - 1
    begun = np.stack([clip.state[name][start, :3] for name in names])  # (N, 3)
    after = world[start + 1 :]
    found: dict[str, bool] = {}
    far = _MOVED_BENEATH if clip.scenario == "camera" else _MOVED
    for k, name in enumerate(names):
        path = after[np.isfinite(after[:, k, 0]), k]
        found[f"{name} moves"] = len(path) > 0 and float(np.linalg.norm(path - begun[k], axis=1).max()) > far
        if clip.scenario in ("stack", "support_removal"):
            found[f"{name} falls"] = len(path) > 0 and float(path[-1, 2]) < begun[k, 2] - DROP
        if clip.scenario == "dominoes":
            found[f"{name} falls"] = bool(np.isfinite(fall_times(clip, world)[k]))
    if clip.scenario in ("collision_1d", "collision_2d", "clutter", "containment", "two_drops"):
        for i in range(len(names)):
            for j in range(i + 1, len(names)):
                found[f"{names[i]} meets {names[j]}"] = _meet(clip, after, i, j)
    if clip.scenario == "solid_wall":
        wall = clip.state["wall"][start, :3]
        side = np.sign(begun[0, 0] - wall[0])
        x = after[np.isfinite(after[:, 0, 0]), 0, 0]
        found["a passes the wall"] = len(x) > 0 and bool(side * (x[-1] - wall[0]) < 0)
    if clip.scenario == "containment":
        tray, half = clip.state["tray"][-1, :3], clip.bodies["tray"].half
        for k, name in enumerate(names):
            path = after[np.isfinite(after[:, k, 0]), k]
            found[f"{name} stays inside"] = len(path) > 0 and abs(float(path[-1, 0] - tray[0])) < half[0]
    return found


def _meet(clip: Clip, after: np.ndarray, i: int, j: int) -> bool:
    apart = np.linalg.norm(after[:, i] - after[:, j], axis=1)
    if not np.isfinite(apart).any():
        return False
    return bool(np.nanmin(apart) < _TOUCH * (_reach(clip, i) + _reach(clip, j)))


def _reach(clip: Clip, k: int) -> float:
    """Return the radius of a ball, or of the circle as large as a box's footprint, metres."""
    body = clip.objects[k]
    return body.radius if body.shape == "ball" else float(np.sqrt(body.half[0] * body.half[1] * 4 / np.pi))


def fall_times(clip: Clip, world: np.ndarray) -> np.ndarray:
    """Return when each object has fallen, (N,) seconds since the clip's first frame; NaN if never.

    Only falls after the context count; one that lay already has none.
    """
    heights = world[:, :, 2]
    times = np.full(heights.shape[1], np.nan)
    for k, body in enumerate(clip.objects):
        first = float(clip.state[body.name][0, 2])
        low = np.flatnonzero(np.nan_to_num(heights[:, k], nan=np.inf) < first - DROP)
        if len(low) and low[0] >= clip.num_context:
            times[k] = low[0] * clip.dt
    return times


def task_reached(clip: Clip, world: np.ndarray) -> bool | None:
    """Return whether the first object is at its goal when last seen; None without a goal."""
    if clip.goal is None:
        return None
    path = world[clip.num_context :, 0]
    path = path[np.isfinite(path[:, 0])]
    return len(path) > 0 and float(np.linalg.norm(path[-1, :2] - np.array(clip.goal[:2]))) < _REACHED
