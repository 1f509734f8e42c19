"""Captions: the same facts in many wordings, chosen by a seed, with some wordings kept out of training.

A wording is one word group of a first list before one of a second. Pairs whose indices add up to a multiple of five are
held out: each of their words is still learned, in other company.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

__all__ = ["Caption", "Wordings", "choose", "street_caption", "told", "worded"]

Caption = dict[str, str]
"""``{"en": ..., "zh": ...}``."""


@dataclass(frozen=True)
class Wordings:
    """The ways to say one thing in one language.

    Each product is a pair of lists, word groups separated by ``|``; every group of the first goes before every group of
    the second.
    """

    products: tuple[tuple[str, str], ...]
    glue: str = " "
    """Between the two; empty in Chinese."""

    @cached_property
    def train(self) -> tuple[str, ...]:
        """What training captions say."""
        return self._pairs(is_held_out=False)

    @cached_property
    def held_out(self) -> tuple[str, ...]:
        """What no training caption says: one in five."""
        return self._pairs(is_held_out=True)

    @property
    def all(self) -> tuple[str, ...]:
        """Every wording."""
        return self.train + self.held_out

    def _pairs(self, *, is_held_out: bool) -> tuple[str, ...]:
        return tuple(
            f"{a}{self.glue}{b}".strip()
            for first, second in self.products
            for i, a in enumerate(first.split("|"))
            for j, b in enumerate(second.split("|"))
            if ((i + j) % 5 == 0) == is_held_out
        )


def worded(en: Sequence[tuple[str, str]], zh: Sequence[tuple[str, str]]) -> dict[str, Wordings]:
    """Return the wordings of one thing by language."""
    return {"en": Wordings(tuple(en)), "zh": Wordings(tuple(zh), glue="")}


def choose(wordings: Wordings, rng: np.random.Generator, *, is_held_out: bool) -> str:
    """Draw a wording, each equally often."""
    options = wordings.held_out if is_held_out else wordings.train
    return options[int(rng.integers(len(options)))]


def told(
    wordings: Mapping[str, Wordings],
    key: tuple[int, ...],
    wording: str = "train",
    slots: Mapping[str, Mapping[str, str]] | None = None,
) -> Caption:
    """Return ``{"en", "zh"}`` in wordings that a key chooses.

    Args:
        wordings: By language, with slots in braces.
        key: Seed of the choice.
        wording: ``train`` or ``held_out``.
        slots: What stands in the slots, by language.
    """
    rng = np.random.default_rng(key)
    said = {}
    for language in ("en", "zh"):
        text = choose(wordings[language], rng, is_held_out=wording == "held_out")
        said[language] = text.format(**(slots or {}).get(language, {}))
    return said


_LEAD = {
    "en": (
        "driving through the city", "a drive along city streets", "a car rides through town",
        "riding down an urban road", "moving through downtown", "a street scene from a moving car",
    ),
    "zh": ("在城市里开车", "沿着城市街道行驶", "汽车穿过市区", "在城市道路上行驶", "在市中心驾车", "行车中的街景"),
}  # fmt: skip
_TIME = {
    "en": {
        "day": ("day", "afternoon", "morning", "midday", "noon", "daytime"),
        "dusk": ("evening", "dusk", "sunset", "twilight", "sundown", "nightfall"),
        "night": ("night", "midnight", "nighttime", "dark night", "night hour", "city night"),
    },
    "zh": {
        "day": ("白天", "下午", "上午", "中午", "正午", "日间"),
        "dusk": ("黄昏", "傍晚", "日落时分", "暮色中", "夕阳下", "黄昏时分"),
        "night": ("夜晚", "深夜", "夜间", "晚上", "午夜", "夜色中"),
    },
}
_WEATHER = {
    "en": {
        "clear": ("clear", "dry", "fine", "cloudless", "clear and dry", "fine and clear"),
        "rain": ("rainy", "wet", "wet and rainy", "drizzle and rain", "raining", "rain-filled"),
        "fog": ("foggy", "misty", "hazy", "fog-filled", "foggy and misty", "hazy and foggy"),
    },
    "zh": {
        "clear": ("晴朗", "晴天", "天气晴朗", "天空晴朗", "晴", "无雨晴朗"),
        "rain": ("雨天", "下雨", "阴雨", "雨中", "有雨", "正在下雨"),
        "fog": ("雾天", "有雾", "大雾", "雾中", "起雾", "雾气弥漫"),
    },
}
_TRAFFIC = {
    "en": {
        "heavy": ("heavy traffic", "busy traffic", "dense traffic", "crowded streets", "many cars", "congested roads"),
        "light": ("light traffic", "quiet streets", "few cars", "sparse traffic", "calm traffic", "empty roads"),
    },
    "zh": {
        "heavy": ("车流密集", "交通繁忙", "车多拥挤", "道路拥堵", "车辆众多", "街道繁忙"),
        "light": ("车流稀少", "交通畅通", "车少", "街道安静", "车辆稀少", "道路空旷"),
    },
}
_FRAMES = {
    "en": (
        "{lead} on a {weather} {time} with {traffic}", "{lead}, {weather} {time}, {traffic}",
        "{traffic} on a {weather} {time}: {lead}", "a {weather} {time}, {traffic}, {lead}",
        "{weather} {time} in the city with {traffic}", "{lead}; it is a {weather} {time} with {traffic}",
    ),
    "zh": (
        "{weather}{time},{traffic},{lead}", "{time}{weather},{lead},{traffic}", "{lead},{time},{weather},{traffic}",
        "{traffic},{weather}的{time},{lead}", "{weather}{time},{traffic}的城市街道", "{time},{weather},{traffic}",
    ),
}  # fmt: skip


def street_caption(time: str, weather: str, traffic: str, key: tuple[int, ...]) -> dict[str, str]:
    """Return ``{"en", "zh"}`` for a time of day, a weather and a traffic density; ``key`` decides the wording."""
    en, zh = _texts(time, weather, traffic, key)
    return {"en": en, "zh": zh}


@lru_cache(maxsize=256)
def _texts(time: str, weather: str, traffic: str, key: tuple[int, ...]) -> tuple[str, str]:
    rng = np.random.default_rng(key)
    texts = []
    for language in ("en", "zh"):
        slots = (
            _FRAMES[language],
            _LEAD[language],
            _TIME[language][time],
            _WEATHER[language][weather],
            _TRAFFIC[language][traffic],
        )
        frame, lead, when, how, cars = (options[int(rng.integers(len(options)))] for options in slots)
        texts.append(frame.format(lead=lead, time=when, weather=how, traffic=cars))
    return texts[0], texts[1]
