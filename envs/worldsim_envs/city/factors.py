"""The factors of an episode of the city: what a seed draws and a caller may set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldsim.errors import EnvError
from worldsim_envs.look import TIMES, WEATHERS

__all__ = ["FACTORS", "checked_factors", "draw_factors"]

FACTORS: dict[str, dict[str, Any]] = {
    "time_of_day": {"values": list(TIMES), "default": "drawn: 0.4, 0.3, 0.3"},
    "weather": {"values": list(WEATHERS), "default": "drawn: 0.4, 0.3, 0.3"},
    "traffic": {"values": ["light", "heavy"], "default": "drawn: 0.5, 0.5"},
    "side": {"values": ["right", "left"], "default": "drawn: 0.5, 0.5"},
    "map_seed": {"low": 0, "high": 2**31 - 1, "integer": True, "default": "drawn"},
    "building_height": {"low": 0.5, "high": 1.6, "unit": "factor", "default": "drawn: uniform 0.7 to 1.4"},
    "sun_azimuth": {"low": -180.0, "high": 180.0, "unit": "deg", "default": "drawn: uniform"},
    "start_speed": {"low": 5.0, "high": 10.0, "unit": "m/s", "default": "drawn: uniform"},
    "change": {
        "values": ["none", *(f"time_of_day={v}" for v in TIMES), *(f"weather={v}" for v in WEATHERS)],
        "default": "drawn: 0.7 none",
    },
    "change_step": {"low": 1, "high": 1000, "integer": True, "unit": "steps", "default": "drawn: uniform 20 to 110"},
    "change_length": {"low": 1, "high": 100, "integer": True, "unit": "steps", "default": "drawn: uniform 5 to 20"},
}
"""Values or range of every factor by name, and what it is without being set."""


def draw_factors(rng: np.random.Generator) -> dict[str, Any]:
    """Draw every factor, always with the same number of random numbers."""
    u = rng.random(12)
    drawn = {
        "time_of_day": TIMES[int(np.searchsorted((0.4, 0.7), u[0], side="right"))],
        "weather": WEATHERS[int(np.searchsorted((0.4, 0.7), u[1], side="right"))],
        "traffic": "light" if u[2] < 0.5 else "heavy",
        "side": "right" if u[3] < 0.5 else "left",
        "map_seed": int(u[4] * (2**31 - 1)),
        "building_height": round(0.7 + 0.7 * u[5], 4),
        "sun_azimuth": round(360 * u[6] - 180, 4),
        "start_speed": round(5 + 5 * u[7], 4),
    }
    factor, values = ("time_of_day", TIMES) if u[9] < 0.5 else ("weather", WEATHERS)
    others = [v for v in values if v != drawn[factor]]
    drawn["change"] = f"{factor}={others[int(u[10] * 2)]}" if u[8] < 0.3 else "none"
    drawn["change_step"] = 20 + int(u[11] * 91)
    drawn["change_length"] = 5 + int(rng.random() * 16)
    return drawn


def checked_factors(variation: Mapping[str, Any]) -> dict[str, Any]:
    """Return factors as plain values.

    Raises:
        EnvError: If a factor is unknown or its value outside the range.
    """
    checked = {}
    for name, value in variation.items():
        if name not in FACTORS:
            raise EnvError(f"unknown factor {name!r}; factors are {', '.join(FACTORS)}")
        factor = FACTORS[name]
        if "values" in factor:
            if value not in factor["values"]:
                raise EnvError(f"{name} must be one of {', '.join(factor['values'])}; got {value!r}")
            checked[name] = value
            continue
        is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not is_number or not factor["low"] <= value <= factor["high"]:
            raise EnvError(f"{name} must be a number from {factor['low']} to {factor['high']}; got {value!r}")
        checked[name] = int(value) if factor.get("integer") else float(value)
    return checked
