"""From where the bench is seen, and what its masks and its state vector call the things on it."""

from __future__ import annotations

from math import cos, pi, radians, sin, tan

from worldsim_envs.lab.paint import PALETTE, SKY
from worldsim_envs.lab.setup import Setup
from worldsim_envs.modes import ClassRow
from worldsim_envs.rig import Camera

__all__ = ["BODIES", "CAMERAS", "CLASSES", "FOV", "camera_of", "class_of", "instance_of"]

FOV = 40.0  # deg
CAMERAS = {"front": FOV, "side": FOV, "top": FOV}
"""Vertical field of view by camera, degrees: the scenario's own, one further round to the right, one straight above."""
BODIES = (*"abcdefgh", "ramp", "screen", "wall", "support", "tray", "goal", "hand")
"""Every name that a body of the bench can have, in the order of the state vector; instance ids are places from 1."""
CLASSES = (
    ClassRow("nothing", SKY),
    ClassRow("floor", (187, 188, 187)),
    ClassRow("border", PALETTE["border"]),
    ClassRow("ball", (230, 60, 50)),
    ClassRow("block", (50, 120, 220)),
    ClassRow("pendulum", (240, 170, 40)),
    ClassRow("cart", (150, 70, 190)),
    ClassRow("ramp", (120, 92, 60)),
    ClassRow("screen", PALETTE["screen"]),
    ClassRow("wall", (40, 110, 100)),
    ClassRow("support", (170, 140, 100)),
    ClassRow("tray", (60, 160, 80)),
    ClassRow("goal", PALETTE["mark"]),
    ClassRow("hand", PALETTE["hand"]),
)
_IDS = {row.name: index for index, row in enumerate(CLASSES)}
_SIDE_TURN, _SIDE_RISE, _SIDE_BACK = 0.9, 0.3, 1.1  # rad, least rad above the floor, times the front's distance
_TOP_ROOM = 0.25  # m around the borders


def camera_of(setup: Setup, azimuth: float, name: str) -> Camera:
    """Return where a camera of CAMERAS is.

    Args:
        setup: What is on the bench, and how the scenario looks at it.
        azimuth: Where the front camera has orbited to, rad.
        name: Of the camera.
    """
    view = setup.view
    if name == "top":
        widest = max(setup.arena) + _TOP_ROOM
        return Camera.toward((0.0, 0.0, widest / tan(radians(FOV) / 2)), (0.0, 0.0, 0.0))
    rise, distance = view.elevation, view.distance
    if name == "side":
        azimuth, rise, distance = view.azimuth + _SIDE_TURN, max(rise, _SIDE_RISE), distance * _SIDE_BACK
    flat = distance * cos(rise)
    x, y, z = view.target
    position = (x + flat * cos(azimuth), y + flat * sin(azimuth), z + distance * sin(rise))
    return Camera(position, azimuth + pi, -rise)


def class_of(setup: Setup, name: str) -> int:
    """Return the semantic class of a thing on the bench."""
    if name in _IDS:
        return _IDS[name]
    if setup.swing and name in setup.swing.names:
        return _IDS["pendulum"]
    if name == setup.cart:
        return _IDS["cart"]
    shape = next(body.shape for body in setup.bodies if body.name == name)
    return _IDS["ball" if shape == "ball" else "block"]


def instance_of(name: str) -> int:
    """Return the instance id of a thing on the bench; 0 for floor and border."""
    return BODIES.index(name) + 1 if name in BODIES else 0
