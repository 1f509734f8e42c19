"""The sky and the road as five numbers, the words for them, and presets named as CARLA's.

Conditions blend linearly, so a storm that comes up or a night that falls is a straight line between two of them; what
they look like is decided in one place, `look_under`, and what they do to tyres in another, `grip_on`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from worldsim_envs.look import Look, blend, look_of

__all__ = ["PRESETS", "TYPICAL", "Conditions", "between", "conditions_of", "grip_on", "look_under", "words_of"]

DRY_GRIP, WET_GRIP = 7.0, 5.0  # m/s2, what tyres hold


@dataclass(frozen=True)
class Conditions:
    """Sun and weather of a moment."""

    sun_height: float
    """Elevation, degrees; below the horizon it is night."""
    cloud: float
    """0 = blue sky, 1 = overcast."""
    rain: float
    """0 = none, 1 = heavy."""
    wetness: float
    """0 = dry road, 1 = wet road."""
    fog: float
    """0 = none, 1 = an extinction of 0.05 per metre."""


TYPICAL: dict[str, dict[str, dict[str, float]]] = {
    "time_of_day": {"day": {"sun_height": 50.0}, "dusk": {"sun_height": 6.0}, "night": {"sun_height": -18.0}},
    "weather": {
        "clear": {"cloud": 0.15, "rain": 0.0, "wetness": 0.0, "fog": 0.0},
        "rain": {"cloud": 0.95, "rain": 0.8, "wetness": 0.9, "fog": 0.0},
        "fog": {"cloud": 0.8, "rain": 0.0, "wetness": 0.0, "fog": 0.9},
    },
}
"""What a word stands for when the weather changes to it."""

_PRESET_SKIES = {
    "Clear": (0.1, 0.0, 0.0, 0.0),  # cloud, rain, wetness, fog
    "Cloudy": (0.8, 0.0, 0.0, 0.0),
    "Wet": (0.1, 0.0, 0.8, 0.0),
    "WetCloudy": (0.8, 0.0, 0.8, 0.0),
    "SoftRain": (0.8, 0.25, 0.7, 0.0),
    "MidRainy": (0.9, 0.6, 0.9, 0.05),
    "HardRain": (1.0, 1.0, 1.0, 0.1),
}
PRESETS = {
    ("MidRain" if (sky, time) == ("MidRainy", "Sunset") else sky) + time: Conditions(height, *numbers)
    for time, height in (("Noon", 65.0), ("Sunset", 5.0), ("Night", -20.0))
    for sky, numbers in _PRESET_SKIES.items()
}
"""CARLA's fourteen presets and seven of the night, by name."""


def between(a: Conditions, b: Conditions, part: float) -> Conditions:
    """Return the conditions ``part`` of the way from ``a`` to ``b``."""
    if part <= 0 or a == b:
        return a
    if part >= 1:
        return b
    return Conditions(*(p + (q - p) * part for p, q in zip(a.__dict__.values(), b.__dict__.values(), strict=True)))


def words_of(conditions: Conditions) -> dict[str, str]:
    """Return the time of day and the weather that conditions are called."""
    height = conditions.sun_height
    time = "day" if height >= 20 else "dusk" if height >= -4 else "night"
    weather = "rain" if conditions.rain >= 0.1 else "fog" if conditions.fog >= 0.3 else "clear"
    return {"time_of_day": time, "weather": weather}


def conditions_of(now: Conditions, wished: Mapping[str, Any]) -> Conditions:
    """Return ``now`` with a preset, then words, then numbers of ``wished`` applied."""
    if wished.get("weather_preset", "none") != "none":
        now = PRESETS[wished["weather_preset"]]
    for factor, meanings in TYPICAL.items():
        if factor in wished:
            now = replace(now, **meanings[wished[factor]])
    return replace(now, **{name: float(wished[name]) for name in now.__dict__ if name in wished})


def grip_on(wetness: float) -> float:
    """Return the acceleration that tyres hold on a road, m/s2."""
    return DRY_GRIP + (WET_GRIP - DRY_GRIP) * wetness


@lru_cache(maxsize=64)
def look_under(conditions: Conditions) -> Look:
    """Return how a street looks under conditions: blends of the nine looks of day, dusk and night."""
    height = conditions.sun_height
    if height >= 7:
        one, other, part = "dusk", "day", min((height - 7) / 21, 1.0)
    else:
        one, other, part = "dusk", "night", min(max((3 - height) / 11, 0.0), 1.0)
    clear, rainy, foggy = (blend(look_of(one, w), look_of(other, w), part) for w in ("clear", "rain", "fog"))
    overcast = replace(rainy, density=0.6 * rainy.density, rain=0.0, wet=0.0)
    look = blend(clear, overcast, min(max((conditions.cloud - 0.1) / 0.7, 0.0), 1.0))
    look = replace(look, density=look.density + (rainy.density - look.density) * conditions.rain)
    look = blend(look, foggy, conditions.fog)
    sun = max(0.3, math.sin(math.radians(height)))
    if height < 7:
        sun += (0.7 - sun) * part
    return replace(look, sun_height=sun, rain=conditions.rain, wet=conditions.wetness)
