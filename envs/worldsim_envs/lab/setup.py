"""What a scenario puts on the bench, as plain data: bodies, pendulums, a tray that moves, a hand, a cart.

Lengths are in metres, masses in kilograms, angles in radians. The bench is seen along +y, x points right, z up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi
from typing import Literal

__all__ = ["ARENA", "Body", "Hand", "Setup", "Swing", "Tray", "Viewpoint", "mirrored"]

Vector = tuple[float, float, float]

ARENA = (1.65, 1.2)
"""Half extents of the floor between its borders, where a scenario names no others."""


@dataclass(frozen=True)
class Viewpoint:
    """A camera that looks at a point: from ``azimuth`` (rad, -pi/2 looks along +y), ``height`` angle and distance."""

    target: Vector
    azimuth: float
    elevation: float
    distance: float


@dataclass(frozen=True, kw_only=True)
class Body:
    """A rigid ball or box."""

    name: str
    shape: Literal["ball", "box"]
    half: Vector
    """Half extents; a ball's radius thrice."""
    at: Vector
    paint: str
    """Name in the palette."""
    mass: float = 0.0
    """0 = it never moves."""
    turn: Vector = (0.0, 0.0, 0.0)
    """Roll, pitch and yaw."""
    velocity: Vector = (0.0, 0.0, 0.0)
    spin: Vector = (0.0, 0.0, 0.0)
    is_solid: bool = True
    """Marks on the floor are not."""


@dataclass(frozen=True, kw_only=True)
class Swing:
    """A chain of pendulums in the plane of the view: rods without mass, each with a ball at its end."""

    names: tuple[str, ...]
    lengths: tuple[float, ...]
    """From hinge to centre of the ball."""
    radii: tuple[float, ...]
    masses: tuple[float, ...]
    angles: tuple[float, ...]
    """From straight down, in the world, counterclockwise as seen."""
    paints: tuple[str, ...]
    pivot: Vector


@dataclass(frozen=True, kw_only=True)
class Tray:
    """A body of boxes that a motor slides along one axis."""

    name: str
    boxes: tuple[tuple[Vector, Vector], ...]
    """Centre and half extents of each, from ``at``."""
    at: Vector
    axis: Vector
    paint: str
    speed: float
    """m/s; the greatest one if it swings."""
    begin_s: float
    """When it begins to move."""
    period_s: float | None = None
    """Seconds to and fro; None slides one way for ``stroke`` metres."""
    stroke: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Hand:
    """Two fingers below a palm that moves along x, y and z."""

    at: Vector
    """Middle between the finger tips."""
    opening: float
    """Gap between the fingers."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything on the bench."""

    view: Viewpoint
    bodies: tuple[Body, ...] = ()
    swing: Swing | None = None
    tray: Tray | None = None
    hand: Hand | None = None
    cart: str | None = None
    """Name of the body that drives."""
    friction: float = 0.5
    """Between any two bodies."""
    restitution: float = 0.3
    goal: tuple[str, Vector] | None = None
    """Which body belongs where."""
    arena: tuple[float, float] = ARENA
    """Half extents of the floor between its borders."""
    border: tuple[float, float] = (0.3, 0.3)
    """Heights of the borders at the sides, and in front and behind; 0 = none."""


def mirrored(setup: Setup) -> Setup:
    """Return the same bench with left and right exchanged."""
    swing, tray, hand = setup.swing, setup.tray, setup.hand
    return replace(
        setup,
        bodies=tuple(_mirrored(body, has_front=body.name == setup.cart) for body in setup.bodies),
        swing=swing and replace(swing, angles=tuple(-angle for angle in swing.angles)),
        tray=tray and replace(tray, axis=_flipped(tray.axis), at=_flipped(tray.at)),
        hand=hand and replace(hand, at=_flipped(hand.at)),
        goal=setup.goal and (setup.goal[0], _flipped(setup.goal[1])),
    )


def _mirrored(body: Body, *, has_front: bool) -> Body:
    roll, pitch, yaw = body.turn
    return replace(
        body,
        at=_flipped(body.at),
        turn=(roll, -pitch, pi - yaw if has_front else -yaw),
        velocity=_flipped(body.velocity),
        spin=(body.spin[0], -body.spin[1], -body.spin[2]),
    )


def _flipped(vector: Vector) -> Vector:
    return (-vector[0], vector[1], vector[2])
