"""What a prompt asks of a world, in English or Chinese: words in, factors and unknown words out.

A vocabulary maps phrases to (factor, value). The longest phrase wins; words that only hold a sentence together are
skipped; all others are handed back, because a world must say what it cannot express.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from worldsim.errors import PromptError

__all__ = ["STREET_WORDS", "parse_prompt"]

STREET_WORDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("time_of_day", "day"): (
        "day", "daytime", "daylight", "noon", "midday", "afternoon", "morning",
        "白天", "日间", "正午", "中午", "下午", "上午", "早晨", "白昼",
    ),
    ("time_of_day", "dusk"): (
        "dusk", "evening", "sunset", "twilight", "sundown", "nightfall",
        "黄昏", "傍晚", "日落", "暮色", "夕阳",
    ),
    ("time_of_day", "night"): (
        "night", "nighttime", "midnight", "dark",
        "夜晚", "夜间", "晚上", "深夜", "午夜", "夜里", "夜色", "夜",
    ),
    ("weather", "clear"): (
        "clear", "sunny", "dry", "fine", "cloudless", "no rain", "no fog",
        "晴朗", "晴天", "晴", "无雨", "无雾", "天气好",
    ),
    ("weather", "rain"): (
        "rain", "rainy", "raining", "wet", "drizzle", "downpour", "shower", "showers",
        "雨天", "下雨", "雨中", "阴雨", "雨",
    ),
    ("weather", "fog"): (
        "fog", "foggy", "mist", "misty", "haze", "hazy",
        "雾天", "大雾", "有雾", "雾中", "起雾", "雾气弥漫", "雾气", "雾",
    ),
    ("traffic", "heavy"): (
        "heavy", "busy", "crowded", "dense", "congested", "packed", "rush hour", "many cars", "lots of cars",
        "车流密集", "交通繁忙", "车多", "车辆众多", "拥堵", "繁忙", "密集", "热闹", "拥挤", "川流不息",
    ),
    ("traffic", "light"): (
        "light", "quiet", "empty", "sparse", "calm", "deserted", "few cars", "no cars", "no traffic",
        "车流稀少", "交通畅通", "车少", "车辆稀少", "稀少", "稀疏", "空旷", "安静", "冷清", "畅通",
    ),
}  # fmt: skip
"""Phrases of a street scene by (factor, value)."""

_FILLER = frozenset(
    [
        "a", "an", "the", "in", "on", "at", "with", "and", "of", "to", "by", "through", "along", "across", "down",
        "under", "during", "while", "as", "from", "is", "are", "it", "there", "this", "that", "some", "filled",
        "drive", "drives", "driving", "moving", "ride", "rides", "riding",
        "car", "cars", "vehicle", "vehicles", "traffic",
        "street", "streets", "road", "roads", "avenue", "block", "blocks", "city", "town", "urban", "downtown",
        "view", "scene", "sky", "skies", "weather", "conditions", "air", "time", "hour", "hours",
    ]
)  # fmt: skip
_FILLER_ZH = (
    "城市", "街道", "街头", "街上", "道路", "路上", "市区", "市中心", "马路", "交通", "车流", "车辆", "汽车",
    "驾驶", "驾车", "行驶", "开车", "行车", "街景", "正在", "穿行", "穿过",
    "天气", "天空", "时分", "场景", "一个", "在", "的", "里", "中",
    "上", "下", "和", "与", "着", "沿", "有", "时", "路", "车", "街", "于", "天",
)  # fmt: skip
_TOKEN = re.compile(r"[a-z]+(?:['-][a-z]+)*|[0-9]+|[\u4e00-\u9fff]+", re.IGNORECASE)
_STRENGTH = frozenset({"light", "heavy", "dense"})


def parse_prompt(
    text: object, vocabulary: Mapping[tuple[str, str], tuple[str, ...]] = STREET_WORDS
) -> tuple[dict[str, str], list[str]]:
    """Return the factors that a prompt sets, and the words that it holds beside them, in order.

    Args:
        text: The prompt; English and Chinese may be mixed.
        vocabulary: Phrases by (factor, value).

    Raises:
        PromptError: If it is not a text or no word of it was understood.
    """
    if not isinstance(text, str):
        raise PromptError(f'a prompt must be a text such as "a rainy night, heavy traffic"; got {text!r}')
    phrases = {phrase: target for target, words in vocabulary.items() for phrase in words}
    factors: dict[str, str] = {}
    unknown: list[str] = []
    words = _words(text, phrases)
    at = 0
    while at < len(words):
        for size in (3, 2, 1):
            phrase = " ".join(words[at : at + size])
            if phrase in phrases and at + size <= len(words):
                break
        else:
            phrase, size = words[at], 1
        after = words[at + 1] if at + 1 < len(words) else ""
        if phrase in _STRENGTH and phrases.get(after, ("", ""))[0] == "weather":
            unknown.append(phrase)  # how strong a rain or fog is has no factor
        elif phrase in phrases:
            factor, value = phrases[phrase]
            factors[factor] = value
        elif phrase not in _FILLER and phrase not in _FILLER_ZH:
            unknown.append(phrase)
        at += size
    if not factors:
        known = ", ".join(words[0] for words in vocabulary.values())
        raise PromptError(f"no word of the prompt {text!r} was understood; words that are: {known} (and their Chinese)")
    return factors, list(dict.fromkeys(unknown))


def _words(text: str, phrases: Mapping[str, object]) -> list[str]:
    """Return lower-case English words and the longest known pieces of Chinese; unknown characters stay together."""
    words: list[str] = []
    for token in _TOKEN.findall(text):
        if not "\u4e00" <= token[0] <= "\u9fff":
            words += token.lower().split("-") if token.lower() not in phrases else [token.lower()]
            continue
        loose = ""
        while token:
            known = max((p for p in (*phrases, *_FILLER_ZH) if token.startswith(p)), key=len, default="")
            if known and loose:
                words.append(loose)
                loose = ""
            if known:
                words.append(known)
            else:
                loose += token[0]
            token = token[len(known) or 1 :]
        if loose:
            words.append(loose)
    return words
