"""Captions say what is so, in two languages, in many wordings, some of which training never sees."""

import itertools
import re
from collections import Counter

import numpy as np
import pytest
from worldsim_envs.captions import choose, worded
from worldsim_envs.city.event_words import EVENTS, INSTRUCTIONS, event_caption, instruction_caption
from worldsim_envs.city.words import SCENE, city_prompt, scene_caption, scene_values

from worldsim.model.text import Vocabulary, split_words

FACTS = {"time_of_day": "dusk", "weather": "rain", "traffic": "heavy"}
LEAD = ("lead", "")
SLOTS = {slot: values for slot, values in SCENE.items() if slot != LEAD}


def facts_of(time, weather, traffic, people, height, bend, strength):
    return {
        "time_of_day": time,
        "weather": weather,
        "traffic": traffic,
        "pedestrians": people,
        "building_height": height,
        "bend": bend,
        "rain": strength if weather == "rain" else 0.0,
        "fog": strength if weather == "fog" else 0.0,
        "cloud": 0.2,
        "wetness": 0.8 if weather == "rain" else 0.0,
    }


def some_facts():
    return itertools.product(
        ("day", "dusk", "night"), ("clear", "rain", "fog"), ("light", "heavy"), ("none", "some", "many"),
        (0.75, 1.0, 1.35), (0.0, 0.8), (0.3, 0.7, 0.95),
    )  # fmt: skip


@pytest.mark.parametrize("wording", ["train", "held_out"])
def test_every_caption_says_in_both_languages_nothing_but_what_is_so(wording):
    for n, values in enumerate(some_facts()):
        facts = facts_of(*values)
        caption = scene_caption(facts, (n, 0), wording)
        true = scene_values(facts)
        for text in caption.values():
            said, unknown, _ = city_prompt(text)
            assert unknown == [], text
            assert scene_values({**facts, **said}) == true, text  # what it says changes nothing
            for factor in ("time_of_day", "weather", "traffic"):
                assert said[factor] == facts[factor], text


@pytest.mark.parametrize("slot", SLOTS, ids="-".join)
def test_each_slot_has_twenty_wordings_a_language_and_a_fifth_is_held_out(slot):
    for wordings in SLOTS[slot].values():
        assert len(set(wordings.all)) == len(wordings.all) >= 20
        assert not set(wordings.train) & set(wordings.held_out)
        assert 0.15 <= len(wordings.held_out) / len(wordings.all) <= 0.25


@pytest.mark.parametrize("slot", SCENE, ids="-".join)
def test_every_word_of_a_held_out_wording_is_learned_in_another_one(slot):
    for wordings in SCENE[slot].values():
        learned = Vocabulary.from_texts(wordings.train)
        singles = {token for text in wordings.held_out for piece in split_words(text) for token in piece.split()}
        for piece in singles:
            assert learned.encode(piece), piece


@pytest.mark.parametrize("slot", SLOTS, ids="-".join)
def test_every_wording_alone_parses_back_to_its_value(slot):
    for wordings in SLOTS[slot].values():
        for text in wordings.all:
            said, unknown, _ = city_prompt(text)
            base = {"time_of_day": "day", "weather": "clear", "traffic": "light"}
            assert scene_values({**base, **said})[slot[0]] == slot[1] and unknown == [], text


def test_no_wording_of_training_is_held_out_and_every_one_is_used_equally_often():
    wordings = SCENE["traffic", "heavy"]["en"]
    rng = np.random.default_rng(0)
    drawn = Counter(choose(wordings, rng, is_held_out=False) for _ in range(200 * len(wordings.train)))
    assert set(drawn) == set(wordings.train)
    assert min(drawn.values()) > 140 and max(drawn.values()) < 260


def test_a_caption_holds_no_held_out_wording_in_training_and_no_other_one_otherwise():
    for n in range(300):
        for wording, other in (("train", "held_out"), ("held_out", "train")):
            caption = scene_caption(FACTS, (n, 1), wording)
            for language, text in caption.items():
                mine = [w for w in getattr(SCENE["traffic", "heavy"][language], wording) if w in text]
                others = [w for w in getattr(SCENE["traffic", "heavy"][language], other) if w in text]
                assert mine and max(map(len, mine)) >= max(map(len, others), default=0), text


def test_no_word_of_one_slot_belongs_to_another_so_that_a_bag_of_words_can_tell_them_apart():
    neutral = {
        *("a", "of", "an", "only", "any", "weather", "sky", "skies", "air", "conditions", "cars", "vehicles"),
        *("traffic", "streets", "roads", "road", "street", "lanes", "avenues", "people", "pedestrians", "walkers"),
        *("passers", "by", "buildings", "houses", "blocks", "facades"),
    }
    owners = {}
    for (slot, _), languages in SLOTS.items():
        for text in languages["en"].all:
            for word in re.findall(r"[a-z]+", text):
                if word not in neutral:
                    owners.setdefault(word, set()).add(slot)
    shared = {word: slots for word, slots in owners.items() if len(slots) > 1}
    assert shared == {}


def test_captions_are_short_enough_that_no_word_is_lost_in_their_mean():
    longest = 0
    for n, values in enumerate(some_facts()):
        for text in scene_caption(facts_of(*values), (n, 2)).values():
            longest = max(longest, sum(1 if piece.isascii() else 2 * len(piece) - 1 for piece in split_words(text)))
    assert 30 < longest <= 48


def test_the_key_decides_the_wording_and_the_same_key_gives_the_same_one():
    texts = {scene_caption(FACTS, (n, 0))["en"] for n in range(400)}
    assert len(texts) > 380
    assert scene_caption(FACTS, (5, 0)) == scene_caption(dict(FACTS), (5, 0))


def test_a_pair_is_held_out_where_its_places_add_up_to_a_multiple_of_five():
    wordings = worded([("a|b|c|d|e", "v|w|x|y")], [("甲", "乙")])["en"]
    assert set(wordings.held_out) == {"a v", "c y", "d x", "e w"}
    assert len(wordings.train) == 16


CITY_EVENTS = [
    {"name": "collision", "with": "car3", "kind": "car", "color": "white"},
    {"name": "collision", "with": "ped1", "kind": "pedestrian", "color": "pink"},
    {"name": "collision", "with": "building", "kind": "building"},
    {"name": "collision", "with": "parked_car", "kind": "parked_car"},
    {"name": "off_road"},
    {"name": "red_light", "color": "red"},
    {"name": "lane_change", "body": "ego", "to": "oncoming"},
    {"name": "lane_change", "body": "ego", "to": "own"},
    *({"name": name, "body": "car3", "color": "silver", "where": "ahead"} for name in ("car_brakes", "car_stops")),
    {"name": "car_starts", "body": "car3", "color": "brown", "where": "left"},
    {"name": "pedestrian_crosses", "body": "ped1", "color": "orange", "where": "right"},
    {"name": "light_changes", "color": "green"},
    {"name": "turn", "direction": "left"},
    {"name": "goal"},
    *({"name": "change", "factor": "time_of_day", "value": value} for value in ("day", "dusk", "night")),
    *({"name": "change", "factor": "weather", "value": value} for value in ("clear", "rain", "fog")),
    *({"name": "change", "factor": "traffic", "value": value} for value in ("light", "heavy")),
    *({"name": "change", "factor": "pedestrians", "value": value} for value in ("none", "some", "many")),
]


@pytest.mark.parametrize("table", [EVENTS, INSTRUCTIONS], ids=["events", "instructions"])
def test_each_event_and_instruction_has_twenty_wordings_a_language_and_a_fifth_is_held_out(table):
    for name, languages in table.items():
        for wordings in languages.values():
            assert len(set(wordings.all)) == len(wordings.all) >= 20, name
            assert not set(wordings.train) & set(wordings.held_out)
            assert 0.15 <= len(wordings.held_out) / len(wordings.all) <= 0.25, name


@pytest.mark.parametrize("wording", ["train", "held_out"])
def test_every_event_of_the_city_is_told_with_its_facts_filled_in(wording):
    for event in CITY_EVENTS:
        texts = {event_caption(event, (n,), wording)["en"] for n in range(40)}
        assert len(texts) > 3
        for n in range(10):
            caption = event_caption(event, (n, 1), wording)
            assert re.fullmatch(r"[a-z -]+", caption["en"]) and re.fullmatch(r"[\u4e00-\u9fff]+", caption["zh"]), (
                caption
            )
            if "color" in event and event["name"] != "red_light":
                assert event["color"] in caption["en"]


def test_the_white_car_ahead_brakes():
    event = {"name": "car_brakes", "body": "car3", "color": "white", "where": "ahead"}
    caption = event_caption(event, (0, 12), "train")
    assert re.match(r"(the|a|one) white (car|vehicle|auto) ahead ", caption["en"]) and "白色" in caption["zh"]


def test_instructions_say_which_way():
    for order, word, character in (("left", "left", "左"), ("right", "right", "右")):
        for n in range(20):
            caption = instruction_caption(order, (n,))
            assert word in caption["en"] and character in caption["zh"]
