"""What prompts may say of the true worlds, in two languages, and what is handed back."""

import pytest
from worldsim_envs.city.words import CITY_WORDS, PRESETS, SCENE, city_prompt
from worldsim_envs.prompts import Words, read_prompt

from worldsim.errors import PromptError

RAIN, FOG, CLEAR = {"weather": "rain"}, {"weather": "fog"}, {"weather": "clear"}
DRIZZLE, DOWNPOUR = {"weather": "rain", "rain": 0.3}, {"weather": "rain", "rain": 0.9}


@pytest.mark.parametrize(
    ("text", "factors", "unknown"),
    [
        ("a foggy night", {**FOG, "time_of_day": "night"}, []),
        ("雨天黄昏, heavy traffic", {**RAIN, "time_of_day": "dusk", "traffic": "heavy"}, []),
        (
            "a rainy dusk, heavy traffic, tall buildings",
            {**RAIN, "time_of_day": "dusk", "traffic": "heavy", "building_height": 1.35},
            [],
        ),
        ("雨天黄昏，车流密集", {**RAIN, "time_of_day": "dusk", "traffic": "heavy"}, []),
        ("雨夜的十字路口", {**RAIN, "time_of_day": "night"}, ["十字路口"]),
        ("雨夜里车流稀少的城市街道", {**RAIN, "time_of_day": "night", "traffic": "light"}, []),
        ("a light drizzle at noon", {**DRIZZLE, "time_of_day": "day"}, []),
        ("heavy rain at sunset", {**DOWNPOUR, "time_of_day": "dusk"}, []),
        ("the rain is heavy and the traffic is light", {**DOWNPOUR, "traffic": "light"}, []),
        ("heavy morning traffic", {"traffic": "heavy", "time_of_day": "day"}, []),
        ("小雨，行人众多", {**DRIZZLE, "pedestrians": "many"}, []),
        ("浓雾中的高楼", {**FOG, "fog": 0.95, "building_height": 1.35}, []),
        ("winding streets under an overcast sky", {"bend": 0.8, "cloud": 0.8, **CLEAR}, []),
        ("cloudy and rainy", {"cloud": 0.8, **RAIN}, []),
        ("rain and fog", {**RAIN, "rain": 0.6, "fog": 0.7}, []),
        ("HardRainSunset", {"weather_preset": "HardRainSunset"}, []),
        ("driving on the left past skyscrapers", {"side": "left", "building_height": 1.35}, ["past"]),
        ("夜晚有恐龙", {"time_of_day": "night"}, ["恐龙"]),
        ("a sunny beach", CLEAR, ["beach"]),
        ("a heavy night", {"time_of_day": "night"}, ["heavy"]),
        ("light snow at dawn by day", {"time_of_day": "day"}, ["light", "snow", "dawn"]),
    ],
)
def test_prompts_in_two_languages_set_factors_and_hand_the_rest_back(text, factors, unknown):
    reading = city_prompt(text)
    assert (reading.factors, reading.unknown) == (factors, unknown)
    assert set(reading.phrases) == set(factors)


@pytest.mark.parametrize(
    ("text", "factors", "unknown"),
    [
        ("no rain", CLEAR, []),
        ("no rain or fog, no pedestrians", {**CLEAR, "pedestrians": "none"}, []),
        ("no rain, fog or clouds", {**CLEAR, "cloud": 0.0}, []),
        ("没有雨和雾", CLEAR, []),
        ("白天，不下雨", {**CLEAR, "time_of_day": "day"}, []),
        ("neither rain nor fog", CLEAR, []),
        ("no rain and fog", CLEAR, []),
        ("fog but no rain", FOG, []),
        ("no rain but foggy", FOG, []),
        ("no rain and heavy traffic", {**CLEAR, "traffic": "heavy"}, []),
        ("the traffic is not heavy at night", {"traffic": "light", "time_of_day": "night"}, []),
        ("a day without any rain", {**CLEAR, "time_of_day": "day"}, []),
        ("rain without heavy traffic", {**RAIN, "traffic": "light"}, []),
        ("a night without traffic", {"time_of_day": "night", "traffic": "light"}, ["without traffic"]),
        ("夜晚没有车", {"time_of_day": "night", "traffic": "light"}, ["没有车"]),
        ("a day with no heavy rain", {"time_of_day": "day"}, ["no heavy rain"]),
        ("a day with no tall buildings", {"time_of_day": "day"}, ["no tall buildings"]),
        ("rain, not at night", RAIN, ["not night"]),
        ("rain with no unicorns", RAIN, ["no unicorns"]),
        ("雨天没有恐龙", RAIN, ["没有恐龙"]),
        ("rain, no rain", RAIN, ["no rain"]),
    ],
)
def test_a_negation_is_understood_or_handed_back(text, factors, unknown):
    reading = city_prompt(text)
    assert (reading.factors, reading.unknown) == (factors, unknown)


@pytest.mark.parametrize(
    ("text", "factors", "unknown"),
    [
        ("few cars in the rush hour", {"traffic": "heavy"}, ["few cars"]),
        ("night and day", {"time_of_day": "day"}, ["night"]),
        ("a drizzle, then clear skies", CLEAR, ["drizzle"]),
        ("白天，黑夜", {"time_of_day": "night"}, ["白天"]),
    ],
)
def test_of_two_phrases_that_exclude_each_other_the_later_counts_and_the_other_is_handed_back(text, factors, unknown):
    reading = city_prompt(text)
    assert (reading.factors, reading.unknown) == (factors, unknown)


@pytest.mark.parametrize("text", ["", "streets", "purple elephants", "恐龙", "no", "没有", ",,,", None, 3])
def test_a_prompt_that_says_nothing_is_an_error(text):
    with pytest.raises(PromptError, match="prompt"):
        city_prompt(text)


def test_every_phrase_of_the_city_means_what_its_table_says():
    meant = {}
    for target, phrases in CITY_WORDS.phrases.items():
        for phrase in phrases:
            meant.setdefault(phrase, []).append(target)
    for phrase, targets in meant.items():
        reading = city_prompt(phrase)
        assert set(targets) <= set(reading.factors.items()), phrase
        assert reading.unknown == [], phrase
    assert len(PRESETS) == len(set(PRESETS)) == 21


def test_one_phrase_of_a_slot_never_belongs_to_another_value():
    owners = {}
    for slot, languages in SCENE.items():
        for wordings in languages.values():
            for text in wordings.all:
                assert owners.setdefault(text, slot) == slot, text


def test_a_long_prompt_is_read_in_a_moment_and_every_unknown_word_is_named_once():
    reading = city_prompt("雾 " + "purple elephants 恐龙 " * 200)
    assert reading.unknown == ["purple", "elephants", "恐龙"]


def test_chinese_is_cut_so_that_the_fewest_characters_stay_unknown():
    words = Words(phrases={("a", 1): ("雾天",), ("b", 2): ("天气晴朗",), ("c", 3): ("雾",)})
    assert read_prompt("雾天气晴朗", words).factors == {"c": 3, "b": 2}
