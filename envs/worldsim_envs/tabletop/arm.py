"""The arm: five hinges and two fingers made of boxes and tubes, its inverse kinematics in closed form.

The chain is a turret (about z), a shoulder, an elbow and a wrist (about the arm's sideways axis) and a roll (about z).
The wrist undoes shoulder and elbow and the roll undoes the turret: the gripper always points down, its fingers to the
left and right, so that three numbers say where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import acos, atan2, cos, hypot, sin

from worldsim_envs.mesh import join
from worldsim_envs.scene import Dynamics, Link, Solid, Surface
from worldsim_envs.tabletop.paint import box_mesh, tube_mesh

__all__ = ["JOINTS", "MAX_GAP", "MAX_GRIP", "MAX_MOVE", "WORKSPACE", "Arm", "angles_for", "clamped", "tip_of"]

BASE = (-0.42, 0.0)  # m, x and y of the turret
SHOULDER, UPPER, FOREARM, TOOL = 0.12, 0.44, 0.44, 0.21  # m: height of the shoulder, lengths, wrist axis to finger tips
JOINTS: dict[str, tuple[float, float]] = {
    "turret": (-1.2, 1.2),
    "shoulder": (0.0, 2.3),
    "elbow": (-2.75, -0.2),
    "wrist": (-0.8, 1.5),
    "roll": (-1.2, 1.2),
}
"""Least and greatest angle of each hinge, rad."""
WORKSPACE = ((-0.20, 0.40), (-0.29, 0.29), (0.012, 0.42))
"""Where the point between the finger tips may be asked to go: x, y, z, m."""
MAX_MOVE, MAX_GRIP = 0.03, 0.03  # m per control step: way of the hand, change of the gap
MAX_GAP, OPEN_GAP = 0.18, 0.165  # m between the fingers: greatest, and at reset
LEASH = 0.03  # m by which the wished place and gap may lead the real ones: what is stopped does not store up its push
TORQUE, GRIP_FORCE, STOP_FORCE = 40.0, 25.0, 400.0  # N m of every hinge, N of a finger, N of fingers that are shut
_SHUT = 0.004  # m, a gap that is none
_MAX_STRETCH = UPPER + FOREARM - 0.01
_FINGER, _PALM = (0.012, 0.024, 0.05), (0.112, 0.030, 0.016)  # m, half extents
_UPPER, _FORE = (UPPER / 2, 0.030, 0.034), (FOREARM / 2, 0.026, 0.028)
_SURFACE = Surface(2.0, 0.0)  # rubber: a block holds to it 1.4 times as well as to the table
_PARTS = ("turret", "upper_arm", "forearm", "wrist", "hand", "finger_left", "finger_right")
_HAND, _LEFT, _RIGHT = 4, 5, 6
_PALM_Z = -(TOOL - 2 * _FINGER[2] - _PALM[2])  # m, centre of the palm from the wrist's axis

Vector = tuple[float, float, float]


def angles_for(tip: Sequence[float]) -> tuple[float, ...]:
    """Return the angle of every joint, rad, that brings the middle between the finger tips to a reachable point, m."""
    x, y, z = tip[0] - BASE[0], tip[1] - BASE[1], tip[2] + TOOL - SHOULDER
    out, reach = hypot(x, y), hypot(hypot(x, y), z)
    turret = atan2(y, x)
    bend = acos((reach**2 - UPPER**2 - FOREARM**2) / (2 * UPPER * FOREARM))
    lift = atan2(z, out) + acos((UPPER**2 + reach**2 - FOREARM**2) / (2 * UPPER * reach))
    return (turret, lift, -bend, bend - lift, -turret)


def tip_of(angles: Sequence[float]) -> Vector:
    """Return where joints at ``angles`` bring the middle between the finger tips, m."""
    turret, lift, bend = angles[:3]
    out = UPPER * cos(lift) + FOREARM * cos(lift + bend)
    z = SHOULDER + UPPER * sin(lift) + FOREARM * sin(lift + bend) - TOOL
    return (BASE[0] + out * cos(turret), BASE[1] + out * sin(turret), z)


def clamped(tip: Sequence[float]) -> Vector:
    """Return the point of the workspace within the arm's length that a wish for ``tip`` is taken as."""
    x, y, z = (min(max(value, low), high) for value, (low, high) in zip(tip, WORKSPACE, strict=True))
    out = hypot(x - BASE[0], y - BASE[1])
    most = (_MAX_STRETCH**2 - (z + TOOL - SHOULDER) ** 2) ** 0.5
    share = min(1.0, most / out)
    return (BASE[0] + (x - BASE[0]) * share, BASE[1] + (y - BASE[1]) * share, z)


class Arm:
    """The arm in a scene's dynamics.

    Args:
        dynamics: Where to add it.
        tip: Where the middle between the finger tips begins, m.
        control_dt: Seconds per control step.
    """

    def __init__(self, dynamics: Dynamics, tip: Vector, control_dt: float) -> None:
        self._dynamics, self._dt = dynamics, control_dt
        self.links = _links()
        self.body = dynamics.add_linked((*BASE, SHOULDER), self.links, _SURFACE)
        dynamics.gear(self.body, _LEFT, _RIGHT, STOP_FORCE)
        self._target, self._gap_target = clamped(tip), OPEN_GAP
        for joint, angle in enumerate(angles_for(self._target)):
            dynamics.turn(self.body, joint, angle)
        self.read()

    def read(self) -> None:
        """Look where the joints are; to be called after every control step."""
        self.angles = tuple(self._dynamics.joint(self.body, joint) for joint in range(len(JOINTS)))
        """Angle of every hinge, rad, in the order of JOINTS."""
        self.gap = OPEN_GAP - sum(self._dynamics.joint(self.body, link) for link in (_LEFT, _RIGHT))
        """Room between the fingers, m."""

    def rows(self) -> dict[str, tuple[float, ...]]:
        """Return the state row of every part; ``hand`` is the middle between the finger tips."""
        rows = {name: self._dynamics.row(self.body, link) for link, name in enumerate(_PARTS)}
        hand = rows["hand"]
        x, y, z, w = hand[3:7]
        down = TOOL + _PALM_Z
        up = (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y))
        rows["hand"] = (*(p - down * u for p, u in zip(hand[:3], up, strict=True)), *hand[3:])
        return rows

    def command(self, action: Sequence[float]) -> None:
        """Set the motors for one control step: ``action`` is way along x, y, z and closing, each in [-1, 1]."""
        here = tip_of(self.angles)
        wish = clamped(
            [
                min(max(old + MAX_MOVE * a, now - LEASH), now + LEASH)
                for old, a, now in zip(self._target, action, here, strict=False)
            ]
        )
        goal = angles_for(wish)
        if all(low <= angle <= high for angle, (low, high) in zip(goal, JOINTS.values(), strict=True)):
            self._target = wish
        for joint, (now, then) in enumerate(zip(self.angles, angles_for(self._target), strict=True)):
            self._dynamics.drive(self.body, joint, (then - now) / self._dt, TORQUE)
        wider = min(max(self._gap_target - MAX_GRIP * action[3], self.gap - LEASH), self.gap + LEASH)
        self._gap_target = min(max(wider, 0.0), MAX_GAP)
        closing = (self.gap - self._gap_target) / 2 / self._dt
        force = STOP_FORCE if self.gap < _SHUT and not self._gap_target else GRIP_FORCE  # they stop each other
        for finger in (_LEFT, _RIGHT):
            self._dynamics.drive(self.body, finger, closing, force)

    def part(self, link: int) -> str:
        """Return the name of a link."""
        return _PARTS[link]


def _links() -> list[Link]:
    """Return the chain at angles of 0: stretched along +x, the gripper down."""
    origin, up, aside = (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)
    pivot = tube_mesh(0.045, 0.045, "y", "joint")
    turret = join([pivot, tube_mesh(0.055, 0.055, "z", "joint").moved(0, 0, z=-0.06)])
    upper = join([box_mesh(_UPPER, "arm"), tube_mesh(0.040, 0.042, "y", "joint").moved(UPPER / 2, 0)])
    fore = join([box_mesh(_FORE, "arm"), tube_mesh(0.034, 0.038, "y", "joint").moved(FOREARM / 2, 0)])
    neck = tube_mesh(0.022, 0.04, "z", "joint").moved(0, 0, z=0.045)
    palm, finger = join([box_mesh(_PALM, "gripper"), neck]), box_mesh(_FINGER, "gripper")
    aside_of_gap, finger_z = OPEN_GAP / 2 + _FINGER[0], -(TOOL - _FINGER[2])
    small = Solid("box", (0.03, 0.03, 0.03))
    return [
        Link(turret, small, 1.0, -1, "hinge", up, origin),
        Link(upper, Solid("box", _UPPER), 0.6, 0, "hinge", aside, origin, (UPPER / 2, 0, 0)),
        Link(fore, Solid("box", _FORE), 0.4, 1, "hinge", aside, (UPPER, 0, 0), (FOREARM / 2, 0, 0)),
        Link(None, small, 0.2, 2, "hinge", aside, (FOREARM, 0, 0)),
        Link(palm, Solid("box", _PALM), 0.25, 3, "hinge", up, origin, (0, 0, _PALM_Z)),
        Link(finger, Solid("box", _FINGER), 0.1, 4, "slide", (1, 0, 0), origin, (-aside_of_gap, 0, finger_z)),
        Link(finger, Solid("box", _FINGER), 0.1, 4, "slide", (-1, 0, 0), origin, (aside_of_gap, 0, finger_z)),
    ]
