"""The twenty scenarios of the bench: what each puts where, which factors it has, and which actions move it.

A scenario is data and one function from its factors to a `Setup`; nothing else is random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi, radians, sin
from typing import Any

import numpy as np

from worldsim_envs.lab.factors import COMMON, Factor
from worldsim_envs.lab.paint import color_of
from worldsim_envs.lab.setup import Body, Hand, Setup, Swing, Tray, Viewpoint

__all__ = ["SCENARIOS", "Scenario"]

Values = Mapping[str, Any]

SIDE = Viewpoint((0.0, 0.0, 1.2), -pi / 2, 0.12, 4.7)
OBLIQUE = Viewpoint((0.0, 0.0, 0.75), -pi / 2 + 0.6, 0.30, 5.0)
HIGH = Viewpoint((0.0, 0.0, 0.15), -pi / 2, 0.85, 5.2)
REACH = Viewpoint((0.0, 0.0, 0.55), -pi / 2, 0.45, 5.2)
WIDE = Viewpoint((0.0, 0.0, 0.0), -pi / 2, 0.95, 8.2)
WIDE_ARENA = (2.6, 2.1)
DEEP, TALL = (1.65, 0.4), (3.0, 0.0)
KICK = ("impulse",)
HAND = ("hand_x", "hand_y", "hand_z", "grip")

_SPEED = Factor(unit="m/s", train=(0.6, 2.0), low=(0.2, 0.4), high=(2.5, 4.0))
_FRICTION = Factor(train=(0.2, 0.6), low=(0.02, 0.1), high=(0.8, 1.2))
_RESTITUTION = Factor(train=(0.4, 0.85), low=(0.05, 0.3), high=(0.9, 0.98))
_SIZE = Factor(unit="m", train=(0.46, 0.62), low=(0.40, 0.44), high=(0.68, 0.80))
_MASS = Factor(unit="kg", train=(0.3, 2.0), low=(0.05, 0.2), high=(4.0, 10.0))
_RATIO = Factor(train=(0.5, 3.0), low=(0.1, 0.3), high=(5.0, 10.0))


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of experiment."""

    build: Callable[[Values, np.random.Generator], Setup]
    """From factors, and random numbers for what has no factor, to the bench."""
    factors: Mapping[str, Factor]
    axis: str
    """The factor that the splits ``low`` and ``high`` take out of its range."""
    pair: tuple[str, str]
    """The factors whose upper corner is the split ``combination``."""
    acts: tuple[str, ...] = KICK
    """Dimensions of the action that move something."""

    @property
    def all_factors(self) -> dict[str, Factor]:
        """Return the common factors and its own."""
        return {**COMMON, **self.factors}


def _paint(v: Values, index: int) -> str:
    return color_of(v["hue"], index)


def _ball(
    name: str, v: Values, at: tuple[float, float, float], size: float, mass: float, index: int = 0, **more: Any
) -> Body:
    r = size / 2
    return Body(name=name, shape="ball", half=(r, r, r), at=at, paint=_paint(v, index), mass=mass, **more)


def _block(name: str, v: Values, at: tuple[float, float, float], half: tuple[float, float, float], mass: float,
           index: int = 0, **more: Any) -> Body:  # fmt: skip
    return Body(name=name, shape="box", half=half, at=at, paint=_paint(v, index), mass=mass, **more)


def _fixed(
    name: str, at: tuple[float, float, float], half: tuple[float, float, float], paint: str, **more: Any
) -> Body:
    return Body(name=name, shape="box", half=half, at=at, paint=paint, **more)


def _mark(x: float, y: float) -> Body:
    return _fixed("goal", (x, y, 0.01), (0.28, 0.28, 0.005), "mark", is_solid=False)


# ---- falling


def _free_fall(v: Values, rng: np.random.Generator) -> Setup:
    ball = _ball("a", v, (-0.3, 0, v["size"] / 2 + v["height"]), v["size"], v["mass"])
    return Setup(view=SIDE, arena=DEEP, border=TALL, bodies=(ball,), restitution=v["restitution"])


def _two_drops(v: Values, rng: np.random.Generator) -> Setup:
    size = 0.5
    a = _ball("a", v, (-0.7, 0, size / 2 + v["height_a"]), size, 0.5)
    b = _ball("b", v, (0.7, 0, size / 2 + v["height_b"]), size, 0.5 * v["mass_ratio"], 1)
    return Setup(view=SIDE, arena=DEEP, border=TALL, bodies=(a, b), restitution=v["restitution"])


def _projectile(v: Values, rng: np.random.Generator) -> Setup:
    angle = radians(v["angle"])
    velocity = (v["speed"] * cos(angle), 0.0, v["speed"] * sin(angle))
    ball = _ball("a", v, (-1.3, 0, 0.5), 0.48, v["mass"], velocity=velocity)
    return Setup(view=SIDE, arena=DEEP, border=TALL, bodies=(ball,), restitution=v["restitution"])


# ---- on the ground


def _rolling(v: Values, rng: np.random.Generator) -> Setup:
    r = v["size"] / 2
    spin = (0.0, v["spin"] * v["speed"] / r, 0.0)
    ball = _ball("a", v, (-1.25, 0, r), v["size"], 1.0, velocity=(v["speed"], 0, 0), spin=spin)
    return Setup(view=SIDE, arena=DEEP, border=TALL, bodies=(ball,), friction=v["friction"])


def _ramp(v: Values, rng: np.random.Generator) -> Setup:
    slope, r = radians(v["slope"]), 0.24
    length, thick = 2.0, 0.06  # m, half thickness
    foot = (0.55, 0.0)  # x, z of the upper surface's lower end
    along, normal = (-cos(slope), sin(slope)), (sin(slope), cos(slope))
    middle = [foot[k] + along[k] * length / 2 - normal[k] * thick for k in (0, 1)]
    start = [foot[k] + along[k] * (length - 0.4) + normal[k] * r for k in (0, 1)]
    plank = _fixed("ramp", (middle[0], 0, middle[1]), (length / 2, 0.5, thick), "screen", turn=(0, slope, 0))
    at = (start[0], 0.0, start[1])
    if v["shape"] == "ball":
        rider = _ball("a", v, at, 2 * r, 1.0)
    else:
        rider = _block("a", v, at, (r, r, r), 1.0, turn=(0, slope, 0))
    return Setup(view=SIDE, arena=DEEP, border=TALL, bodies=(rider, plank), friction=v["friction"])


def _collision_1d(v: Values, rng: np.random.Generator) -> Setup:
    a = _ball("a", v, (-1.1, 0, 0.25), 0.5, 1.0, velocity=(v["speed"], 0, 0))
    b = _ball("b", v, (0.2, 0, 0.25), 0.5, v["mass_ratio"], 1)
    return Setup(view=SIDE, arena=DEEP, border=TALL, bodies=(a, b), friction=0.0, restitution=v["restitution"])


def _collision_2d(v: Values, rng: np.random.Generator) -> Setup:
    size = 0.54
    a = _ball("a", v, (-1.2, 0, size / 2), size, 1.0, velocity=(v["speed"], 0, 0))
    b = _ball("b", v, (0.1, v["offset"] * size, size / 2), size, v["mass_ratio"], 1)
    return Setup(view=HIGH, bodies=(a, b), friction=0.0, restitution=v["restitution"])


def _solid_wall(v: Values, rng: np.random.Generator) -> Setup:
    lift = 0.9 if v["opening"] == "open" else 0.0
    wall = _fixed("wall", (0.4, 0, lift + 0.6), (v["thickness"] / 2, 0.6, 0.6), "screen")
    velocity, spin = (v["speed"], 0.0, 0.0), (0.0, v["speed"] / 0.25, 0.0)
    ball = _ball("a", v, (-1.1, 0, 0.25), 0.5, 1.0, velocity=velocity, spin=spin)
    return Setup(view=SIDE, arena=DEEP, border=TALL, bodies=(ball, wall), restitution=v["restitution"], friction=0.4)


def _occlusion(v: Values, rng: np.random.Generator) -> Setup:
    r, depth = 0.24, 0.5
    # The screen stands nearer to the camera than the ball: the same width hides more.
    shown = (SIDE.distance - depth) / SIDE.distance
    half = shown * (v["speed"] * v["hidden_steps"] * 0.05 / 2 + r)
    screen = _fixed("screen", (0.15, -depth, 0.45), (half, 0.04, 0.45), "screen")
    spin = (0.0, v["speed"] / r, 0.0)
    ball = _ball("a", v, (-1.38, 0, r), 2 * r, 1.0, velocity=(v["speed"], 0, 0), spin=spin)
    return Setup(view=SIDE, arena=DEEP, border=TALL, bodies=(ball, screen), restitution=0.9, friction=0.4)


# ---- hanging, standing, held


def _pendulum(v: Values, rng: np.random.Generator) -> Setup:
    swing = Swing(
        names=("a",),
        lengths=(v["length"],),
        radii=(0.24,),
        masses=(v["mass"],),
        angles=(-radians(v["amplitude"]),),
        paints=(_paint(v, 0),),
        pivot=(0.0, 0.0, 2.35),
    )
    return Setup(view=SIDE, arena=DEEP, border=TALL, swing=swing)


def _double_pendulum(v: Values, rng: np.random.Generator) -> Setup:
    swing = Swing(
        names=("a", "b"),
        lengths=(v["length_1"], v["length_2"]),
        radii=(0.22, 0.22),
        masses=(1.0, v["mass_ratio"]),
        angles=(-radians(v["angle_1"]), -radians(v["angle_2"])),
        paints=(_paint(v, 0), _paint(v, 1)),
        pivot=(0.0, 0.0, 1.6),
    )
    return Setup(view=SIDE, arena=DEEP, border=TALL, swing=swing)


def _stack(v: Values, rng: np.random.Generator) -> Setup:
    h = v["size"] / 2
    shift = v["offset"] * h
    first = -shift * (v["count"] - 1) / 2
    blocks = tuple(
        _block("abcdefgh"[k], v, (first + k * shift, 0, h + 2 * h * k), (h, h, h), 1.0, k) for k in range(v["count"])
    )
    return Setup(view=OBLIQUE, bodies=blocks, friction=v["friction"], restitution=0.0)


def _dominoes(v: Values, rng: np.random.Generator) -> Setup:
    half, pitch = (0.06, 0.36, 0.40), v["spacing"]
    first = -pitch * (v["count"] - 1) / 2
    tiles = []
    for k in range(v["count"]):
        if 0 < k == v["missing"] < v["count"] - 1:
            continue
        spin = (0.0, 3.0, 0.0) if k == 0 else (0.0, 0.0, 0.0)
        velocity = (3.0 * half[2], 0.0, 0.0) if k == 0 else (0.0, 0.0, 0.0)
        tiles.append(
            _block("abcdefgh"[k], v, (first + k * pitch, 0, half[2]), half, 0.6, k, spin=spin, velocity=velocity)
        )
    return Setup(view=OBLIQUE, bodies=tuple(tiles), friction=v["friction"], restitution=0.1)


def _containment(v: Values, rng: np.random.Generator) -> Setup:
    x, y, wall, rim = 0.62, 0.40, 0.05, 0.16
    boxes = (
        ((0.0, 0.0, 0.04), (x, y, 0.04)),
        ((-x, 0.0, rim), (wall, y, rim)),
        ((x, 0.0, rim), (wall, y, rim)),
        ((0.0, -y, rim * 0.7), (x, wall, rim * 0.7)),
        ((0.0, y, rim), (x, wall, rim)),
    )
    amplitude = v["speed"] * v["period"] / (2 * pi)  # m
    tray = Tray(
        name="tray",
        boxes=boxes,
        at=(-amplitude, 0.0, 0.02),
        axis=(1.0, 0.0, 0.0),
        paint="screen",
        speed=v["speed"],
        begin_s=0.4,
        period_s=v["period"],
    )
    balls = tuple(_ball("ab"[k], v, (-amplitude - 0.27 + 0.54 * k, 0.0, 0.36), 0.48, 0.5, k) for k in range(v["count"]))
    view = Viewpoint((0.0, 0.0, 0.3), -pi / 2, 0.6, 5.2)
    return Setup(view=view, bodies=balls, tray=tray, friction=0.4, restitution=0.2, arena=(1.75, 1.2))


def _support_removal(v: Values, rng: np.random.Generator) -> Setup:
    thick, h = 0.05, 0.25
    tray = Tray(
        name="support",
        boxes=(((0.0, 0.0, 0.0), (0.55, 0.45, thick)),),
        at=(0.0, 0.0, v["height"] - thick),
        axis=(0.0, 1.0, 0.0),
        paint="screen",
        speed=v["speed"],
        begin_s=v["remove_step"] * 0.05,
        stroke=1.6,
    )
    at = (0.0, 0.0, v["height"] + h)
    rider = _ball("a", v, at, 2 * h, 1.0) if v["shape"] == "ball" else _block("a", v, at, (h, h, h), 1.0)
    return Setup(
        view=SIDE, arena=DEEP, border=TALL, bodies=(rider,), tray=tray, friction=v["friction"], restitution=0.3
    )


# ---- acting


def _push(v: Values, rng: np.random.Generator) -> Setup:
    h = 0.26
    block = _block("a", v, (-0.35, v["start_y"], h), (h, h, h), v["mass"])
    goal = (0.45 + v["distance"], v["goal_y"])
    hand = Hand(at=(-1.15, v["start_y"], 0.06), opening=0.02)
    return Setup(
        view=HIGH,
        bodies=(block, _mark(*goal)),
        hand=hand,
        friction=v["friction"],
        restitution=0.0,
        goal=("a", (*goal, h)),
    )


def _pick_place(v: Values, rng: np.random.Generator) -> Setup:
    h = 0.25
    block = _block("a", v, (v["start_x"], 0.0, h), (h, h, h), v["mass"])
    goal = (0.25 + v["distance"], v["goal_y"])
    hand = Hand(at=(v["start_x"] + 0.25, 0.0, 1.0), opening=0.86)
    return Setup(
        view=REACH,
        bodies=(block, _mark(*goal)),
        hand=hand,
        friction=v["friction"],
        restitution=0.0,
        goal=("a", (*goal, h)),
    )


def _cart(v: Values, rng: np.random.Generator) -> Setup:
    bearing = radians(v["goal_bearing"])
    start = (-1.8, -1.0 if bearing > 0 else 1.0)
    goal = (start[0] + v["distance"] * cos(bearing), start[1] + v["distance"] * sin(bearing))
    cart = _block("a", v, (*start, 0.22), (0.46, 0.38, 0.2), 5.0, velocity=(v["speed"], 0, 0))
    return Setup(
        view=WIDE,
        bodies=(cart, _mark(*goal)),
        cart="a",
        friction=v["friction"],
        restitution=0.1,
        goal=("a", (*goal, 0.22)),
        arena=WIDE_ARENA,
    )


def _camera(v: Values, rng: np.random.Generator) -> Setup:
    view = Viewpoint((0.0, 0.0, 0.35), -pi / 2 + radians(v["azimuth"]), radians(v["elevation"]), 5.0)
    bodies = []
    for k in range(v["count"]):
        angle = 2 * pi * (k + rng.uniform(-0.2, 0.2)) / v["count"]
        x, y = v["spread"] * cos(angle), v["spread"] * sin(angle)
        h = 0.30
        if k % 2:
            bodies.append(_block("abcdefgh"[k], v, (x, y, h), (h, h, h), 1.0, k, turn=(0, 0, angle)))
        else:
            bodies.append(_ball("abcdefgh"[k], v, (x, y, h), 2 * h, 1.0, k))
    return Setup(view=view, bodies=tuple(bodies), arena=(1.6, 1.6))


def _clutter(v: Values, rng: np.random.Generator) -> Setup:
    bodies = []
    cells = rng.permutation(8)[: v["count"]]
    for k, cell in enumerate(cells.tolist()):
        column, row = cell % 4, cell // 4
        x, y = -1.2 + 0.8 * column + rng.uniform(-0.08, 0.08), -0.5 + row + rng.uniform(-0.08, 0.08)
        heading, h = rng.uniform(-pi, pi), 0.27
        velocity = (v["speed"] * cos(heading), v["speed"] * sin(heading), 0.0)
        is_ball = rng.random() < 0.6
        if is_ball:
            spin = (-velocity[1] / h, velocity[0] / h, 0.0)
            bodies.append(_ball("abcdefgh"[k], v, (x, y, h), 2 * h, 0.8, k, velocity=velocity, spin=spin))
        else:
            turn = (0.0, 0.0, rng.uniform(-pi, pi))
            bodies.append(_block("abcdefgh"[k], v, (x, y, h), (h, h, h), 0.8, k, velocity=velocity, turn=turn))
    return Setup(
        view=HIGH, bodies=tuple(bodies), friction=v["friction"], restitution=v["restitution"], arena=(1.65, 1.1)
    )


SCENARIOS: dict[str, Scenario] = {
    "free_fall": Scenario(
        build=_free_fall,
        factors={
            "height": Factor(unit="m", train=(0.8, 1.7), low=(0.3, 0.6), high=(1.85, 2.0)),
            "restitution": _RESTITUTION,
            "size": _SIZE,
            "mass": _MASS,
        },
        axis="gravity",
        pair=("restitution", "height"),
    ),
    "two_drops": Scenario(
        build=_two_drops,
        factors={
            "height_a": Factor(unit="m", train=(0.6, 1.7), low=(0.3, 0.5), high=(1.85, 2.0)),
            "height_b": Factor(unit="m", train=(0.6, 1.7), low=(0.3, 0.5), high=(1.85, 2.0)),
            "mass_ratio": _RATIO,
            "restitution": _RESTITUTION,
        },
        axis="mass_ratio",
        pair=("height_a", "height_b"),
    ),
    "projectile": Scenario(
        build=_projectile,
        factors={
            "speed": Factor(unit="m/s", train=(2.5, 4.0), low=(1.0, 2.0), high=(4.4, 5.2)),
            "angle": Factor(unit="deg", train=(40.0, 70.0), low=(15.0, 35.0), high=(75.0, 85.0)),
            "restitution": _RESTITUTION,
            "mass": _MASS,
        },
        axis="speed",
        pair=("speed", "angle"),
    ),
    "rolling": Scenario(
        build=_rolling,
        factors={"speed": _SPEED, "spin": Factor(train=(0.0, 1.0)), "friction": _FRICTION, "size": _SIZE},
        axis="speed",
        pair=("speed", "size"),
    ),
    "ramp": Scenario(
        build=_ramp,
        factors={
            "slope": Factor(unit="deg", train=(14.0, 32.0), low=(6.0, 11.0), high=(36.0, 44.0)),
            "friction": _FRICTION,
            "shape": Factor(values=("box", "ball")),
        },
        axis="slope",
        pair=("slope", "friction"),
    ),
    "collision_1d": Scenario(
        build=_collision_1d,
        factors={"speed": _SPEED, "mass_ratio": _RATIO, "restitution": _RESTITUTION},
        axis="mass_ratio",
        pair=("speed", "mass_ratio"),
    ),
    "collision_2d": Scenario(
        build=_collision_2d,
        factors={
            "speed": _SPEED,
            "mass_ratio": _RATIO,
            "restitution": _RESTITUTION,
            "offset": Factor(unit="diameters", train=(-0.8, 0.8), low=(-0.98, -0.88), high=(0.88, 0.98)),
        },
        axis="speed",
        pair=("mass_ratio", "offset"),
    ),
    "pendulum": Scenario(
        build=_pendulum,
        factors={
            "length": Factor(unit="m", train=(0.8, 1.4), low=(0.5, 0.7), high=(1.6, 2.0)),
            "amplitude": Factor(unit="deg", train=(15.0, 55.0), low=(4.0, 10.0), high=(65.0, 80.0)),
            "mass": _MASS,
        },
        axis="length",
        pair=("length", "amplitude"),
    ),
    "double_pendulum": Scenario(
        build=_double_pendulum,
        factors={
            "length_1": Factor(unit="m", train=(0.48, 0.7)),
            "length_2": Factor(unit="m", train=(0.48, 0.6)),
            "mass_ratio": _RATIO,
            "angle_1": Factor(unit="deg", train=(30.0, 110.0), low=(5.0, 20.0), high=(130.0, 170.0)),
            "angle_2": Factor(unit="deg", train=(30.0, 110.0), low=(5.0, 20.0), high=(130.0, 170.0)),
        },
        axis="angle_1",
        pair=("angle_1", "angle_2"),
    ),
    "stack": Scenario(
        build=_stack,
        factors={
            "count": Factor(train=(2, 4), high=(5, 5), is_integer=True),
            "offset": Factor(unit="half sizes", train=(0.1, 0.8), low=(0.0, 0.05), high=(0.9, 1.2)),
            "size": Factor(unit="m", train=(0.48, 0.56)),
            "friction": _FRICTION,
        },
        axis="offset",
        pair=("count", "offset"),
    ),
    "dominoes": Scenario(
        build=_dominoes,
        factors={
            "count": Factor(train=(4, 6), low=(3, 3), high=(7, 7), is_integer=True),
            "spacing": Factor(unit="m", train=(0.34, 0.44), low=(0.28, 0.31), high=(0.47, 0.50)),
            "missing": Factor(unit="index", train=(0, 9), is_integer=True),
            "friction": _FRICTION,
        },
        axis="spacing",
        pair=("count", "spacing"),
    ),
    "occlusion": Scenario(
        build=_occlusion,
        factors={
            "speed": Factor(unit="m/s", train=(0.8, 1.5), low=(0.5, 0.7), high=(1.8, 2.4)),
            "hidden_steps": Factor(unit="steps", train=(3, 12), low=(1, 2), high=(14, 24), is_integer=True),
        },
        axis="hidden_steps",
        pair=("speed", "hidden_steps"),
    ),
    "containment": Scenario(
        build=_containment,
        factors={
            "speed": Factor(unit="m/s", train=(0.5, 1.2), low=(0.2, 0.4), high=(1.5, 2.0)),
            "period": Factor(unit="s", train=(1.4, 2.2), low=(1.0, 1.2), high=(2.4, 2.6)),
            "count": Factor(train=(1, 2), is_integer=True),
        },
        axis="speed",
        pair=("speed", "period"),
    ),
    "support_removal": Scenario(
        build=_support_removal,
        factors={
            "height": Factor(unit="m", train=(0.7, 1.4), low=(0.4, 0.6), high=(1.6, 1.9)),
            "remove_step": Factor(unit="steps", train=(8, 36), low=(3, 6), high=(42, 60), is_integer=True),
            "speed": Factor(unit="m/s", train=(3.0, 5.0), low=(1.5, 2.5), high=(6.0, 8.0)),
            "friction": Factor(train=(0.05, 0.2), low=(0.01, 0.03), high=(0.3, 0.5)),
            "shape": Factor(values=("box", "ball")),
        },
        axis="height",
        pair=("height", "remove_step"),
    ),
    "solid_wall": Scenario(
        build=_solid_wall,
        factors={
            "speed": Factor(unit="m/s", train=(1.0, 3.0), low=(0.4, 0.8), high=(4.0, 8.0)),
            "thickness": Factor(unit="m", train=(0.14, 0.40), low=(0.08, 0.12), high=(0.5, 0.7)),
            "restitution": _RESTITUTION,
            "opening": Factor(values=("closed", "open")),
        },
        axis="speed",
        pair=("speed", "restitution"),
    ),
    "push": Scenario(
        build=_push,
        factors={
            "mass": _MASS,
            "friction": _FRICTION,
            "distance": Factor(unit="m", train=(0.0, 0.6), high=(0.65, 0.8)),
            "start_y": Factor(unit="m", train=(-0.5, 0.5), low=(-0.7, -0.55), high=(0.55, 0.7)),
            "goal_y": Factor(unit="m", train=(-0.5, 0.5), low=(-0.7, -0.55), high=(0.55, 0.7)),
        },
        axis="goal_y",
        pair=("friction", "mass"),
        acts=HAND,
    ),
    "pick_place": Scenario(
        build=_pick_place,
        factors={
            "mass": Factor(unit="kg", train=(0.2, 1.0), low=(0.05, 0.15), high=(1.5, 2.0)),
            "friction": Factor(train=(0.5, 0.9), low=(0.3, 0.4), high=(1.0, 1.3)),
            "distance": Factor(unit="m", train=(0.0, 0.6), high=(0.65, 0.8)),
            "start_x": Factor(unit="m", train=(-0.9, -0.4)),
            "goal_y": Factor(unit="m", train=(-0.4, 0.4), low=(-0.6, -0.45), high=(0.45, 0.6)),
        },
        axis="goal_y",
        pair=("mass", "distance"),
        acts=HAND,
    ),
    "cart": Scenario(
        build=_cart,
        factors={
            "speed": Factor(unit="m/s", train=(1.0, 2.5), low=(0.0, 0.6), high=(3.0, 4.0)),
            "friction": Factor(train=(0.3, 0.9), low=(0.04, 0.15), high=(1.0, 1.3)),
            "distance": Factor(unit="m", train=(2.4, 3.6)),
            "goal_bearing": Factor(unit="deg", train=(-35.0, 35.0)),
        },
        axis="friction",
        pair=("speed", "friction"),
        acts=("throttle", "steer"),
    ),
    "camera": Scenario(
        build=_camera,
        factors={
            "azimuth": Factor(unit="deg", train=(-60.0, 60.0), low=(-120.0, -75.0), high=(75.0, 120.0)),
            "elevation": Factor(unit="deg", train=(18.0, 40.0), low=(10.0, 15.0), high=(45.0, 60.0)),
            "spread": Factor(unit="m", train=(0.75, 1.0)),
            "count": Factor(train=(3, 5), low=(2, 2), high=(6, 6), is_integer=True),
        },
        axis="azimuth",
        pair=("elevation", "count"),
        acts=("camera",),
    ),
    "clutter": Scenario(
        build=_clutter,
        factors={
            "count": Factor(train=(3, 5), low=(1, 2), high=(6, 8), is_integer=True),
            "speed": Factor(unit="m/s", train=(0.5, 1.5), low=(0.1, 0.3), high=(2.0, 3.0)),
            "friction": Factor(train=(0.1, 0.4), low=(0.01, 0.05), high=(0.6, 0.9)),
            "restitution": _RESTITUTION,
        },
        axis="count",
        pair=("count", "speed"),
    ),
}
"""Scenarios by name."""
