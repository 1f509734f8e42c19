"""Every random factor of a true world is named, with its range in training and beyond, and can be set."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from worldsim_envs.city import CityEnv
from worldsim_envs.city.factors import draw_factors, overruled

import worldsim  # noqa: F401 - registers the ids
from worldsim.errors import EnvError

WORLDS = ("worldsim/City-v0", "worldsim/Lab-v0", "worldsim/Tabletop-v0")
KINDS = {"worldsim/Lab-v0": ("scenario", "scenarios"), "worldsim/Tabletop-v0": ("task", "tasks")}


@pytest.fixture(scope="module", params=WORLDS)
def world(request):
    env = gym.make(request.param, disable_env_checker=True).unwrapped
    yield env
    env.close()


def factors_of(env, variation):
    """Return what the card says of the factors of an episode, its own ones included."""
    card = env.scene_card
    kind, group = KINDS.get(env.spec.id, (None, None))
    return card["factors"] | (card[group][variation[kind]]["factors"] if kind else {})


def begun(env, seed, **variation):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return env.reset(seed=seed, options={"variation": variation} if variation else None)[1]["variation"]


def test_every_factor_of_an_episode_is_in_the_card_with_a_default_and_a_range(world):
    for seed in range(6):
        drawn = begun(world, seed)
        factors = factors_of(world, drawn)
        assert set(drawn) <= set(factors)
        for name, value in drawn.items():
            factor = factors[name]
            assert factor["default"], name
            if "values" in factor:
                assert value in factor["values"], name
            elif drawn.get("split") == "train":
                low, high = factor["train"]
                assert low <= value <= high, name


def test_a_factor_takes_values_beyond_training_but_not_beyond_its_declared_range(world):
    drawn = begun(world, 3)
    factors = factors_of(world, drawn)
    kind = {k: drawn[k] for k, _ in [KINDS.get(world.spec.id, (None, None))] if k}
    tried = 0
    for name, factor in factors.items():
        if "high" not in factor or tried == 3:
            continue
        tried += 1
        low, high = factor["high"]
        value = high if factor.get("integer") else (low + high) / 2
        assert begun(world, 3, **kind, **{name: value})[name] == pytest.approx(value)
        with pytest.raises(EnvError, match=name):
            begun(world, 3, **kind, **{name: high + 1000})
    assert tried
    with pytest.raises(EnvError, match="unknown factor"):
        begun(world, 3, **kind, phlogiston=1)


def test_the_held_out_wording_says_the_same_in_words_that_training_never_uses(world):
    for seed in range(4):
        texts = []
        for wording in ("train", "held_out"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                _, info = world.reset(seed=seed, options={"variation": {"wording": wording}})
            texts.append(info["caption"])
        assert texts[0]["en"] != texts[1]["en"] and texts[0]["zh"] != texts[1]["zh"]


def test_events_are_dictionaries_that_say_themselves_in_two_languages(world):
    told = 0
    for seed in range(8):
        begun(world, seed)
        act = world.policies["mixture"](seed)
        obs, info = world.reset(seed=seed)
        for _ in range(25):
            obs, _, terminated, truncated, info = world.step(act(obs, info))
            for event in info["events"]:
                assert isinstance(event["name"], str)
                assert event["en"].isascii() and "{" not in event["en"]
                assert not event["zh"].isascii() and "{" not in event["zh"]
                told += 1
            if terminated or truncated:
                break
        if told > 5:
            break
    assert told


def test_foggy_dusk_is_kept_out_of_the_citys_training_and_drawn_for_combination():
    pairs = [draw_factors(np.random.default_rng(seed), {}) for seed in range(2000)]
    assert not [v for v in pairs if (v["time_of_day"], v["weather"]) == ("dusk", "fog")]
    for v in pairs:
        changed = dict([v["change"].split("=")]) if v["change"] != "none" else {}
        after = {"time_of_day": v["time_of_day"], "weather": v["weather"], **changed}
        assert (after["time_of_day"], after["weather"]) != ("dusk", "fog")
    for name, values in (("time_of_day", ("day", "dusk", "night")), ("weather", ("clear", "rain", "fog"))):
        for value in values:
            assert sum(v[name] == value for v in pairs) > 0.15 * len(pairs)  # the data card asks for 8%
    held_out = [draw_factors(np.random.default_rng(seed), {"split": "combination"}) for seed in range(50)]
    assert {(v["time_of_day"], v["weather"]) for v in held_out} == {("dusk", "fog")}


@pytest.mark.parametrize(
    ("prompt", "variation", "time", "weather"),
    [
        ("heavy rain", {"weather": "clear"}, None, "clear"),
        ("thick fog", {"weather": "clear"}, None, "clear"),
        ("heavy rain", {"weather_preset": "ClearNoon"}, "day", "clear"),
        (None, {"weather_preset": "ClearNoon", "time_of_day": "night", "weather": "rain"}, "night", "rain"),
        ("ClearNoon at night", {}, "night", "clear"),
        ("thick fog at night", {"fog": 0.0}, "night", "clear"),
    ],
)
def test_a_variation_wins_over_a_prompt_and_words_over_a_preset(prompt, variation, time, weather):
    env = CityEnv(height=32, width=32)
    options = {"variation": variation} | ({"prompt": prompt} if prompt else {})
    for seed in range(3):
        _, info = env.reset(seed=seed, options=options)
        assert info["variation"]["weather"] == weather and time in (None, info["variation"]["time_of_day"])
    env.close()


@pytest.mark.parametrize("wish", [{"fog": 0.9}, {"sun_height": 5}, {"time_of_day": "dusk"}, {"weather": "fog"}])
@pytest.mark.parametrize("split", ["train", "low", "high"])
def test_a_wish_for_dusk_or_fog_does_not_bring_the_other(wish, split):
    rng = np.random.default_rng(0)
    for _ in range(60):
        drawn = draw_factors(rng, {**wish, "split": split})
        assert (drawn["time_of_day"], drawn["weather"]) != ("dusk", "fog")
    both = draw_factors(rng, {"sun_height": 5, "fog": 0.9, "split": split})
    assert (both["time_of_day"], both["weather"]) == ("dusk", "fog")


def test_a_variation_that_says_what_the_prompt_says_leaves_its_numbers():
    prompted = {"weather": "rain", "rain": 0.9}
    assert overruled(prompted, {"weather": "rain"}) == prompted
    assert overruled(prompted, {"weather_preset": "none"}) == {**prompted, "weather_preset": "none"}
    assert overruled(prompted, {"weather": "fog"}) == {"weather": "fog"}
    assert overruled({"time_of_day": "night", "sun_height": -20.0}, {"time_of_day": "day"}) == {"time_of_day": "day"}


def test_a_prompt_for_what_cannot_change_leaves_the_episode_its_own_change():
    env = CityEnv(height=32, width=32)
    env.reset(seed=1, options={"variation": {"weather": "clear", "change": "weather=rain", "change_step": 1}})
    with pytest.warns(UserWarning, match="tall buildings"):
        assert env.set_prompt("tall buildings") == ["tall buildings"]
    assert env.snapshot().state.ramp[3] == 1 and env._variation["change"] == "weather=rain"
    env.close()
