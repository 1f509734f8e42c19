"""The factors of an episode on the bench: their ranges in and out of training, and how a seed draws them.

Splits: ``train`` draws every factor in its train range, except the corner where both factors of the scenario's pair
are in their uppermost 30%; of a factor of a few whole numbers the border lies within a number, so that some of the
corner is drawn (at most 1.4% of a scenario's episodes). ``combination`` draws that corner. ``low`` and ``high`` draw
the scenario's axis beyond its range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.errors import EnvError
from worldsim_envs.checks import check_number

__all__ = ["COMMON", "SPLITS", "Factor", "checked", "drawn"]

SPLITS = ("train", "low", "high", "combination")
_CORNER = 0.7


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A number or a word that differs between episodes."""

    unit: str = ""
    train: tuple[float, float] = (0.0, 0.0)
    low: tuple[float, float] | None = None
    """Range below training, if there is one."""
    high: tuple[float, float] | None = None
    is_integer: bool = False
    values: tuple[str, ...] = ()
    """Words instead of numbers."""
    default: str = "drawn: uniform"
    """What it is without being set."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest number that may be set."""
        return (self.low or self.train)[0], (self.high or self.train)[1]

    def at(self, share: float, split: str = "train") -> Any:
        """Return the value a share in [0, 1) of the way through a range."""
        if self.values:
            return self.values[int(share * len(self.values))]
        low, high = {"low": self.low, "high": self.high}.get(split) or self.train
        if self.is_integer:
            return int(low) + int(share * (int(high) - int(low) + 1))
        return round(low + share * (high - low), 4)

    def as_dict(self) -> dict[str, Any]:
        """Return the factor as JSON values."""
        if self.values:
            return {"values": list(self.values), "default": self.default}
        ranges = {name: list(r) for name in ("train", "low", "high") if (r := getattr(self, name)) is not None}
        return {"unit": self.unit, "integer": self.is_integer, **ranges, "default": self.default}


GRAVITY = Factor(unit="m/s2", train=(7.0, 12.0), low=(1.6, 5.0), high=(15.0, 25.0))
COMMON: dict[str, Factor] = {
    "gravity": GRAVITY,
    "hue": Factor(train=(0, 7), is_integer=True),
    "side": Factor(values=("left", "right")),
    "light": Factor(unit="deg", train=(-60.0, 60.0)),
    "change": Factor(values=("none", "gravity"), default="drawn: 0.7 none"),
    "change_to": Factor(unit="m/s2", train=(1.6, 25.0)),
    "change_step": Factor(unit="steps", train=(10, 70), low=(1, 9), high=(71, 95), is_integer=True),
    "change_length": Factor(unit="steps", train=(5, 20), low=(1, 4), high=(21, 95), is_integer=True),
    "wording": Factor(values=("train", "held_out"), default="train"),
}
"""Factors of every scenario; ``change`` is ``gravity`` in 30% of episodes, ``wording`` is ``train`` unless set."""


def drawn(
    own: Mapping[str, Factor], axis: str, pair: tuple[str, str], split: str, shares: np.ndarray
) -> dict[str, Any]:
    """Return the value of every factor of a scenario.

    Args:
        own: Its own factors.
        axis: The factor that leaves its range in the splits ``low`` and ``high``.
        pair: The two factors whose upper corner is kept for the split ``combination``.
        split: One of SPLITS.
        shares: Random numbers in [0, 1), as many as there are factors or more; the same ones give the same values.
    """
    share = dict(zip((*COMMON, *own), shares.tolist(), strict=False))
    first, second = pair
    if split == "combination":
        share |= {name: _CORNER + (1 - _CORNER) * share[name] for name in pair}
    elif min(share[first], share[second]) > _CORNER:
        share[second] = (share[second] - _CORNER) / (1 - _CORNER) * _CORNER
    values = {name: f.at(share[name], split if name == axis else "train") for name, f in ({**COMMON, **own}).items()}
    values["change"] = "gravity" if share["change"] < 0.3 else "none"
    values["wording"] = "train"
    return values


def checked(factors: Mapping[str, Factor], variation: Mapping[str, Any], scenario: str) -> dict[str, Any]:
    """Return wished values of a scenario's factors as plain ones.

    Raises:
        EnvError: If a factor is unknown or its value outside its bounds.
    """
    values = {}
    for name, value in variation.items():
        if name not in factors:
            raise EnvError(f"unknown factor {name!r} of {scenario}; its factors are {', '.join(factors)}")
        factor = factors[name]
        if factor.values:
            if value not in factor.values:
                raise EnvError(f"{name} must be one of {', '.join(factor.values)}; got {value!r}")
            values[name] = value
            continue
        low, high = factor.bounds
        values[name] = check_number(f"{name} of {scenario}", value, low, high, is_integer=factor.is_integer)
    return values
