"""From where the city is seen, and what its masks and its state vector call the things in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import gymnasium as gym
import numpy as np

from worldsim_envs.city.paint import CAR_COLORS, PALETTE, atlas, tile_of
from worldsim_envs.city.traffic import NUM_CARS
from worldsim_envs.city.walkers import NUM_WALKERS
from worldsim_envs.city.weather import Conditions
from worldsim_envs.modes import ClassRow
from worldsim_envs.rig import Camera

__all__ = [
    "BODIES",
    "CAMERAS",
    "CLASSES",
    "KINDS",
    "LIGHT",
    "OUTSIDE",
    "camera_of",
    "class_id",
    "label_atlas",
    "light_numbers",
    "plain_modes",
]

CAMERAS = {"front": 90.0, "left": 90.0, "right": 90.0, "rear": 90.0, "chase": 70.0, "birds_eye": 60.0}
"""Vertical field of view by camera, degrees. The first four are at the ego's middle, 1.4 m up; the chase camera is 8 m
behind and 3.6 m up; the bird's-eye camera is 38 m up, and the ego's nose points to the top of its image."""
OUTSIDE = ("chase", "birds_eye")
"""Cameras that see the ego car itself."""
BODIES = (
    "ego",
    *(f"car{k}" for k in range(max(NUM_CARS.values()))),
    *(f"pedestrian{k}" for k in range(max(NUM_WALKERS.values()))),
)
"""Names of the bodies in the order of the state vector; instance ids are places from 1."""
KINDS = ("nothing", "ground", "block", "vehicle", "pedestrian", "traffic light")
"""Sorts of bodies, in the order of their ids in the mode ``kind``; houses, trees and parked cars are in blocks."""
LIGHT = (
    "sun_x", "sun_y", "sun_z", "tan_half_fov", "sun_height", "cloud", "rain", "wetness", "fog", "pitch", "headlights",
)  # fmt: skip
"""Numbers of the mode ``light``: direction to the light in the camera's axes (x right, y down, z forward), tangent of
half the vertical field of view, the sun's height / 90 deg, the weather, the camera's pitch / 90 deg, and whether the
camera looks where the headlights shine."""
HEIGHT, PITCH = 1.4, float(np.radians(-5.0))  # m, rad
_TURNS = {"front": 0.0, "left": math.pi / 2, "right": -math.pi / 2, "rear": math.pi}  # rad

_PARTS = {
    # class: its colour in pictures of masks, and the colours of PALETTE that are it
    "sky": ((120, 170, 230), ()),
    "road": ((96, 60, 110), ("asphalt", "patch")),
    "mark": ((240, 240, 240), ("mark",)),
    "pavement": ((226, 90, 200), ("kerb", "pavement")),
    "building": ((128, 110, 100), ("roof", "roof2")),
    "park": ((150, 240, 150), ("grass", "path")),
    "tree": ((40, 120, 40), ("trunk", "leaf", "leaf2")),
    "vehicle": ((20, 40, 160), ("glass", "tyre", "tail", "brake", "braking", *CAR_COLORS)),
    "pedestrian": ((220, 30, 60), ("skin", "trousers")),
    "traffic light": ((250, 170, 30), ("housing", "red_light", "yellow_light", "green_light")),
    "pole": ((153, 153, 153), ("pole", "lamp")),
}
CLASSES = tuple(ClassRow(name, rgb) for name, (rgb, _) in _PARTS.items())


def class_id(name: str) -> int:
    """Return the id of a class."""
    return list(_PARTS).index(name)


@cache
def label_atlas() -> np.ndarray:
    """Return the class of every texel of `atlas`, (S, S) uint8; facades are buildings."""
    labels = np.full(atlas().shape[:2], class_id("building"), np.uint8)
    for name, (_, colors) in _PARTS.items():
        for color in colors:
            rows, columns = tile_of(color)
            labels[rows, columns] = class_id(name)
    assert {color for _, colors in _PARTS.values() for color in colors} == {*PALETTE, *CAR_COLORS}
    return labels


def camera_of(x: float, y: float, yaw: float, name: str) -> Camera:
    """Return where a camera of CAMERAS is while the ego's middle has a pose."""
    if name == "chase":
        return Camera((x - 8 * math.cos(yaw), y - 8 * math.sin(yaw), 3.6), yaw, math.radians(-12), fov=CAMERAS[name])
    if name == "birds_eye":
        return Camera((x, y, 38.0), yaw, -math.pi / 2, fov=CAMERAS[name])
    return Camera((x, y, HEIGHT), yaw + _TURNS[name], PITCH)


def light_numbers(camera: Camera, sun: Sequence[float], conditions: Conditions, headlights: bool) -> np.ndarray:
    """Return the numbers of LIGHT, (11,) float32.

    Args:
        camera: One of CAMERAS, as placed.
        sun: Direction to the light in the world, a unit vector.
        conditions: Sun and weather of the moment.
        headlights: Whether the camera looks where they shine.
    """
    fov = CAMERAS["front"] if camera.fov is None else camera.fov
    weather = (conditions.cloud, conditions.rain, conditions.wetness, conditions.fog)
    lens = (2 * camera.pitch / math.pi, float(headlights))
    toward = camera.c2w()[:3, :3].T @ np.asarray(sun)
    half = math.tan(math.radians(fov) / 2)
    return np.array([*toward, half, conditions.sun_height / 90, *weather, *lens], np.float32)


def plain_modes(height: int, width: int) -> dict[str, gym.spaces.Box]:
    """Return the spaces of the modes that a renderer draws from: ``plain``, ``kind`` and ``light``."""
    return {
        "plain": gym.spaces.Box(0, 255, (height, width, 3), np.uint8),
        "kind": gym.spaces.Box(0, len(KINDS) - 1, (height, width), np.uint8),
        "light": gym.spaces.Box(-4.0, 4.0, (len(LIGHT),), np.float32),
    }
