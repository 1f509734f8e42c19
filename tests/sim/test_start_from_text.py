"""An imagined episode begins from text alone: the model imagines its first frame too."""

import numpy as np
import pytest

from worldsim.errors import EnvError, PromptError
from worldsim.sim import WorldModelEnv, WorldModelVectorEnv, imagine

ACTION = np.array([0.3, 0.1], np.float32)


def test_the_first_frame_is_what_the_model_draws_and_the_text_goes_on(painter):
    env = WorldModelEnv(painter)
    obs, info = env.reset(seed=3, options={"start": {"prompt": "a foggy night"}})
    assert info["prompt"] == "a foggy night"
    assert info["start"] == "imagined from 'a foggy night'"
    again, _ = env.reset(seed=3, options={"start": {"prompt": "a foggy night"}})
    np.testing.assert_array_equal(again, obs)
    after = env.step(ACTION)[0]
    env.reset(seed=3, options={"start": obs, "prompt": "a foggy night"})  # the same frame, as an image
    np.testing.assert_array_equal(env.step(ACTION)[0], after)


def test_another_prompt_is_for_what_follows_only(painter):
    env = WorldModelEnv(painter)
    obs, _ = env.reset(seed=3, options={"start": {"prompt": "a foggy night"}})
    after = env.step(ACTION)[0]
    other, info = env.reset(seed=3, options={"start": {"prompt": "a foggy night"}, "prompt": "晴朗的白天"})
    np.testing.assert_array_equal(other, obs)
    assert info["prompt"] == "晴朗的白天"
    assert info["start"] == "imagined from 'a foggy night'"
    assert (env.step(ACTION)[0] != after).any()


def test_seeds_and_texts_give_different_frames(painter):
    env = WorldModelEnv(painter)
    asked = [(0, "a foggy night"), (1, "a foggy night"), (0, "a clear day")]
    first, *others = [env.reset(seed=seed, options={"start": {"prompt": text}})[0] for seed, text in asked]
    assert all((frame != first).any() for frame in others)


def test_each_stream_of_a_batch_begins_as_it_does_alone(painter):
    envs = WorldModelVectorEnv(3, painter)
    starts = [{"prompt": "a foggy night"}, None, {"prompt": "rain in heavy traffic"}]
    obs, infos = envs.reset(seed=5, options={"start": starts})
    env = WorldModelEnv(painter)
    for i, start in enumerate(starts):
        alone, info = env.reset(seed=5 + i, options={} if start is None else {"start": start})
        assert np.abs(obs[i].astype(int) - alone).mean() < 1
        assert infos["start"][i] == info["start"]
    one_for_all, _ = envs.reset(seed=5, options={"start": starts[0], "prompt": "a clear day"})
    assert np.abs(one_for_all[0].astype(int) - obs[0]).mean() < 1


def test_the_episodes_after_it_do_not_depend_on_it(painter):
    envs = [WorldModelEnv(painter) for _ in range(2)]
    envs[0].reset(seed=0, options={"start": {"prompt": "a foggy night"}})
    envs[1].reset(seed=0)
    np.testing.assert_array_equal(envs[0].reset()[0], envs[1].reset()[0])


def test_rollouts_can_begin_from_text_alone(painter):
    (rollout,) = imagine(painter, lambda seed: lambda obs, info: ACTION, starts=[{"prompt": "a clear day"}], horizon=3)
    assert rollout.variation == {"start": "imagined from 'a clear day'", "prompt": "a clear day"}
    assert rollout.obs.shape[0] == 4


def test_words_that_the_model_does_not_know_are_told_of_both_texts(painter):
    options = {"start": {"prompt": "a foggy xylophone"}, "prompt": "a clear zeppelin"}
    with pytest.warns(UserWarning, match="does not know") as caught:
        _, info = WorldModelEnv(painter).reset(seed=0, options=options)
    assert info["prompt_unknown"] == ["zeppelin", "xylophone"]
    assert len(caught) == 2


def test_a_text_start_that_cannot_be_is_one_clear_error(painter, model):
    with pytest.raises(EnvError, match="cannot begin from text alone"):
        WorldModelEnv(model).reset(seed=0, options={"start": {"prompt": "a clear day"}})
    env = WorldModelEnv(painter)
    with pytest.raises(PromptError, match="no word"):
        env.reset(seed=0, options={"start": {"prompt": "xylophone"}})
    with pytest.raises(PromptError, match="must be a text"):
        env.reset(seed=0, options={"start": {"prompt": 3}})
    with pytest.raises(EnvError, match="alone"):
        env.reset(seed=0, options={"start": {"prompt": "a clear day", "frames": np.zeros((1, 36, 36, 3), np.uint8)}})
    env.reset(seed=0)
    with pytest.raises(EnvError, match="from a start or from a snapshot"):
        env.reset(options={"start": {"prompt": "a clear day"}, "snapshot": env.snapshot()})
