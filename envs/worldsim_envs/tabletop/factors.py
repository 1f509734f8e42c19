"""The factors of an episode on the table: what each task varies, its ranges in and out of training, how a seed draws.

The splits are the bench's (`worldsim_envs.lab.factors`): ``train`` leaves out the upper corner of the task's pair of
factors, ``combination`` draws only that corner, ``low`` and ``high`` take the task's axis beyond its range.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from worldsim_envs.lab.factors import Factor

__all__ = ["AXES", "COMMON", "LIGHT_WORDS", "NUM_SHARES", "OWN", "PAIRS", "TASKS", "drawn", "light_band"]

TASKS = ("reach", "push", "stack")
LIGHT_WORDS = {"dim": 0.62, "ordinary": 0.88, "bright": 1.06}
"""Brightness, times that of the lamp, that a word of a prompt stands for."""
_CORNER = 0.7
_CHANGES = ("none", "light", "gravity")

COMMON: dict[str, Factor] = {
    "hue": Factor(train=(0, 7), is_integer=True),
    "side": Factor(values=("left", "right")),
    "extra": Factor(unit="blocks", train=(0, 1), high=(2, 2), is_integer=True),
    "sun": Factor(unit="deg", train=(-60.0, 60.0)),
    "light": Factor(unit="times", train=(0.6, 1.1), low=(0.35, 0.5), high=(1.12, 1.25)),
    "gravity": Factor(unit="m/s2", train=(7.0, 12.0), low=(1.6, 5.0), high=(15.0, 25.0)),
    "hand_x": Factor(unit="m", train=(-0.12, 0.16)),
    "hand_y": Factor(unit="m", train=(-0.12, 0.12)),
    "change": Factor(values=_CHANGES, default="drawn: 0.7 none"),
    "change_light": Factor(unit="times", train=(0.6, 1.1), low=(0.35, 0.5), high=(1.12, 1.25)),
    "change_gravity": Factor(unit="m/s2", train=(1.6, 25.0)),
    "change_step": Factor(unit="steps", train=(8, 60), low=(1, 7), high=(61, 99), is_integer=True),
    "change_length": Factor(unit="steps", train=(5, 20), low=(1, 4), high=(21, 99), is_integer=True),
    "wording": Factor(values=("train", "held_out"), default="train"),
}
"""Factors of every task; ``change`` is not ``none`` in 30% of episodes, ``wording`` is ``train`` unless set."""

_BLOCK: dict[str, Factor] = {
    "mass": Factor(unit="kg", train=(0.1, 0.8), low=(0.02, 0.06), high=(1.2, 2.5)),
    "friction": Factor(train=(0.4, 0.9), low=(0.08, 0.25), high=(1.1, 1.5)),
    "size": Factor(unit="m", train=(0.105, 0.125), low=(0.095, 0.102), high=(0.128, 0.14)),
    "yaw": Factor(unit="deg", train=(-12.0, 12.0), low=(-40.0, -20.0), high=(20.0, 40.0)),
    "distance": Factor(unit="m", train=(0.2, 0.28), low=(0.16, 0.18), high=(0.32, 0.38)),
    "bearing": Factor(unit="deg", train=(-45.0, 45.0)),
    "centre_x": Factor(unit="m", train=(0.06, 0.12)),
    "centre_y": Factor(unit="m", train=(-0.03, 0.03)),
}
OWN: dict[str, dict[str, Factor]] = {
    "reach": {
        "goal_x": Factor(unit="m", train=(-0.14, 0.24), high=(0.28, 0.36)),
        "goal_y": Factor(unit="m", train=(-0.18, 0.18), low=(-0.26, -0.2), high=(0.2, 0.26)),
        "height": Factor(unit="m", train=(0.08, 0.28), low=(0.03, 0.06), high=(0.32, 0.4)),
    },
    "push": _BLOCK,
    "stack": {
        **_BLOCK,
        "mass_b": Factor(unit="kg", train=(0.1, 0.8), low=(0.02, 0.06), high=(1.2, 2.5)),
        "size_b": Factor(unit="m", train=(0.105, 0.125), low=(0.095, 0.102), high=(0.128, 0.14)),
    },
}
"""Factors of each task beside the common ones. ``friction`` is between block and table; the fingers have 1.4 times as
much, two blocks its square. The block begins on one ``side`` and its goal lies ``distance`` away, at a ``bearing`` from
straight across."""
AXES = {"reach": "height", "push": "distance", "stack": "distance"}
"""The factor that the splits ``low`` and ``high`` take out of its range."""
PAIRS = {"reach": ("goal_x", "height"), "push": ("mass", "friction"), "stack": ("mass", "size")}
"""The factors whose upper corner is the split ``combination``."""
NUM_SHARES = len(COMMON) + max(map(len, OWN.values()))


def drawn(task: str, split: str, shares: np.ndarray) -> dict[str, Any]:
    """Return the value of every factor of a task.

    Args:
        task: One of TASKS.
        split: train, low, high or combination.
        shares: (NUM_SHARES,) random numbers in [0, 1); the same ones give the same values.
    """
    factors = {**COMMON, **OWN[task]}
    share = dict(zip(factors, shares.tolist(), strict=False))
    first, second = PAIRS[task]
    if split == "combination":
        share |= {name: _CORNER + (1 - _CORNER) * share[name] for name in (first, second)}
    elif min(share[first], share[second]) > _CORNER:
        share[second] = (share[second] - _CORNER) / (1 - _CORNER) * _CORNER
    values = {name: f.at(share[name], split if name == AXES[task] else "train") for name, f in factors.items()}
    values["change"] = "light" if share["change"] < 0.2 else "gravity" if share["change"] < 0.3 else "none"
    values["wording"] = "train"
    return values


def light_band(light: float) -> str:
    """Return ``dim``, ``ordinary`` or ``bright`` for a brightness."""
    return "dim" if light < 0.76 else "ordinary" if light < 0.96 else "bright"
