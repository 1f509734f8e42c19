"""What prompts may say of the true worlds, in two languages, and what is handed back."""

import re
from pathlib import Path

import pytest
from worldsim_envs.city.weather import PRESETS
from worldsim_envs.city.words import CITY_WORDS, SCENE, city_prompt
from worldsim_envs.lab.words import LAB_WORDS, gravity_band, lab_caption, lab_prompt
from worldsim_envs.prompts import Words, read_prompt
from worldsim_envs.tabletop.words import TABLETOP_WORDS, tabletop_prompt

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
        ("no rain, snow or fog", CLEAR, ["no snow"]),
        ("no fog, snow, or rain", CLEAR, ["no snow"]),
        ("no rain, traffic or fog", CLEAR, []),
        ("no rain, fog and snow", CLEAR, ["snow"]),
        ("no rain, and fog", FOG, []),
        ("no rain, fog and night", {**FOG, "time_of_day": "night"}, []),
        ("没有雨、雪和雾", CLEAR, ["没有雪"]),
        ("没有雨、雾", CLEAR, []),
        ("夜晚、无雨、车多", {"time_of_day": "night", **CLEAR, "traffic": "heavy"}, []),
        ("it isn\u2019t raining", CLEAR, []),
        ("it won't rain", CLEAR, []),
        ("非雨天", CLEAR, []),
        ("rain, ночь", RAIN, ["ночь"]),
        ("rain and くもり in the café", RAIN, ["くもり", "café"]),
        ("rain \U0001f328", RAIN, ["\U0001f328"]),
        ("\uff32\uff21\uff29\uff2e", RAIN, []),
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


def test_every_preset_can_be_named():
    for name in PRESETS:
        assert city_prompt(f"the city under {name}").factors == {"weather_preset": name}


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


@pytest.mark.parametrize(
    ("text", "factors", "unknown"),
    [
        ("dominoes on the moon", {"scenario": "dominoes", "gravity": "1.62"}, []),
        ("木星上的钟摆", {"scenario": "pendulum", "gravity": "24.79"}, []),
        ("push a small heavy blue block from the left", {
            "scenario": "push", "size": "low", "mass": "high", "hue": 5, "side": "left"}, []),
        ("一个红色的球滚动", {"scenario": "rolling", "hue": 0}, []),
        ("a bouncy ball, not slippery", {"restitution": "high", "friction": "high"}, []),
        ("a slow pendulum with a pink ball", {"scenario": "pendulum", "speed": "low"}, ["pink"]),
        ("no gravity, a tower", {"scenario": "stack"}, ["no gravity"]),
        ("a pendulum, then dominoes", {"scenario": "dominoes"}, ["pendulum"]),
        ("a red ball and a green ball collide head-on", {"scenario": "collision_1d", "hue": 0}, ["green"]),
    ],
)  # fmt: skip
def test_the_bench_understands_scenarios_gravity_colours_sides_and_sizes(text, factors, unknown):
    reading = lab_prompt(text)
    assert (reading.factors, reading.unknown) == (factors, unknown)


@pytest.mark.parametrize(
    ("text", "factors", "unknown"),
    [
        ("push the red block to the mark", {"task": "push", "color": "red"}, []),
        ("把蓝色方块叠起来", {"task": "stack", "color": "blue"}, ["起来"]),
        ("reach for the ball in dim light on mars", {"task": "reach", "light": "dim", "gravity": "3.71"}, []),
        ("stack a heavy green cube, not slippery", {
            "task": "stack", "mass": "high", "color": "green", "friction": "high"}, []),
        ("put the red block on top of the blue block", {"task": "stack", "color": "red"}, ["blue"]),
        ("把红色方块叠在蓝色方块上", {"task": "stack", "color": "red"}, ["蓝色"]),
        ("在桌上推一块很重的方块", {"task": "push", "mass": "high"}, []),
    ],
)  # fmt: skip
def test_the_table_understands_tasks_colours_masses_light_and_gravity(text, factors, unknown):
    reading = tabletop_prompt(text)
    assert (reading.factors, reading.unknown) == (factors, unknown)


@pytest.mark.parametrize(("words", "prompt"), [(LAB_WORDS, lab_prompt), (TABLETOP_WORDS, tabletop_prompt)])
def test_every_phrase_of_bench_and_table_means_what_its_table_says(words, prompt):
    for target, phrases in words.phrases.items():
        for phrase in phrases:
            reading = prompt(phrase)
            assert target in reading.factors.items() and reading.unknown == [], phrase


def test_what_captions_of_the_bench_say_parses_back_to_scenario_and_gravity():
    scenarios = [value for factor, value in LAB_WORDS.phrases if factor == "scenario"]
    for n, scenario in enumerate(scenarios * 3):
        band = ("weak", "ordinary", "strong")[n % 3]
        for is_held_out in (False, True):
            for text in lab_caption({"scenario": scenario}, "lime", band, is_held_out, (n,)).values():
                said, unknown, _ = lab_prompt(text)
                assert said["scenario"] == scenario and gravity_band(float(said["gravity"])) == band, text
                assert unknown == [], text


def test_every_example_of_the_guide_is_understood():
    page = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")
    city = page.split("## City")[1].split("## Lab")[0]
    rows = [line.split("|")[2:5] for line in city.splitlines() if line.startswith("| ")][1:]
    told = 0
    for value, *columns in rows:
        if "21 names" in value:
            continue
        for example in re.split(r", |; ", ", ".join(re.sub(r"\(.*\)", "", column).strip() for column in columns)):
            assert city_prompt(example).unknown == [], example
            told += 1
    assert told > 100
