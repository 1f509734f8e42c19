"""An imagined episode begins from anything that shows a moment, and from nothing else."""

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image
from tiny_models import SIZE

from worldsim.errors import ActionError, EnvError, StoreError
from worldsim.rollout import Rollout
from worldsim.sim import WorldModelEnv, WorldModelVectorEnv
from worldsim.store import RolloutStore


@pytest.fixture
def env(model):
    return WorldModelEnv(model)


@pytest.fixture
def rollout():
    rng = np.random.default_rng(1)
    return Rollout(
        obs=rng.integers(0, 256, (11, SIZE, SIZE, 3), dtype=np.uint8),
        action=rng.uniform(-1, 1, (10, 2)).astype(np.float32),
        reward=np.zeros(10, np.float32),
        terminated=np.zeros(10, bool),
        truncated=np.zeros(10, bool),
        env_id="worldsim/City-v0",
    )


def imagine(env, start):
    """Return the first frame and four imagined ones (5, H, W, 3)."""
    obs, _ = env.reset(seed=0, options={"start": start})
    return np.stack([obs, *(env.step(np.array([0.3, 0.1], np.float32))[0] for _ in range(4))])


def test_a_rollout_frames_and_a_store_that_show_the_same_begin_the_same(env, rollout, tmp_path):
    store = RolloutStore.create(tmp_path / "store")
    store.append([rollout])
    expected = imagine(env, rollout)
    np.testing.assert_array_equal(expected[0], rollout.obs[-1])
    for start in (
        {"frames": rollout.obs, "actions": rollout.action},
        {"frames": rollout.obs[-4:], "actions": rollout.action[-3:]},
        {"store": str(tmp_path / "store"), "episode": 0, "t": 10},
    ):
        np.testing.assert_array_equal(imagine(env, start), expected)


def test_frames_behind_the_start_change_nothing(env, rollout, tmp_path):
    store = RolloutStore.create(tmp_path / "store")
    obs = rollout.obs.copy()
    obs[6:] = obs[6:][::-1]
    other = Rollout(**{**vars(rollout), "obs": obs})
    store.append([rollout, other])
    starts = [{"store": tmp_path / "store", "episode": episode, "t": 5} for episode in (0, 1)]
    np.testing.assert_array_equal(imagine(env, starts[0]), imagine(env, starts[1]))


def test_frames_and_actions_before_the_start_matter(env, rollout):
    expected = imagine(env, {"frames": rollout.obs[-4:], "actions": rollout.action[-3:]})
    assert (imagine(env, {"frames": rollout.obs[-4:], "actions": -rollout.action[-3:]})[1:] != expected[1:]).any()
    frames = np.concatenate([255 - rollout.obs[-4:-1], rollout.obs[-1:]])
    assert (imagine(env, {"frames": frames, "actions": rollout.action[-3:]})[1:] != expected[1:]).any()


def test_fewer_frames_than_the_context_are_padded_whatever_the_way_they_come(env, rollout, tmp_path):
    frame = rollout.obs[0]
    Image.fromarray(frame).save(tmp_path / "frame.png")
    store = RolloutStore.create(tmp_path / "store")
    store.append([rollout])
    expected = imagine(env, frame)
    for start in (
        {"frames": frame[None]},
        {"frames": frame[None], "actions": np.zeros((0, 2), np.float32)},
        str(tmp_path / "frame.png"),
        tmp_path / "frame.png",
        {"store": tmp_path / "store", "episode": 0, "t": 0},
    ):
        np.testing.assert_array_equal(imagine(env, start), expected)
    repeated = {"frames": np.repeat(frame[None], 4, axis=0), "actions": np.zeros((3, 2), np.float32)}
    assert (imagine(env, repeated)[1:] != expected[1:]).any(), "padding must not look like standing still"


def test_a_live_truth_begins_a_dream_at_its_present_frame(env):
    truth = gym.make("worldsim/City-v0", height=SIZE, width=SIZE, render_mode="rgb_array")
    truth.reset(seed=3)
    obs, *_ = truth.step(np.zeros(2, np.float32))
    np.testing.assert_array_equal(imagine(env, truth)[0], obs)
    truth.close()


def test_another_dream_can_be_the_start(env, model):
    other = WorldModelEnv(model, render_mode="rgb_array")
    obs, _ = other.reset(seed=9)
    np.testing.assert_array_equal(imagine(env, other)[0], obs)


def test_a_prompt_goes_with_a_start(env, rollout):
    _, info = env.reset(options={"start": rollout, "prompt": "foggy night"})
    assert info["prompt"] == "foggy night"
    assert "rollout" in info["start"]


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (np.zeros((48, 64, 3), np.uint8), rf"{SIZE}x{SIZE}.*48x64"),
        (np.zeros((SIZE, SIZE, 3), np.float32), "uint8"),
        (np.zeros((2, SIZE, SIZE, 3), np.uint8), "image must be"),
        ({"frames": np.zeros((0, SIZE, SIZE, 3), np.uint8)}, r"\(C, H, W, 3\)"),
        ({"frames": np.zeros((3, SIZE, SIZE, 3), np.uint8)}, "2 actions"),
        ({"frames": np.zeros((3, SIZE, SIZE, 3), np.uint8), "actions": np.zeros((3, 2))}, "needs 2 actions; got 3"),
        ({"store": "store", "episode": "x"}, "whole numbers"),
        ({"pictures": 1}, "'pictures'"),
        ("/no/such/file.png", "No such file"),
        (__file__, "not an image"),
        (42, "int"),
    ],
    ids=range(11),
)
def test_what_is_not_a_start_is_refused_in_one_line(env, start, message):
    with pytest.raises(EnvError, match=message) as caught:
        env.reset(seed=0, options={"start": start})
    assert "\n" not in str(caught.value)


def test_an_env_that_does_not_render_is_refused(env, model):
    with pytest.raises(EnvError, match="render_mode"):
        env.reset(options={"start": WorldModelEnv(model)})


def test_a_moment_outside_an_episode_and_a_bad_action_are_refused(env, rollout, tmp_path):
    RolloutStore.create(tmp_path / "store").append([rollout])
    with pytest.raises(StoreError):
        env.reset(options={"start": {"store": tmp_path / "store", "episode": 0, "t": 11}})
    with pytest.raises(ActionError):
        env.reset(options={"start": {"frames": rollout.obs[:3], "actions": np.full((2, 2), 1.5, np.float32)}})


def test_a_policy_with_a_memory_gets_what_came_before_the_first_frame(model):
    start = model.starts[1]
    env = WorldModelEnv(model, burnin=True)
    obs, info = env.reset(seed=0, options={"start": start})
    np.testing.assert_array_equal(np.concatenate([info["burnin_obs"], obs[None]]), start.frames)
    np.testing.assert_array_equal(info["burnin_actions"], start.actions)
    assert "burnin_obs" not in env.step(env.action_space.sample())[4]
    _, info = env.reset(options={"snapshot": env.snapshot()})
    assert "burnin_obs" not in info
    assert "burnin_obs" not in WorldModelEnv(model).reset(seed=0)[1]


def test_every_reset_of_a_batch_tells_what_came_before(model):
    envs = WorldModelVectorEnv(3, model, horizon=1, burnin=True, autoreset_mode="SameStep")
    contexts = {start.frames[-1].tobytes(): start.frames[:-1] for start in model.starts}
    obs, infos = envs.reset(seed=0, options={"start": [None, model.starts[0], None]})
    for _ in range(2):
        assert infos["_burnin_obs"].all()
        for frame, before in zip(obs, infos["burnin_obs"], strict=True):
            np.testing.assert_array_equal(before, contexts[frame.tobytes()])
        obs, *_, infos = envs.step(np.zeros((3, 2), np.float32))
