"""What an env shows: colour, depth, classes, instances and states, of any of its cameras at one instant.

An env says what it offers; `Modes` turns the choice of a constructor into an observation space and fills it. Colour of
one camera alone is the frame itself; anything more is a flat Dict with keys "mode/camera", "state" and "lidar".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from worldsim.errors import EnvError
from worldsim.rollout import STATE_DIM
from worldsim_envs.lidar import NUM_BEAMS, REACH
from worldsim_envs.rig import FAR, Camera
from worldsim_envs.scene import frame_intrinsics

__all__ = ["OBS_MODES", "ClassRow", "Modes", "Obs", "Shot", "ids_of", "things_at"]

OBS_MODES = ("rgb", "depth", "semantic", "instance", "state")
STATE_PARTS = ("pos", "quat", "vel", "ang")
_LARGEST = 1e6  # in any unit: spaces without bounds draw warnings from the ecosystem's checkers
_BLUNT = 0.1  # m below FAR, within which a depth in 32 bits cannot be told from nothing
_TOUCH = 0.15
"""Metres by which a pixel's point may lie outside of the box that it belongs to."""

Obs = np.ndarray | dict[str, np.ndarray]
"""A frame, or arrays by key."""


class ClassRow(NamedTuple):
    """One class of the semantic masks; its id is its place in the env's table, where 0 is what holds nothing."""

    name: str
    rgb: tuple[int, int, int]
    """Colour that pictures of masks give it."""


class Shot(NamedTuple):
    """What one camera sees at one instant."""

    rgb: np.ndarray
    """(H, W, 3) uint8."""
    depth: np.ndarray
    """(H, W) float32, metres along the optical axis; FAR where nothing is."""
    semantic: np.ndarray | None = None
    """(H, W) uint8 class ids, if they are asked for."""
    instance: np.ndarray | None = None
    """(H, W) int32 ids of things, 0 = none, if they are asked for."""
    plain: np.ndarray | None = None
    """(H, W, 3) uint8 under even white light, without weather, if that is asked for."""
    kind: np.ndarray | None = None
    """(H, W) uint8, what sort of body each pixel shows, if that is asked for."""
    light: np.ndarray | None = None
    """(K,) float32 numbers of light, lens and weather, if they are asked for."""


class Modes:
    """A constructor's choice of modes and cameras, the space it makes, and the observations in it.

    Args:
        obs_modes: Some of OBS_MODES and of the env's own.
        cameras: Names of cameras; the first is the one that `render` shows.
        offered: Vertical field of view, degrees, of every camera that the env has, by name.
        classes: The semantic classes; ids are indices.
        bodies: Names of the bodies of the state vector, in its order.
        height, width: Frame size in pixels.
        lidar: Whether ranges are observed too.
        own: Space of one camera's array, by name of a mode that only this env offers.

    Raises:
        EnvError: If a mode or a camera is unknown, named twice, or there is none.
    """

    def __init__(
        self,
        obs_modes: Iterable[str],
        cameras: Iterable[str],
        *,
        offered: Mapping[str, float],
        classes: Sequence[ClassRow],
        bodies: Sequence[str],
        height: int,
        width: int,
        lidar: bool = False,
        own: Mapping[str, gym.spaces.Box] | None = None,
    ) -> None:
        own = own or {}
        self.obs_modes = _chosen("obs_modes", obs_modes, (*OBS_MODES, *own))
        self.cameras = _chosen("cameras", cameras, tuple(offered))
        self._offered, self._classes, self._bodies = dict(offered), tuple(classes), tuple(bodies)
        self._size = (height, width)
        self.lidar = lidar
        self._k = {name: frame_intrinsics(fov, height, width) for name, fov in self._offered.items()}
        self._is_frame = self.obs_modes == ("rgb",) and len(self.cameras) == 1 and not lidar
        images = {
            "rgb": gym.spaces.Box(0, 255, (height, width, 3), np.uint8),
            "depth": gym.spaces.Box(0, FAR, (height, width), np.float32),
            "semantic": gym.spaces.Box(0, len(classes) - 1, (height, width), np.uint8),
            "instance": gym.spaces.Box(0, np.iinfo(np.int32).max, (height, width), np.int32),
            **own,
        }
        spaces = {f"{mode}/{name}": images[mode] for mode in self.obs_modes if mode in images for name in self.cameras}
        if "state" in self.obs_modes:
            spaces["state"] = gym.spaces.Box(-_LARGEST, _LARGEST, (STATE_DIM * len(self._bodies),), np.float32)
        if lidar:
            spaces["lidar"] = gym.spaces.Box(0, REACH, (NUM_BEAMS,), np.float32)
        self.space: gym.Space = images["rgb"] if self._is_frame else gym.spaces.Dict(spaces)

    def wants(self, mode: str) -> bool:
        """Return whether a mode is observed."""
        return mode in self.obs_modes

    @property
    def palette(self) -> np.ndarray:
        """Colours of the classes, (N, 3) uint8, so that ``palette[mask]`` is a picture."""
        return np.array([row.rgb for row in self._classes], np.uint8)

    def observe(
        self,
        shots: Mapping[str, Shot],
        state: Mapping[str, Any] | None = None,
        lidar: np.ndarray | None = None,
    ) -> Obs:
        """Return an observation in the space.

        Args:
            shots: What each of the chosen cameras sees.
            state: `info["state"]`, if the state is observed; its names are among ``bodies``.
            lidar: Ranges in metres, if they are observed.
        """
        if self._is_frame:
            return shots[self.cameras[0]].rgb
        obs: dict[str, np.ndarray] = {}
        for mode in self.obs_modes:
            if mode == "state":
                assert state is not None
                obs["state"] = self._state_vector(state)
            else:
                obs |= {f"{mode}/{name}": getattr(shots[name], mode) for name in self.cameras}
        for name in self.cameras if self.wants("depth") else ():
            depth = obs[f"depth/{name}"]
            obs[f"depth/{name}"] = np.where(depth > FAR - _BLUNT, np.float32(FAR), depth)
        if lidar is not None:
            obs["lidar"] = lidar
        return obs

    def copied(self, obs: Obs) -> Obs:
        """Return an observation that shares no memory with another."""
        return {key: value.copy() for key, value in obs.items()} if isinstance(obs, dict) else obs.copy()

    def poses(self, cameras: Mapping[str, Camera]) -> dict[str, Any]:
        """Return `info["camera"]`: {"K", "c2w"} of one camera, or that by name of several.

        Args:
            cameras: Where the chosen cameras are; each has the field of view that the env offers under its name.
        """
        told = {name: {"K": self._k[name].copy(), "c2w": camera.c2w()} for name, camera in cameras.items()}
        return told if len(told) > 1 else next(iter(told.values()))

    def card(self) -> dict[str, Any]:
        """Return the part of a scene card about what can be seen: "cameras", "semantic" and "state"."""
        height, width = self._size
        return {
            "cameras": {
                name: {"fov_deg": fov, "size": [height, width], "K": self._k[name].tolist()}
                for name, fov in self._offered.items()
            },
            "semantic": [{"id": k, "name": row.name, "rgb": list(row.rgb)} for k, row in enumerate(self._classes)],
            "state": {"bodies": list(self._bodies), "row": list(STATE_PARTS), "row_length": STATE_DIM},
        }

    def _state_vector(self, state: Mapping[str, Any]) -> np.ndarray:
        rows = np.zeros((len(self._bodies), STATE_DIM), np.float32)
        for row, name in zip(rows, self._bodies, strict=True):
            if name in state:
                row[:] = np.concatenate([state[name][part] for part in STATE_PARTS])
        return rows.ravel()


def ids_of(seen: np.ndarray, table: Mapping[int, int]) -> np.ndarray:
    """Return what a table says of each pixel's body (`View.body`), (H, W) int32; 0 where it says nothing."""
    keys = np.array(sorted(table))
    values = np.array([table[key] for key in keys.tolist()], np.int32)
    at = np.minimum(np.searchsorted(keys, seen), len(keys) - 1)
    return np.where(keys[at] == seen, values[at], np.int32(0))


def things_at(points: np.ndarray, centres: np.ndarray, halves: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Return which thing each point belongs to, (H, W) int32: the nearest box, 0 if none is within 0.15 m.

    Args:
        points: (H, W, 3) world points of a depth frame, metres.
        centres, halves: (N, 3) boxes along the world's axes, metres.
        ids: (N,) what each box is part of.
    """
    found, nearest = np.zeros(points.shape[:2], np.int32), np.full(points.shape[:2], _TOUCH)
    for centre, half, thing in zip(centres, halves, ids, strict=True):
        apart = (np.abs(points - centre) - half).max(axis=-1)  # (H, W)
        closer = apart < nearest
        found[closer], nearest[closer] = thing, apart[closer]
    return found


def _chosen(what: str, asked: Iterable[str], offered: Sequence[str]) -> tuple[str, ...]:
    names = () if isinstance(asked, str) or not isinstance(asked, Iterable) else tuple(asked)
    is_known = all(isinstance(name, str) and name in offered for name in names)
    if not names or not is_known or len(set(names)) < len(names):
        raise EnvError(f"{what} must be one or more of {', '.join(offered)}, each once, as a list; got {asked!r}")
    return names
