"""Policies act in many imagined streams at once, and an episode can be rewound."""

import numpy as np
import pytest

import worldsim.sim.tape
from worldsim.errors import EnvError
from worldsim.sim import WorldModelEnv, imagine
from worldsim.store import RolloutStore


def make_random(seed):
    rng = np.random.default_rng(seed)
    return lambda obs, info: rng.uniform(-1, 1, 2).astype(np.float32)


def test_a_rollout_is_what_its_stream_does_alone(model):
    rollouts = imagine(model, make_random, 3, horizon=6, seed=20, sampler_steps=2)
    assert [len(rollout) for rollout in rollouts] == [6, 6, 6]
    for i, rollout in enumerate(rollouts):
        env = WorldModelEnv(model, sampler_steps=2, threads=None)
        first, info = env.reset(seed=20 + i)
        np.testing.assert_array_equal(rollout.obs[0], first)
        assert rollout.variation["start"] == info["start"]
        policy = make_random(20 + i)
        for t in range(6):
            action = policy(first, info)
            np.testing.assert_array_equal(rollout.action[t], action)
            frame, *_ = env.step(action)
            assert np.abs(frame.astype(int) - rollout.obs[t + 1].astype(int)).mean() <= 1
        assert rollout.truncated.tolist() == [False] * 5 + [True]


def test_a_policy_sees_the_frame_that_it_answers(model):
    seen = []

    def make(seed):
        def policy(obs, info):
            seen.append((obs.copy(), info["prompt"]))
            return np.zeros(2, np.float32)

        return policy

    (rollout,) = imagine(model, make, 1, horizon=3, prompt="foggy night")
    np.testing.assert_array_equal(np.stack([obs for obs, _ in seen]), rollout.obs[:3])
    assert {prompt for _, prompt in seen} == {"foggy night"}


def test_a_rollout_ends_where_the_model_ends_it(mortal_checkpoint):
    for rollout in imagine(mortal_checkpoint, make_random, 2, horizon=5):
        assert rollout.terminated.tolist() == [True]
        assert rollout.truncated.tolist() == [False]


def test_rollouts_begin_from_given_starts_and_go_into_a_store(model, tmp_path):
    rollouts = imagine(model, make_random, starts=model.starts[:2], horizon=2, policy="random")
    for rollout, start in zip(rollouts, model.starts, strict=False):
        np.testing.assert_array_equal(rollout.obs[0], start.frames[-1])
    store = RolloutStore.create(tmp_path / "store")
    store.append(rollouts)
    assert store.info(1).source == "imagined"
    np.testing.assert_array_equal(store.episode(1).obs, rollouts[1].obs)


def test_neither_a_number_nor_fitting_starts_is_refused(model):
    for kwargs in ({}, {"num_rollouts": 3, "starts": model.starts[:2]}):
        with pytest.raises(EnvError, match="num_rollouts"):
            imagine(model, make_random, **kwargs)


def moments(env, num):
    """Step with actions that depend on the time alone; return the frames (num, H, W, 3)."""
    return np.stack([env.step(np.array([np.sin(env.snapshot().elapsed), 0.5], np.float32))[0] for _ in range(num)])


@pytest.mark.parametrize("back", [1, 3, 7])
def test_what_is_rewound_happens_again_bit_for_bit(model, monkeypatch, back):
    monkeypatch.setattr(worldsim.sim.tape, "KEYFRAME_EVERY", 3)
    env = WorldModelEnv(model, sampler_steps=2)
    env.reset(seed=1)
    frames = moments(env, 4)
    env.set_prompt("foggy night")
    frames = np.concatenate([frames, moments(env, 4)])
    shown = env.rewind(back)
    np.testing.assert_array_equal(shown, frames[-1 - back])
    assert env.snapshot().elapsed == 8 - back
    assert env.snapshot().stream.prompt == ("foggy night" if back <= 4 else "")
    if back > 4:
        moments(env, back - 4)
        env.set_prompt("foggy night")
    np.testing.assert_array_equal(moments(env, min(back, 4)), frames[-min(back, 4) :])


def test_a_rewind_ends_at_the_last_reset_or_restore(model):
    env = WorldModelEnv(model)
    with pytest.raises(EnvError, match="reset"):
        env.rewind()
    first, _ = env.reset(seed=1)
    moments(env, 2)
    kept = env.snapshot()
    with pytest.raises(EnvError, match="0 to 2 steps"):
        env.rewind(3)
    np.testing.assert_array_equal(env.rewind(2), first)
    env.restore(kept)
    with pytest.raises(EnvError, match="0 to 0 steps"):
        env.rewind()


def test_an_ended_episode_goes_on_after_a_rewind(model):
    env = WorldModelEnv(model, horizon=2)
    env.reset(seed=1)
    last = moments(env, 2)[-1]
    env.rewind()
    np.testing.assert_array_equal(moments(env, 1)[0], last)
