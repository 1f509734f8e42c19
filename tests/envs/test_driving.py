"""Drivers, routes, prompts and captions of the city, without a renderer."""

import numpy as np
import pytest
from worldsim_envs.captions import street_caption
from worldsim_envs.city.layout import LANE, Layout
from worldsim_envs.city.policies import POLICIES
from worldsim_envs.prompts import parse_prompt

from worldsim.errors import PromptError


def _route(offset=0.0, bend=0.0, speed=7.0, gap=100.0):
    ahead = np.arange(2, 22, 2.0)
    points = np.stack([ahead, bend * ahead**2 / 2 - offset], axis=1)
    return {
        "route": {
            "speed": speed,
            "offset": offset,
            "heading_error": 0.0,
            "curvature": bend,
            "gap": gap,
            "points": points,
        }
    }


@pytest.mark.parametrize("name", list(POLICIES))
def test_a_policy_is_a_function_of_its_seed(name):
    runs = [[POLICIES[name](seed)(None, _route()) for _ in range(3)] for seed in (1, 1, 2)]
    assert np.array_equal(runs[0], runs[1])
    action = runs[0][0]
    assert action.shape == (2,) and action.dtype == np.float32 and np.abs(action).max() <= 1


def test_the_lane_follower_steers_back_brakes_for_cars_and_slows_for_turns():
    act = POLICIES["lane_follower"](0)
    assert act(None, _route(offset=1.0))[0] < -0.05 < 0.05 < act(None, _route(offset=-1.0))[0]
    assert act(None, _route(gap=6.0))[1] < -0.3
    assert act(None, _route(bend=1 / 9.25))[1] < act(None, _route())[1]


def test_the_mixture_leans_neither_left_nor_right():
    steers = []
    for seed in range(300):
        act = POLICIES["mixture"](seed)
        steers += [act(None, _route())[0] for _ in range(30)]
    steers = np.array(steers)
    assert 0.45 < (steers > 0.02).sum() / (np.abs(steers) > 0.02).sum() < 0.55


def test_a_route_is_smooth_stays_on_the_road_and_inside_the_map():
    for seed in range(3):
        for side in (1, -1):
            layout = Layout(seed, side, False, 1.0)
            points = layout.route(3, 3, seed % 4, 15.0, seed).points
            steps = np.hypot(*np.diff(points[:, :2], axis=0).T)
            assert steps.max() < 1.01 and steps.min() > 0.95
            assert max(layout.off_road(x, y) for x, y in points[:, :2]) == 0
            assert np.abs(np.diff(points[:, 2])).max() < 0.2
            assert np.abs(points[:, 3]).max() == pytest.approx(1 / 5.75)


def test_keeping_left_is_the_mirror_of_keeping_right():
    right, left = Layout(0, 1, False, 1.0), Layout(0, -1, False, 1.0)
    middle = right.lines[1][3]
    assert right.street_point(3, 3, 0, 20.0)[1] == pytest.approx(middle - LANE)
    assert left.street_point(3, 3, 0, 20.0)[1] == pytest.approx(middle + LANE)


@pytest.mark.parametrize(
    ("text", "factors", "unknown"),
    [
        ("a foggy night", {"weather": "fog", "time_of_day": "night"}, []),
        ("雨天黄昏, heavy traffic", {"weather": "rain", "time_of_day": "dusk", "traffic": "heavy"}, []),
        ("busy streets", {"traffic": "heavy"}, []),
        ("雨夜里车流稀少的城市街道", {"weather": "rain", "time_of_day": "night", "traffic": "light"}, []),
        ("heavy rain at sunset", {"weather": "rain", "time_of_day": "dusk"}, ["heavy"]),
        ("no fog, few cars, Rush-Hour", {"weather": "clear", "traffic": "heavy"}, []),
        ("夜晚有恐龙", {"time_of_day": "night"}, ["恐龙"]),
        ("a sunny beach", {"weather": "clear"}, ["beach"]),
    ],
)
def test_prompts_in_two_languages_say_the_same(text, factors, unknown):
    assert parse_prompt(text) == (factors, unknown)


@pytest.mark.parametrize("text", ["", "streets", "purple elephants", "恐龙", None, 3])
def test_a_prompt_that_says_nothing_is_an_error(text):
    with pytest.raises(PromptError, match="prompt"):
        parse_prompt(text)


def test_every_caption_says_in_both_languages_exactly_what_is_seen():
    wordings = set()
    for time in ("day", "dusk", "night"):
        for weather in ("clear", "rain", "fog"):
            for traffic in ("light", "heavy"):
                for seed in range(40):
                    caption = street_caption(time, weather, traffic, (seed, 0))
                    for text in caption.values():
                        factors, unknown = parse_prompt(text)
                        assert factors == {"time_of_day": time, "weather": weather, "traffic": traffic}, text
                        assert unknown == [], text
                    wordings.add(caption["en"])
    assert len(wordings) > 400
