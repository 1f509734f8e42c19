"""What the city says and understands: captions of a scene in English and Chinese, and what its prompts may ask for.

Every caption names time of day, weather and traffic; people, buildings and the shape of the streets are named in some.
No word of one slot is used by another: whoever learns from a bag of words can still tell what is dense.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from worldsim_envs.captions import Caption, Wordings, choose, worded
from worldsim_envs.city.weather import PRESETS
from worldsim_envs.prompts import Reading, Words, read_prompt

__all__ = ["CITY_WORDS", "SCENE", "city_prompt", "draw_city_prompt", "scene_caption", "scene_values"]

LIGHT_RAIN, HEAVY_RAIN = 0.4, 0.8
"""Rain below the first is light, from the second on heavy."""
THIN_FOG, THICK_FOG = 0.55, 0.85
CLOUDY, WET = 0.5, 0.5
LOW, TALL = 0.85, 1.2
"""Building heights below and above."""

_SKY = "weather|sky|skies|air|conditions"
_ZH_SKY = "|天气|时候|路上|场景"

SCENE: dict[tuple[str, str], dict[str, Wordings]] = {
    ("time_of_day", "day"): worded(
        [("|early|late|bright|full", "day|daytime|morning|noon|midday|afternoon")],
        [("|正值|时值|已是|恰逢", "白天|日间|上午|中午|正午|下午")],
    ),
    ("time_of_day", "dusk"): worded(
        [("|early|late|dim|falling", "dusk|evening|sunset|twilight|sundown|nightfall")],
        [("|正值|时值|已是|恰逢", "黄昏|傍晚|日落|暮色|夕阳")],
    ),
    ("time_of_day", "night"): worded(
        [("|late|dark|deep|black", "night|nighttime|midnight|night hour|city night")],
        [("|正值|时值|已是|恰逢", "夜晚|深夜|夜间|晚上|午夜|夜色")],
    ),
    ("weather", "clear"): worded(
        [("clear|fine|cloudless|dry|rainless", _SKY)],
        [("|天气|天空|一路|四处", "晴朗|晴好|放晴|晴天|无云")],
    ),
    ("weather", "cloudy"): worded(
        [("cloudy|overcast|clouded|leaden|sunless", _SKY)],
        [("多云|阴天|阴沉|云层遮日|乌云", _ZH_SKY)],
    ),
    ("weather", "rain"): worded(
        [("rainy|wet|showery|rain-filled|rain-soaked", _SKY)],
        [("下雨|有雨|雨天|阴雨|雨中", _ZH_SKY)],
    ),
    ("weather", "light rain"): worded(
        [("soft|gentle|slight|faint|weak", "rain|drizzle|shower|sprinkle|raindrops")],
        [("小雨|细雨|微雨|毛毛雨|零星雨", "|飘落|蒙蒙|纷纷|绵绵")],
    ),
    ("weather", "heavy rain"): worded(
        [("hard|pouring|torrential|lashing|violent", "rain|downpour|rainfall|rainstorm|cloudburst")],
        [("大雨|暴雨|豪雨|骤雨|强雨", "|倾盆|如注|滂沱|猛烈")],
    ),
    ("weather", "fog"): worded(
        [("foggy|misty|hazy|fog-filled|fogbound", _SKY)],
        [("有雾|起雾|雾天|雾中|多雾", _ZH_SKY)],
    ),
    ("weather", "thin fog"): worded(
        [("soft|gentle|slight|faint|weak", "fog|mist|haze|fog veil|mist veil")],
        [("薄雾|轻雾|淡雾|微雾|浅雾", "|笼罩|飘浮|弥散|缭绕")],
    ),
    ("weather", "thick fog"): worded(
        [("thick|solid|blinding|opaque|murky", "fog|mist|haze|fog bank|fog cloud")],
        [("浓雾|大雾|重雾|厚雾|迷雾", "|弥漫|封路|茫茫|锁城")],
    ),
    ("traffic", "heavy"): worded(
        [("heavy|busy|dense|congested|crowded", "traffic|road traffic|street traffic"),
         ("busy|crowded|congested|jammed|clogged", "streets|roads"),
         ("many|plenty of|lots of|numerous|countless", "cars|vehicles")],
        [("车流|交通|道路|街道|车道", "密集|繁忙|拥挤|拥堵|堵塞"), ("车辆|汽车|车子|轿车|来车", "众多|很多")],
    ),
    ("traffic", "light"): worded(
        [("light|quiet|sparse|calm|little", "traffic|road traffic|street traffic"),
         ("quiet|empty|calm|free|lonely", "streets|roads"),
         ("few|hardly any|scarcely any|a couple of|only isolated", "cars|vehicles")],
        [("车流|交通|道路|街道|车道", "稀少|畅通|安静|空旷|冷清"), ("车辆|汽车|车子|轿车|来车", "很少|不多")],
    ),
    ("pedestrians", "none"): worded(
        [("deserted|unpeopled|abandoned|vacant|forsaken", "pavements|sidewalks|footpaths|kerbs")],
        [("人行道|路边|街边|两旁|路旁", "无人|没人|空无一人|不见行人|没有行人")],
    ),
    ("pedestrians", "some"): worded(
        [("several|a handful of|occasional|a trickle of|scattered", "pedestrians|walkers|passers-by|people")],
        [("几个|若干|三两个|数名|零落", "行人|路人|步行者|过客")],
    ),
    ("pedestrians", "many"): worded(
        [("crowds of|throngs of|swarms of|masses of|hordes of", "pedestrians|walkers|passers-by|people")],
        [("行人|路人|步行者|人群|过客", "熙攘|如织|涌动|成群|摩肩接踵")],
    ),
    ("buildings", "low"): worded(
        [("low|squat|stubby|single-storey|flat-roofed", "buildings|houses|blocks|facades")],
        [("低矮|矮小|低层|扁平|矮矮", "楼房|建筑|房屋|楼宇")],
    ),
    ("buildings", "medium"): worded(
        [("mid-rise|medium|middling|ordinary|average", "buildings|houses|blocks|facades")],
        [("中层|中等|普通|寻常|一般", "楼房|建筑|房屋|楼宇")],
    ),
    ("buildings", "tall"): worded(
        [("tall|high|towering|lofty|soaring", "buildings|houses|blocks|facades")],
        [("高大|高耸|高层|巍峨|参天", "楼房|建筑|大楼|楼宇")],
    ),
    ("bend", "straight"): worded(
        [("straight|unbending|ruler-straight|linear|gridded", "streets|roads|avenues|lanes")],
        [("笔直|直直|平直|方正|直线", "街道|道路|马路|街巷")],
    ),
    ("bend", "curved"): worded(
        [("curved|winding|bending|twisting|meandering", "streets|roads|avenues|lanes")],
        [("弯曲|蜿蜒|曲折|弯弯|盘绕", "街道|道路|马路|街巷")],
    ),
    ("wetness", "wet"): worded(
        [("puddled|glistening|slick|dripping|waterlogged", "asphalt|tarmac|roadway|surface")],
        [("积水|湿滑|湿漉漉|反光|潮湿", "路面|柏油|地面|街面")],
    ),
    ("lead", ""): worded(
        [("driving|riding|moving|rolling|cruising",
          "through the city|along city streets|through town|down an urban road|through downtown")],
        [("在城市里|沿着街道|在市区|在市中心|沿着马路", "开车|驾车|行驶|行车|前行")],
    ),
}  # fmt: skip
"""The wordings of everything that a caption names, by slot and value."""

_SETS: dict[tuple[str, str], dict[str, Any]] = {
    ("weather", "cloudy"): {"cloud": 0.8},
    ("weather", "light rain"): {"weather": "rain", "rain": 0.3},
    ("weather", "heavy rain"): {"weather": "rain", "rain": 0.9},
    ("weather", "thin fog"): {"weather": "fog", "fog": 0.45},
    ("weather", "thick fog"): {"weather": "fog", "fog": 0.95},
    ("buildings", "low"): {"building_height": 0.75},
    ("buildings", "medium"): {"building_height": 1.0},
    ("buildings", "tall"): {"building_height": 1.35},
    ("bend", "straight"): {"bend": 0.0},
    ("bend", "curved"): {"bend": 0.8},
    ("wetness", "wet"): {"wetness": 0.8},
    ("rain and fog", ""): {"weather": "rain", "rain": 0.6, "fog": 0.7},
    ("side", "left"): {"side": "left"},
    ("side", "right"): {"side": "right"},
    **{("preset", name): {"weather_preset": name} for name in PRESETS},
}
"""What the words of a slot's value set, where it is not the factor of that name and value."""

_MORE: dict[tuple[str, str], str] = {
    ("time_of_day", "day"): "daylight|mid-day|白昼|早晨|白日|大白天",
    ("time_of_day", "dusk"): "日落时分|黄昏时分|暮色中|夕阳下|薄暮",
    ("time_of_day", "night"): "dark|nocturnal|夜里|夜幕|黑夜|夜",
    ("weather", "clear"): (
        "clear|sunny|dry|fine|cloudless|rainless|blue sky|blue skies|"
        "晴|晴天|无雨晴朗|天气好|天气很好|阳光"
    ),
    ("weather", "cloudy"): "cloudy|overcast|clouded|clouds|grey sky|阴",
    ("weather", "rain"): (
        "rain|rains|rainy|raining|wet|showers|shower|wet and rainy|moderate rain|steady rain|"
        "雨|中雨"
    ),
    ("weather", "light rain"): (
        "light rain|light drizzle|drizzle|drizzling|sprinkle|light showers|light shower|soft rain|little rain|"
        "毛毛细雨"
    ),
    ("weather", "heavy rain"): (
        "heavy rain|heavy rainfall|hard rain|pouring|downpour|rainstorm|cloudburst|torrential|heavy showers|"
        "heavy downpour|strong rain|"
        "倾盆大雨|瓢泼大雨|强降雨"
    ),
    ("weather", "fog"): "fog|foggy|mist|misty|haze|hazy|雾|雾气",
    ("weather", "thin fog"): "light fog|light mist|light haze|thin fog|thin mist|thin haze|轻微雾气",
    ("weather", "thick fog"): "dense fog|heavy fog|dense mist|heavy mist|pea soup|雾很大|雾气弥漫|浓重雾气",
    ("traffic", "heavy"): (
        "packed streets|packed roads|rush hour|traffic jam|gridlock|busy|congested|congestion|much traffic|"
        "a lot of traffic|a lot of cars|bustling traffic|"
        "车多|车多拥挤|高峰时段|堵车|川流不息|车水马龙|热闹街道|街道热闹|拥堵|拥堵街道|交通拥堵|车辆密集|"
        "车流众多|繁忙"
    ),
    ("traffic", "light"): (
        "light traffic|deserted streets|deserted roads|thin traffic|low traffic|empty street|empty road|"
        "a few cars|little traffic|"
        "车少|车辆稀少|车流稀疏|车辆稀疏|街上冷清|冷清街道|空旷街道"
    ),
    ("pedestrians", "none"): (
        "no pedestrians|no people|without pedestrians|without people|nobody|no one|"
        "空无行人|空无一人|无行人|街上没人"
    ),
    ("pedestrians", "some"): (
        "pedestrians|pedestrian|people|walkers|passers-by|some pedestrians|some people|a few people|"
        "a few pedestrians|few people|few pedestrians|"
        "行人|路人|有行人|少数行人|行人稀少|一些行人"
    ),
    ("pedestrians", "many"): (
        "many pedestrians|many people|crowds|crowd|lots of people|lots of pedestrians|crowded pavements|"
        "crowded sidewalks|busy pavements|busy sidewalks|packed pavements|packed sidewalks|"
        "行人众多|很多行人|许多行人|很多人|人很多|行人很多|人山人海|拥挤人群|大量行人|行人密集"
    ),
    ("buildings", "low"): (
        "low-rise|low-rise buildings|bungalows|small buildings|small houses|short buildings|"
        "平房|矮楼|低楼|矮房"
    ),
    ("buildings", "medium"): "mid-rise",
    ("buildings", "tall"): (
        "skyscrapers|skyscraper|high-rises|high-rise|high-rise buildings|tall towers|towers|"
        "摩天大楼|高楼|高楼大厦|高楼林立|高楼林立街道|摩天楼"
    ),
    ("bend", "straight"): "straight street|straight road|straight|直路|笔直",
    ("bend", "curved"): (
        "curved street|curved road|winding road|winding street|curvy roads|curvy streets|curves|curved|"
        "winding|curving streets|"
        "弯路|弯道|弯曲|蜿蜒"
    ),
    ("wetness", "wet"): (
        "wet road|wet roads|wet street|wet streets|wet asphalt|slippery road|slippery roads|puddles|"
        "积水|路面湿滑|湿路面|路面潮湿|地面湿滑"
    ),
    ("rain and fog", ""): (
        "rain and fog|fog and rain|rainy and foggy|foggy and rainy|rain and mist|mist and rain|"
        "雨雾|有雨有雾|又下雨又有雾"
    ),
    ("side", "left"): (
        "left-hand traffic|driving on the left|drives on the left|keep left|keeping left|"
        "靠左行驶|左侧通行"
    ),
    ("side", "right"): (
        "right-hand traffic|driving on the right|drives on the right|keep right|keeping right|"
        "靠右行驶|右侧通行"
    ),
    **{("preset", name): name for name in PRESETS},
}  # fmt: skip
"""What prompts may say beside the words of captions."""

_FILLER = (
    "drive", "drives", "driving", "moving", "ride", "rides", "riding", "rolling", "cruising", "travelling", "car",
    "cars", "vehicle", "vehicles", "traffic", "street", "streets", "road", "roads", "avenue", "avenues", "block",
    "blocks", "building", "buildings", "city", "town", "urban", "downtown", "view", "scene", "sky", "skies",
    "weather", "conditions", "air", "time", "hour", "hours", "lane", "lanes", "filled", "day's", "whole", "城市",
    "街道", "街头", "街上", "道路", "路上", "路面", "市区", "市中心", "马路", "交通", "车流", "车辆", "汽车",
    "车子", "驾驶", "驾车", "行驶", "开车", "行车", "前行", "街景", "穿行", "穿过", "天气", "天空", "时分", "时候",
    "场景", "沿着", "沿", "天色", "路", "车", "街", "天", "建筑", "楼房", "气氛", "一路", "四处",
)  # fmt: skip


def _phrases() -> dict[tuple[str, Any], tuple[str, ...]]:
    """Return what may be said by (factor, value): every wording of a caption, and more."""
    said: dict[tuple[str, Any], list[str]] = {}
    for slot in dict.fromkeys([*_MORE, *SCENE]):
        if slot == ("lead", ""):
            continue
        texts = [text for part in SCENE.get(slot, {}).values() for text in part.all]
        for target in (_SETS.get(slot) or {slot[0]: slot[1]}).items():
            said.setdefault(target, []).extend([*_MORE[slot].split("|"), *texts])
    return {target: tuple(texts) for target, texts in said.items()}


CITY_WORDS = Words(
    phrases=_phrases(),
    opposites={
        ("weather", "rain"): ("weather", "clear"),
        ("weather", "fog"): ("weather", "clear"),
        ("traffic", "heavy"): ("traffic", "light"),
        ("traffic", "light"): ("traffic", "heavy"),
        ("pedestrians", "some"): ("pedestrians", "none"),
        ("bend", 0.0): ("bend", 0.8),
        ("bend", 0.8): ("bend", 0.0),
        ("wetness", 0.8): ("wetness", 0.0),
        ("cloud", 0.8): ("cloud", 0.0),
    },
    nearest={
        ("traffic", "light"): (
            "no traffic", "no cars", "no vehicles", "without traffic", "without cars", "without vehicles",
            "没有车", "没有车辆", "没有汽车", "无车", "没有车流", "没有交通", "没车",
        ),
    },
    filler=_FILLER,
)  # fmt: skip
"""What a prompt of the city may say."""


def city_prompt(text: object) -> Reading:
    """Return the factors that a prompt sets, the words that the city cannot express, and the phrase of each factor.

    Clouds alone mean a dry sky: ``cloudy`` sets the weather to clear unless another one is named.

    Raises:
        PromptError: If it is not a text or no word of it was understood.
    """
    reading = read_prompt(text, CITY_WORDS)
    if "cloud" in reading.factors and "weather" not in reading.factors:
        reading.factors["weather"] = "clear"
        reading.phrases["weather"] = reading.phrases["cloud"]
    return reading


_EXTRAS = {"pedestrians": 0.5, "buildings": 0.35, "bend": 0.35, "wetness": 1.0}
"""Slots that are not in every caption, and how often they are."""
_FRAMES = {
    "en": ("{lead}: {time}, {weather}, {traffic}", "{time}, {weather}, {traffic}; {lead}",
           "{traffic} and {weather} at {time}, {lead}", "{time} with {weather} and {traffic}, {lead}",
           "{lead}, {traffic}, {weather}, {time}", "{weather}, {time}, {lead} with {traffic}"),
    "zh": ("{weather},{time},{traffic},{lead}", "{time},{weather},{lead},{traffic}",
           "{lead},{time},{weather},{traffic}", "{traffic},{weather},{time},{lead}",
           "{time},{traffic},{weather},{lead}", "{lead},{weather},{traffic},{time}"),
}  # fmt: skip
_MOST_EXTRAS_ZH = 2  # in a longer caption each word would say less: the text encoder averages them


def scene_values(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the value of every slot that facts decide: ``weather`` with its strength, ``buildings``, ``bend``...

    Args:
        facts: ``time_of_day``, ``weather``, ``traffic``, and any of ``pedestrians``, ``rain``, ``fog``, ``cloud``,
            ``wetness``, ``building_height``, ``bend``.
    """
    weather, rain, fog = facts["weather"], facts.get("rain"), facts.get("fog")
    if weather == "rain" and rain is not None:
        weather = "light rain" if rain < LIGHT_RAIN else "heavy rain" if rain >= HEAVY_RAIN else weather
    elif weather == "fog" and fog is not None:
        weather = "thin fog" if fog < THIN_FOG else "thick fog" if fog >= THICK_FOG else weather
    elif weather == "clear" and facts.get("cloud", 0.0) >= CLOUDY:
        weather = "cloudy"
    values = {"time_of_day": facts["time_of_day"], "weather": weather, "traffic": facts["traffic"]}
    if "pedestrians" in facts:
        values["pedestrians"] = facts["pedestrians"]
    if "building_height" in facts:
        height = facts["building_height"]
        values["buildings"] = "low" if height < LOW else "tall" if height > TALL else "medium"
    if "bend" in facts:
        values["bend"] = "straight" if facts["bend"] < 0.1 else "curved"
    if facts["weather"] == "clear" and facts.get("wetness", 0.0) >= WET:
        values["wetness"] = "wet"
    return values


def scene_caption(facts: Mapping[str, Any], key: tuple[int, ...], wording: str = "train") -> Caption:
    """Return ``{"en", "zh"}`` of a scene; ``key`` decides the wording and what is named beside the three main facts.

    Args:
        facts: As in `scene_values`.
        key: Seed of the choice.
        wording: ``train``, or ``held_out`` for wordings that no training caption holds.
    """
    en, zh = _texts(tuple(scene_values(facts).items()), key, wording == "held_out")
    return {"en": en, "zh": zh}


@lru_cache(maxsize=1024)
def _texts(values: tuple[tuple[str, str], ...], key: tuple[int, ...], is_held_out: bool) -> tuple[str, str]:
    rng = np.random.default_rng(key)
    named = [item for item in values[3:] if rng.random() < _EXTRAS[item[0]]]
    texts = []
    for language in ("en", "zh"):
        say = [choose(SCENE[item][language], rng, is_held_out=is_held_out) for item in (("lead", ""), *values[:3])]
        extras = [choose(SCENE[item][language], rng, is_held_out=is_held_out) for item in named]
        frame = _FRAMES[language][int(rng.integers(len(_FRAMES[language])))]
        if language == "zh":
            extras = extras[:_MOST_EXTRAS_ZH]
            if len(extras) > 1:
                frame = frame.replace("{lead}", "").replace(",,", ",").strip(",")
        lead, time, weather, traffic = say
        traffic = ", ".join([traffic, *extras]) if language == "en" else ",".join([traffic, *extras])
        texts.append(frame.format(lead=lead, time=time, weather=weather, traffic=traffic))
    return texts[0], texts[1]


_SLOTS = {
    "time_of_day": ("day", "dusk", "night"),
    "weather": ("clear", "cloudy", "rain", "light rain", "heavy rain", "fog", "thin fog", "thick fog"),
    "traffic": ("light", "heavy"),
    "pedestrians": ("none", "some", "many"),
}
_SHARES = (0.4, 0.4, 0.15, 0.05)  # how often a prompt begins with each slot


def draw_city_prompt(time_of_day: str, weather: str, rng: np.random.Generator) -> Caption:
    """Return a prompt in training wordings for one to three slots that mid-episode can change, never fog at dusk.

    Args:
        time_of_day, weather: Of the present moment; what is named of them is another one.
        rng: Draws slots, values and wordings.
    """
    now = {"time_of_day": time_of_day, "weather": weather}
    while True:
        count = int(rng.choice((1, 2, 3), p=(0.6, 0.3, 0.1)))
        slots = [str(slot) for slot in rng.choice(list(_SLOTS), count, replace=False, p=_SHARES)]
        asked = {slot: str(rng.choice(_SLOTS[slot])) for slot in slots}
        kind = {slot: value.split()[-1] for slot, value in asked.items()}  # "heavy rain" is rain
        later = {**now, **kind}
        is_new = all(kind[slot] != now[slot] for slot in now if slot in kind)
        if is_new and (later["time_of_day"], later["weather"]) != ("dusk", "fog"):
            break
    said = {
        language: [choose(SCENE[slot, value][language], rng, is_held_out=False) for slot, value in asked.items()]
        for language in ("en", "zh")
    }
    return {"en": ", ".join(said["en"]), "zh": ",".join(said["zh"])}
