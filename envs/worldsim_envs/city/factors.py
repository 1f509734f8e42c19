"""The factors of an episode of the city: what a seed draws and a caller may set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldsim.errors import EnvError
from worldsim_envs.checks import check_number
from worldsim_envs.city.traffic import NUM_CARS
from worldsim_envs.city.walkers import NUM_WALKERS
from worldsim_envs.city.weather import PRESETS, Conditions, conditions_of, words_of
from worldsim_envs.look import TIMES, WEATHERS

__all__ = ["CHANGEABLE", "FACTORS", "checked_factors", "draw_factors", "overruled"]

_TRAFFICS = tuple(NUM_CARS)
_SPLITS = ("train", "combination", "low", "high")

FACTORS: dict[str, dict[str, Any]] = {
    "weather_preset": {"values": ["none", *PRESETS], "default": "none"},
    "time_of_day": {"values": list(TIMES), "default": "drawn: 0.4, 0.3, 0.3"},
    "weather": {"values": list(WEATHERS), "default": "drawn: 0.4, 0.3, 0.3; no fog at dusk"},
    "traffic": {"values": list(_TRAFFICS), "default": "drawn: 0.5, 0.5"},
    "pedestrians": {"values": list(NUM_WALKERS), "default": "drawn: 0.3, 0.4, 0.3"},
    "sun_height": {
        "train": [-25.0, 65.0], "low": [-30.0, -25.0], "high": [65.0, 75.0], "unit": "deg",
        "default": "drawn by time_of_day: day 35 to 65, dusk 2 to 9, night -25 to -12",
    },
    "sun_azimuth": {"train": [-180.0, 180.0], "unit": "deg", "default": "drawn: uniform"},
    "cloud": {"train": [0.0, 1.0], "default": "drawn by weather: clear 0 to 0.35, rain 0.8 to 1, fog 0.5 to 1"},
    "rain": {"train": [0.0, 1.0], "default": "drawn by weather: rain 0.5 to 1, else 0"},
    "wetness": {"train": [0.0, 1.0], "default": "drawn by weather: rain 0.7 to 1, else 0"},
    "fog": {"train": [0.0, 1.0], "default": "drawn by weather: fog 0.7 to 1, else 0"},
    "bend": {"train": [0.0, 1.0], "default": "drawn: 0.4 straight streets, else 0.4 to 1"},
    "building_height": {
        "train": [0.7, 1.4], "low": [0.5, 0.7], "high": [1.4, 1.6], "unit": "factor", "default": "drawn: uniform",
    },
    "start_speed": {
        "train": [5.0, 10.0], "low": [2.0, 5.0], "high": [10.0, 13.0], "unit": "m/s", "default": "drawn: uniform",
    },
    "target_speed": {
        "train": [5.0, 9.0], "low": [3.0, 5.0], "high": [9.0, 12.0], "unit": "m/s", "default": "drawn: uniform",
    },
    "side": {"values": ["right", "left"], "default": "drawn: 0.5, 0.5"},
    "map_seed": {"train": [0, 2**31 - 1], "integer": True, "default": "drawn"},
    "change": {
        "values": [
            "none",
            *(f"time_of_day={v}" for v in TIMES),
            *(f"weather={v}" for v in WEATHERS),
            *(f"traffic={v}" for v in _TRAFFICS),
        ],
        "default": "drawn: 0.7 none; never to fog at dusk",
    },
    "change_step": {"train": [1, 1000], "integer": True, "unit": "steps", "default": "drawn: uniform 20 to 110"},
    "change_length": {"train": [1, 100], "integer": True, "unit": "steps", "default": "drawn: uniform 5 to 20"},
    "wording": {"values": ["train", "held_out"], "default": "train"},
    "split": {"values": list(_SPLITS), "default": "train"},
}  # fmt: skip
"""Every factor by name: its values, or its range in training (``train``) and beyond it (``low``, ``high``), and what it
is without being set. Split ``combination`` is fog at dusk; ``low`` and ``high`` draw buildings and speeds beyond."""

CHANGEABLE = ("time_of_day", "weather", "traffic", "pedestrians", *Conditions.__dataclass_fields__, "weather_preset")
"""Factors that a prompt can change in mid-episode."""

_WORDS = ("time_of_day", "weather")
_SUN = {"day": (35.0, 65.0), "dusk": (2.0, 9.0), "night": (-25.0, -12.0)}  # deg
_SKY = {
    # weather: ranges of cloud, rain, wetness, fog
    "clear": ((0.0, 0.35), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
    "rain": ((0.8, 1.0), (0.5, 1.0), (0.7, 1.0), (0.0, 0.0)),
    "fog": ((0.5, 1.0), (0.0, 0.0), (0.0, 0.0), (0.7, 1.0)),
}


def draw_factors(rng: np.random.Generator, wished: Mapping[str, Any]) -> dict[str, Any]:
    """Return every factor: those wished, by words or numbers, and the others drawn to fit them.

    The same number of random numbers is drawn whatever is wished.

    Args:
        rng: Where chance comes from.
        wished: Checked factors.
    """
    u = rng.random(24).tolist()
    split = wished.get("split", "train")
    time = TIMES[int(np.searchsorted((0.4, 0.7), u[0], side="right"))]
    weather = WEATHERS[int(np.searchsorted((0.4, 0.7), u[1], side="right"))]
    if split == "combination":
        time, weather = "dusk", "fog"
    elif (time, weather) == ("dusk", "fog"):
        weather = "clear" if u[20] < 0.5 else "rain"
    time, weather = wished.get("time_of_day", time), wished.get("weather", weather)
    said = _said(wished)
    if (said["time_of_day"] or time, said["weather"] or weather) == ("dusk", "fog") and split != "combination":
        if said["weather"] is None:  # a wish for one of the two moves the other
            weather = "clear" if u[20] < 0.5 else "rain"
        elif said["time_of_day"] is None:
            time = "day" if u[20] < 4 / 7 else "night"
    ranges = zip(Conditions.__dataclass_fields__, (_SUN[time], *_SKY[weather]), u[12:17], strict=True)
    drawn = Conditions(**{name: round(low + (high - low) * part, 4) for name, (low, high), part in ranges})
    # Without a preset the words are in what is drawn; with one they come after it.
    words = _WORDS if _has_preset(wished) else ()
    after = {name: v for name, v in wished.items() if name in (*drawn.__dict__, *words, "weather_preset")}
    conditions = conditions_of(drawn, after)

    def beyond(name: str, part: float) -> float:
        low, high = FACTORS[name][split if split in ("low", "high") else "train"]
        return round(low + (high - low) * part, 4)

    factors = {
        "weather_preset": "none",
        "traffic": _TRAFFICS[int(u[2] * 2)],
        "pedestrians": list(NUM_WALKERS)[int(np.searchsorted((0.3, 0.7), u[17], side="right"))],
        "side": "right" if u[3] < 0.5 else "left",
        "map_seed": int(u[4] * (2**31 - 1)),
        "building_height": beyond("building_height", u[5]),
        "sun_azimuth": round(360 * u[6] - 180, 4),
        "start_speed": beyond("start_speed", u[7]),
        "target_speed": beyond("target_speed", u[22]),
        "bend": 0.0 if u[18] < 0.4 else round(0.4 + 0.6 * u[19], 4),
        "wording": "train",
        "split": split,
        "change_step": 20 + int(u[11] * 91),
        "change_length": 5 + int(u[21] * 16),
        **wished,
        **conditions.__dict__,
        **words_of(conditions),
    }
    if "change" not in wished:
        factors["change"] = _change(factors, u[8:11]) if u[8] < 0.3 else "none"
    return factors


def _has_preset(wished: Mapping[str, Any]) -> bool:
    return wished.get("weather_preset", "none") != "none"


def _said(wished: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the time of day and the weather that wishes settle, in words or by number; None is left to chance."""
    named = words_of(conditions_of(Conditions(50.0, 0.0, 0.0, 0.0, 0.0), wished))
    has_preset = _has_preset(wished)
    is_time = has_preset or "time_of_day" in wished or "sun_height" in wished
    is_weather = has_preset or "weather" in wished or named["weather"] != "clear"
    return {
        "time_of_day": named["time_of_day"] if is_time else None,
        "weather": named["weather"] if is_weather else None,
    }


def overruled(prompted: Mapping[str, Any], variation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the factors of a prompt and those of a variation, which wins: what its words settle, no number undoes.

    A word that says the same as the prompt leaves it its numbers: "heavy rain" stays heavy beside a variation's rain.
    """
    lost: set[str] = set()
    has_preset = _has_preset(variation)
    for word, numbers in (("weather", {"cloud", "rain", "wetness", "fog"}), ("time_of_day", {"sun_height"})):
        if has_preset or variation.get(word) not in (None, prompted.get(word)):
            lost |= {word, *numbers}
    return {**{name: value for name, value in prompted.items() if name not in lost}, **variation}


def _change(factors: Mapping[str, Any], u: list[float]) -> str:
    """Return a change of time, weather or traffic to another value, never to fog at dusk."""
    name, values = (("time_of_day", TIMES), ("weather", WEATHERS), ("traffic", _TRAFFICS))[int(u[1] * 3)]
    barred = {"time_of_day": ("fog", "dusk"), "weather": ("dusk", "fog")}.get(name)
    other = factors["weather" if name == "time_of_day" else "time_of_day"]
    fit = [v for v in values if v != factors[name] and (barred is None or (other, v) != barred)]
    return f"{name}={fit[int(u[2] * len(fit))]}"


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
        low, high = factor.get("low", factor["train"])[0], factor.get("high", factor["train"])[1]
        checked[name] = check_number(name, value, low, high, is_integer=factor.get("integer", False))
    return checked
