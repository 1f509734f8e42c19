"""A prompt repaints the frame that an imagined world shows, where its model can."""

from dataclasses import replace

import numpy as np
import pytest

from tests.model.helpers import shaken_first_frames
from worldsim.errors import EnvError
from worldsim.model import CHECKPOINTS, load
from worldsim.sim import WorldModelEnv, WorldModelVectorEnv
from worldsim.sim.paired import PairedEnv

ACTION = np.array([0.3, 0.1], np.float32)


@pytest.fixture
def env(painter):
    return WorldModelEnv(painter, render_mode="rgb_array", repaint=True)


def test_what_is_asked_for_is_shown_at_once_and_what_it_leaves_out_is_told_still(env):
    obs, _ = env.reset(seed=1, options={"prompt": "heavy rain"})
    told = env.snapshot().stream.told
    assert env.set_prompt("a foggy night") == []
    now = env.snapshot()
    assert (env.render() != obs).any()
    np.testing.assert_array_equal(env.render(), now.frame)
    np.testing.assert_array_equal(env.model.decode(now.state)[0], now.frame)
    assert (now.stream.prompt, now.stream.told) == ("a foggy night", env.model.retold(told, "a foggy night"))
    assert env.step(ACTION)[4]["prompt"] == "a foggy night"


def test_a_prompt_alone_repaints_the_nearest_start_and_a_start_that_is_given_stays(env, painter):
    plain = WorldModelEnv(painter, repaint=False)
    obs, info = env.reset(seed=1, options={"prompt": "foggy rain"})
    was, plain_info = plain.reset(seed=1, options={"prompt": "foggy rain"})
    assert (obs != was).any() and info == plain_info
    given, _ = env.reset(seed=1, options={"prompt": "foggy rain", "start": was})
    np.testing.assert_array_equal(given, was)
    shown = {"frames": was[None], "caption": "heavy traffic at noon"}
    given, _ = env.reset(seed=1, options={"prompt": "foggy rain", "start": shown})
    np.testing.assert_array_equal(given, was)
    assert env.snapshot().stream.told == painter.retold("heavy traffic at noon", "foggy rain")


def test_a_start_without_a_prompt_is_told_its_caption(env):
    frame, _ = env.reset(seed=1)
    env.reset(seed=1, options={"start": {"frames": frame[None], "caption": "a rainy night"}})
    assert env.snapshot().stream.told == "a rainy night"
    with pytest.raises(EnvError, match="the caption of a start is a text; got int"):
        env.reset(options={"start": {"frames": frame[None], "caption": 3}})


def test_another_ending_is_repainted_too_and_the_moment_it_began_with_is_not(env):
    env.reset(seed=1)
    env.step(ACTION)
    moment = env.snapshot()
    kept = moment.frame.copy()
    same, _ = env.reset(options={"snapshot": moment})
    other, _ = env.reset(options={"snapshot": moment, "prompt": "heavy rain"})
    np.testing.assert_array_equal(same, kept)
    np.testing.assert_array_equal(moment.frame, kept)
    assert (other != kept).any()


def test_going_back_undoes_it_and_a_branch_keeps_it(env):
    obs, _ = env.reset(seed=1)
    env.step(ACTION)
    env.set_prompt("heavy rain")
    asked = env.render()
    (branch,) = env.branch(1)
    assert branch.repaint
    np.testing.assert_array_equal(branch.step(ACTION)[0], env.step(ACTION)[0])
    np.testing.assert_array_equal(env.rewind(1), asked)
    np.testing.assert_array_equal(env.rewind(1), obs)


def test_each_stream_of_a_batch_is_repainted_as_it_is_alone(painter):
    envs = WorldModelVectorEnv(3, painter, repaint=True)
    envs.reset(seed=7)
    before = envs.snapshot()
    envs.set_prompt("heavy rain", np.array([True, False, True]))
    after = envs.snapshot()
    np.testing.assert_array_equal(after[1].frame, before[1].frame)
    for i in (0, 2):
        alone = WorldModelEnv(painter, repaint=True)
        alone.reset(seed=7 + i)
        alone.set_prompt("heavy rain")
        assert np.abs(alone.snapshot().frame.astype(int) - after[i].frame).max() <= 1
        assert alone.snapshot().stream == after[i].stream
    envs.step(np.stack([ACTION] * 3))


def test_a_model_repaints_by_default_if_it_says_so(painter, checkpoint):
    assert not WorldModelEnv(painter).repaint
    other = load(checkpoint)
    with pytest.raises(EnvError, match="cannot repaint a frame; leave repaint out"):
        WorldModelEnv(other, repaint=True)
    net = other.first_frame_net = shaken_first_frames(other)
    net.config = replace(net.config, repaint=True)
    assert WorldModelEnv(other).repaint and WorldModelVectorEnv(1, other).repaint
    assert not WorldModelEnv(other, repaint=False).repaint


def test_a_dream_beside_its_truth_is_told_what_the_truth_says():
    pair = PairedEnv(str(CHECKPOINTS / "city-64"), horizon=4)
    try:
        obs, _ = pair.reset(seed=200_003)
        told = pair.dream.snapshot().stream.told
        assert told and pair.model.understand(told)
        pair.set_prompt("a foggy night")
        assert (pair.dream.snapshot().frame != obs).any()
        pair.step(pair.action_space.sample())
    finally:
        pair.close()
