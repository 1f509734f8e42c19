"""Drives that are prompted on the way: the world follows, and the caption is the prompt until another one comes."""

import gymnasium as gym
import numpy as np
import pytest
from worldsim_envs.city.words import SCENE, city_prompt, draw_city_prompt

import worldsim  # noqa: F401 - registers the worlds
from worldsim.collect import collect
from worldsim.errors import EnvError

CITY = "worldsim/City-v0"


def test_a_prompt_is_the_caption_of_the_frames_that_follow_it(tmp_path):
    store = collect(CITY, 2, tmp_path / "s", max_steps=40, prompt_every=8)
    again = collect(CITY, 2, tmp_path / "again", max_steps=40, prompt_every=8)
    num_prompts = 0
    for i in range(2):
        rollout = store.episode(i)
        np.testing.assert_array_equal(rollout.obs, again.episode(i).obs)
        assert rollout.caption == again.episode(i).caption
        env = gym.make(CITY).unwrapped
        obs, info = env.reset(seed=rollout.seed)
        says = {caption.t: caption for caption in rollout.caption}
        assert says.pop(0).en == info["caption"]["en"]
        for t, action in enumerate(rollout.action):
            before, caption = info["caption"], says.pop(t + 1, None)
            if caption is not None and (rollout.variation["change"] == "none" or rollout.variation["change_step"] != t):
                num_prompts += 1
                unknown = env.set_prompt(caption.zh)  # type: ignore[attr-defined]  # it means in Chinese what it does in English
                assert not unknown
            obs, _, _, _, info = env.step(action)
            np.testing.assert_array_equal(obs, rollout.obs[t + 1])
            assert (info["caption"] != before) == (caption is not None)
        assert not says
    assert num_prompts >= 4


@pytest.mark.parametrize("env_id", ["worldsim/Lab-v0", "worldsim/Tabletop-v0"])
def test_the_bench_and_the_table_are_prompted_in_words_that_they_understand(env_id):
    env, rng = gym.make(env_id).unwrapped, np.random.default_rng(0)
    env.reset(seed=1)
    seen = set()
    for _ in range(30):
        prompt = env.draw_prompt(rng)  # type: ignore[attr-defined]
        before = env.step(np.zeros(env.action_space.shape, np.float32))[-1]["caption"]
        assert not env.set_prompt(prompt[("en", "zh")[int(rng.integers(2))]])  # type: ignore[attr-defined]
        assert env.step(np.zeros(env.action_space.shape, np.float32))[-1]["caption"] != before
        seen.add(prompt["en"])
    assert len(seen) > 10
    env.close()


def test_drawn_prompts_are_understood_new_and_never_held_out():
    rng = np.random.default_rng(0)
    held_out = {text for said in SCENE.values() for words in said.values() for text in words.held_out}
    asked = set()
    for _ in range(400):
        now = rng.choice(("day", "dusk", "night")), rng.choice(("clear", "rain", "fog"))
        said = draw_city_prompt(*now, rng)
        english, chinese = city_prompt(said["en"]), city_prompt(said["zh"])
        assert english.factors == chinese.factors and not english.unknown and not chinese.unknown
        assert not held_out & set(said["en"].split(", ")) and not held_out & set(said["zh"].split(","))
        later = {"time_of_day": now[0], "weather": now[1], **english.factors}
        assert (later["time_of_day"], later["weather"]) != ("dusk", "fog")
        assert english.factors.get("time_of_day") != now[0]
        asked |= {(name, value) for name, value in english.factors.items() if isinstance(value, str)}
    assert {("time_of_day", v) for v in ("day", "dusk", "night")} <= asked
    assert {("weather", v) for v in ("clear", "rain", "fog")} | {("traffic", "heavy"), ("traffic", "light")} <= asked


def test_what_cannot_be_prompted_is_one_clear_line(tmp_path):
    with pytest.raises(EnvError, match="takes no prompts in mid-episode"):
        collect("square_world:Square-v0", 1, tmp_path / "a", prompt_every=5)
    with pytest.raises(EnvError, match="prompt_every must be at least 1 step; got 0"):
        collect(CITY, 1, tmp_path / "b", prompt_every=0)
