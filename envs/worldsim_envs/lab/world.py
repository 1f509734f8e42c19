"""A bench in Bullet: builds a `Setup`, advances it tick by tick, and notes what touched.

A world is a pure function of its setup, its gravity and the commands it was given: the same ones, to a world built
anew, give the same bits. That is how the env saves and restores it, and how it looks back at 240 Hz.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2, cos, hypot, pi, sin, tan

from scipy.spatial.transform import Rotation

from worldsim_envs.lab.paint import ball_mesh, box_mesh, floor_mesh
from worldsim_envs.lab.setup import Body, Hand, Setup, Swing, Tray
from worldsim_envs.mesh import Mesh, join
from worldsim_envs.scene import Dynamics, Link, Scene, Solid, Surface

__all__ = ["ACTIONS", "CONTROL_DT", "PHYSICS_DT", "TICKS", "Contact", "World"]

CONTROL_DT, PHYSICS_DT = 1 / 20, 1 / 240  # s
TICKS = round(CONTROL_DT / PHYSICS_DT)
MAX_IMPULSE = 0.3  # N s per control step
HAND_SPEED, GRIP_SPEED, GRIP_FORCE, HAND_FORCE = 1.2, 0.6, 40.0, 400.0  # m/s, m/s, N, N
MAX_PULL, MAX_BRAKE, MAX_STEER = 3.0, 6.0, 0.5  # m/s2, m/s2, rad
ORBIT_SPEED = 1.0  # rad/s
ACTIONS: dict[str, tuple[str, float, float]] = {
    # name: unit, value at -1, value at +1
    "impulse": ("N s", -MAX_IMPULSE, MAX_IMPULSE),
    "hand_x": ("m/s", -HAND_SPEED, HAND_SPEED),
    "hand_y": ("m/s", -HAND_SPEED, HAND_SPEED),
    "hand_z": ("m/s", -HAND_SPEED, HAND_SPEED),
    "grip": ("m/s", -2 * GRIP_SPEED, 2 * GRIP_SPEED),
    "throttle": ("m/s2", -MAX_BRAKE, MAX_PULL),
    "steer": ("rad", -MAX_STEER, MAX_STEER),
    "camera": ("rad/s", -ORBIT_SPEED, ORBIT_SPEED),
}
SWING_PARTS = 16
"""Steps that Bullet makes of a tick for pendulums: one would lose a quarter of a double pendulum's energy in 5 s."""
WHEELBASE, SLIP_S, DRAG = 0.7, 0.05, 0.1  # m, s in which sideways slip decays, 1/s
_FINGER, _PALM = (0.05, 0.11, 0.28), (0.52, 0.11, 0.05)  # m, half extents
_MAX_OPENING = 0.9  # m
_APART_S = 0.1  # s without touching, after which a touch is a new contact

Row = tuple[float, ...]


@dataclass(frozen=True)
class Contact:
    """Two bodies that began to touch."""

    time_s: float
    """End of the tick in which they pressed first, seconds since reset."""
    first: str
    second: str
    impulse: float
    """N s in that tick."""


class World:
    """One episode's bench.

    Args:
        scene: Where to build it; whatever it holds is removed.
        setup: What to build.
        gravity: m/s2.
        keeps_ticks: Whether `history` is written; reading every body at 240 Hz costs a tenth of a step.
    """

    def __init__(self, scene: Scene, setup: Setup, gravity: float, *, keeps_ticks: bool = False) -> None:
        self.setup = setup
        scene.clear()
        self._dynamics = Dynamics(scene, PHYSICS_DT)
        self._dynamics.begin(gravity, SWING_PARTS if setup.swing else 1)
        self._gravity = gravity
        self._surface = Surface(setup.friction, setup.restitution)
        self.names: dict[tuple[int, int], str] = {}
        self._movers: dict[str, tuple[int, int]] = {}
        self._fixed: dict[str, Row] = {}
        self._drawn: list[tuple[Mesh, tuple[int, int]]] = []
        self._masses: dict[str, float] = {}
        self._hand = self._tray = -1
        self._squeezes = False
        self.azimuth = setup.view.azimuth
        self._build(setup)
        self.rows: dict[str, Row] = self._read()
        self.history = {name: [row] for name, row in self.rows.items()} if keeps_ticks else None
        self.contacts: list[Contact] = []
        self._last_touch: dict[tuple[str, str], int] = {}
        self._pairs: dict[tuple[tuple[int, int], tuple[int, int]], tuple[str, str]] = {}
        self.ticks = 0

    @property
    def bodies(self) -> dict[str, Row]:
        """State row of every body now, by name."""
        return {**self.rows, **self._fixed}

    @property
    def opening(self) -> float:
        """Gap between the fingers, metres."""
        left, right = (self._dynamics.joint(self._hand, link) for link in (4, 5))
        return self._opening - right - left

    def meshes(self) -> list[tuple[str, Mesh]]:
        """Return what is drawn, each with its name, where it is now."""
        placed = []
        for mesh, key in self._drawn:
            row = self._dynamics.row(*key)
            turn = Rotation.from_quat(row[3:7]).as_matrix()
            moved = Mesh(mesh.vertices @ turn.T + row[:3], mesh.normals @ turn.T, mesh.uvs)
            placed.append((f"{self.names[key]}_{key[0]}_{key[1]}", moved))
        return placed

    def advance(self, action: Sequence[float], acts: Sequence[str], gravity: Sequence[float]) -> list[Contact]:
        """Advance by one control step and return the contacts that began.

        Args:
            action: One number in [-1, 1] per entry of ACTIONS.
            acts: Names of those that move something; the others do nothing.
            gravity: m/s2 in each tick.
        """
        command = {name: value for name, value in zip(ACTIONS, action, strict=True) if name in acts and value}
        known = len(self.contacts)
        if self._hand >= 0:
            self._move_hand(command)
        for tick in range(TICKS):
            if gravity[tick] != self._gravity:
                self._gravity = gravity[tick]
                self._dynamics.set_gravity(self._gravity)
            if self._tray >= 0:
                self._dynamics.drive(self._tray, 0, self._tray_speed(self.ticks * PHYSICS_DT), 1e4)
            if self.setup.cart:
                self._drive_cart(self.setup.cart, command)
            if "impulse" in command:
                force = command["impulse"] * MAX_IMPULSE / CONTROL_DT
                self._dynamics.push(*self._movers["a"], (force, 0.0, 0.0))
            self._dynamics.tick()
            self.ticks += 1
            if self.history is not None:
                for name, row in self._read().items():
                    self.history[name].append(row)
            self._note_touches()
        self.rows = self._read()
        self.azimuth += command.get("camera", 0.0) * ORBIT_SPEED * CONTROL_DT
        return self.contacts[known:]

    # ---- building

    def _build(self, setup: Setup) -> None:
        add, surface = self._dynamics.add, self._surface
        ground = floor_mesh().moved(0, 0, z=0.5)
        floor = add(ground, Solid("box", (20.0, 20.0, 0.5)), 0, surface, (0, 0, -0.5))
        self.names[floor, -1] = "floor"
        self._drawn.append((ground, (floor, -1)))
        x, y = setup.arena
        sides, ends = setup.border
        for sign in (-1, 1):
            if sides:
                self._add_border((sign * (x + 0.05), 0, sides / 2), (0.05, y + 0.1, sides / 2))
            if ends:
                self._add_border((0, sign * (y + 0.05), ends / 2), (x, 0.05, ends / 2))
        for body in setup.bodies:
            self._add_body(body)
        if setup.swing:
            self._add_swing(setup.swing)
        if setup.tray:
            self._add_tray(setup.tray)
        if setup.hand:
            self._add_hand(setup.hand)

    def _add_border(self, at: tuple[float, float, float], half: tuple[float, float, float]) -> None:
        mesh = box_mesh(half, "border")
        body = self._dynamics.add(mesh, Solid("box", half), 0, self._surface, at)
        self.names[body, -1] = "border"
        self._drawn.append((mesh, (body, -1)))

    def _add_body(self, body: Body) -> None:
        mesh = ball_mesh(body.half[0], body.paint) if body.shape == "ball" else box_mesh(body.half, body.paint)
        surface = self._surface
        if body.name == self.setup.cart:  # its tyres are forces, its cabin tells front from back
            surface = Surface(0.0, self.setup.restitution)
            cabin = box_mesh((0.12, 0.30, 0.09), "hand").moved(0.14, 0.0, z=body.half[2] + 0.09)
            mesh = join([mesh, cabin])
        turn = Rotation.from_euler("xyz", body.turn).as_quat().tolist()
        solid = Solid(body.shape, body.half) if body.is_solid else None
        key = (self._dynamics.add(mesh, solid, body.mass, surface, body.at, turn, body.velocity, body.spin), -1)
        self.names[key] = body.name
        self._drawn.append((mesh, key))
        if body.mass > 0:
            self._movers[body.name] = key
            self._masses[body.name] = body.mass
        else:
            self._fixed[body.name] = self._dynamics.row(*key)

    def _add_swing(self, swing: Swing) -> None:
        links: list[Link] = []
        hung = (0.0, 0.0, 0.0)  # where the next hinge is, in its parent's frame
        for length, radius, mass, paint in zip(swing.lengths, swing.radii, swing.masses, swing.paints, strict=True):
            rod = box_mesh((0.03, 0.03, length / 2), "rod").moved(0, 0, z=length / 2)
            bob, ball, below = (
                join([ball_mesh(radius, paint), rod]),
                Solid("ball", (radius, radius, radius)),
                (0.0, 0.0, -length),
            )
            links.append(Link(bob, ball, mass, len(links) - 1, "hinge", (0, -1, 0), hung, below))
            hung = below
        body = self._add_linked(swing.pivot, links, self._surface)
        before = 0.0
        for index, (name, angle) in enumerate(zip(swing.names, swing.angles, strict=True)):
            self._dynamics.turn(body, index, angle - before)
            self.names[body, index] = name
            self._movers[name] = (body, index)
            before = angle

    def _add_tray(self, tray: Tray) -> None:
        links = [
            Link(box_mesh(half, tray.paint), Solid("box", half), 20.0 if k == 0 else 1.0, -1 if k == 0 else 0,
                 "slide" if k == 0 else "fixed", tray.axis, (0.0, 0.0, 0.0), centre)
            for k, (centre, half) in enumerate(tray.boxes)
        ]  # fmt: skip
        self._tray = self._add_linked(tray.at, links, self._surface)
        self.names |= {(self._tray, k): tray.name for k in range(len(links))}
        self._movers[tray.name] = (self._tray, 0)

    def _add_hand(self, hand: Hand) -> None:
        origin, gap = (0.0, 0.0, 0.0), hand.opening / 2 + _FINGER[0]
        finger, palm = box_mesh(_FINGER, "hand"), box_mesh(_PALM, "hand")
        links = [
            Link(None, None, 1.0, -1, "slide", (1, 0, 0), origin),
            Link(None, None, 1.0, 0, "slide", (0, 1, 0), origin),
            Link(None, None, 1.0, 1, "slide", (0, 0, 1), origin),
            Link(palm, Solid("box", _PALM), 0.5, 2, "fixed", (0, 0, 1), origin, (0, 0, 2 * _FINGER[2] + _PALM[2])),
            Link(finger, Solid("box", _FINGER), 0.3, 2, "slide", (1, 0, 0), origin, (-gap, 0, _FINGER[2])),
            Link(finger, Solid("box", _FINGER), 0.3, 2, "slide", (-1, 0, 0), origin, (gap, 0, _FINGER[2])),
        ]
        self._hand = self._add_linked(hand.at, links, Surface(1.5, 0.0))
        self._dynamics.gear(self._hand, 4, 5, 10 * GRIP_FORCE)
        self._opening = hand.opening
        self.names |= {(self._hand, k): "hand" for k in range(len(links))}
        self._movers["hand"] = (self._hand, 2)

    def _add_linked(self, at: tuple[float, float, float], links: list[Link], surface: Surface) -> int:
        body = self._dynamics.add_linked(at, links, surface)
        self._drawn += [(link.mesh, (body, k)) for k, link in enumerate(links) if link.mesh is not None]
        return body

    # ---- one step

    def _read(self) -> dict[str, Row]:
        return {name: self._dynamics.row(*key) for name, key in self._movers.items()}

    def _move_hand(self, command: dict[str, float]) -> None:
        """Set the hand's motors; a grip once closed keeps pressing until it is opened."""
        x, y, z = self.rows["hand"][:3]
        reach = (*self.setup.arena, 1.6)
        for link, (name, now) in enumerate(zip(("hand_x", "hand_y", "hand_z"), (x, y, z), strict=True)):
            speed = command.get(name, 0.0) * HAND_SPEED
            low, high = (0.03 if link == 2 else 0.15 - reach[link]), reach[link] - (0.0 if link == 2 else 0.15)
            ahead = now + speed * CONTROL_DT
            speed = (min(max(ahead, low), high) - now) / CONTROL_DT if speed else 0.0
            self._dynamics.drive(self._hand, link, speed, HAND_FORCE)
        grip = command.get("grip", 0.0)
        if grip:
            self._squeezes = grip > 0
        close = max(grip, 0.5) if self._squeezes else grip
        opening = self.opening
        if (close > 0 and opening < 0.03) or (close < 0 and opening > _MAX_OPENING):
            close = 0.0
        for finger in (4, 5):
            self._dynamics.drive(self._hand, finger, close * GRIP_SPEED, GRIP_FORCE)

    def _tray_speed(self, time_s: float) -> float:
        tray = self.setup.tray
        assert tray is not None
        since = time_s - tray.begin_s
        if since < 0:
            return 0.0
        if tray.period_s:
            return tray.speed * sin(2 * pi * since / tray.period_s)
        return tray.speed if since * tray.speed < tray.stroke else 0.0

    def _drive_cart(self, name: str, command: dict[str, float]) -> None:
        """Pull at the cart as four tyres would: whatever is wished, no more than friction holds."""
        row = self._dynamics.row(*self._movers[name])
        yaw = 2 * atan2(row[5], row[6])
        c, s, mass = cos(yaw), sin(yaw), self._masses[name]
        along, aside = row[7] * c + row[8] * s, row[8] * c - row[7] * s  # m/s
        throttle = command.get("throttle", 0.0)
        pull = throttle * MAX_PULL if throttle > 0 else -min(-throttle * MAX_BRAKE, max(along, 0.0) / PHYSICS_DT)
        pull -= DRAG * along
        turn = max(along, 0.0) * tan(command.get("steer", 0.0) * MAX_STEER) / WHEELBASE  # rad/s
        hold = along * turn - aside / SLIP_S
        share = min(1.0, self.setup.friction * self._gravity / max(hypot(pull, hold), 1e-9))
        pull, hold = pull * share, hold * share
        half = next(body.half for body in self.setup.bodies if body.name == name)
        inertia = mass * (half[0] ** 2 + half[1] ** 2) / 3
        torque = inertia * (turn * share - row[12]) / SLIP_S
        self._dynamics.push(
            *self._movers[name], (mass * (pull * c - hold * s), mass * (pull * s + hold * c), 0.0), torque
        )

    def _note_touches(self) -> None:
        for touch, impulse in self._dynamics.touches().items():
            pair = self._pairs.get(touch)
            if pair is None:
                names = (self.names[key] for key in touch)
                first, second = sorted(names, key=lambda name: (name not in self._movers, name))
                pair = self._pairs[touch] = (first, second)
            last = self._last_touch.get(pair)
            if last is None or (self.ticks - last) * PHYSICS_DT > _APART_S:
                self.contacts.append(Contact(self.ticks * PHYSICS_DT, *pair, impulse))
            self._last_touch[pair] = self.ticks
