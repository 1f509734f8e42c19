"""Every id imagines its own truth: the same spaces, the same promises, one stream or a batch."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from pettingzoo.test import parallel_api_test
from PIL import Image
from tiny_models import SIZE, write_checkpoint

from worldsim._register import DREAMS
from worldsim.errors import CheckpointError
from worldsim.model import bundled, spec_of
from worldsim.rollout import Rollout
from worldsim.sim.pettingzoo import WorldModelParallelEnv
from worldsim.sim.sb3 import SB3VecEnv
from worldsim.store import RolloutStore
from worldsim.testing import check_world_model_env, check_world_model_vector_env

IDS = {**{env_id: truth for env_id, (_, truth) in DREAMS.items()}, "worldsim/Dream-v0": "worldsim/Lab-v0"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """An untrained model of every truth, and the truth's spaces, by the truth's id."""
    found = {}
    for truth in sorted(set(IDS.values())):
        env = gym.make(truth, height=SIZE, width=SIZE)
        inner = env.unwrapped
        spec = spec_of(
            env,
            height=SIZE,
            width=SIZE,
            control_dt=inner.control_dt,
            action_spec=tuple(inner.action_spec),
            env_id=truth,
            env_kwargs={"height": SIZE, "width": SIZE},
            max_steps=20,
        )
        path = write_checkpoint(tmp_path_factory.mktemp("models") / truth.split("/")[1], spec)
        found[truth] = str(path), env.observation_space, env.action_space
        env.close()
    return found


@pytest.mark.parametrize("env_id", sorted(IDS))
def test_an_id_has_the_spaces_of_its_truth_and_keeps_every_promise(models, env_id):
    path, observation_space, action_space = models[IDS[env_id]]
    alone = gym.make(env_id, model=path)
    assert (alone.observation_space, alone.action_space) == (observation_space, action_space)
    check_world_model_env(alone, num_steps=6)
    check_world_model_vector_env(gym.make_vec(env_id, num_envs=2, model=path), alone, num_steps=3)


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("env_id", sorted(IDS))
def test_an_id_imagines_five_hundred_finite_steps_in_every_mode_of_resetting(models, env_id, mode):
    num, horizon = 20, 20
    envs = gym.make_vec(env_id, num_envs=num, model=models[IDS[env_id]][0], autoreset_mode=mode)
    assert envs.unwrapped.autoreset_mode is envs.metadata["autoreset_mode"] is mode
    starts = {start.frames[-1].tobytes() for start in envs.unwrapped.model.starts}
    obs, _ = envs.reset(seed=0)
    envs.action_space.seed(0)
    for t in range(1, 26):  # 20 streams: 500 steps
        if mode is AutoresetMode.DISABLED and t == horizon + 1:
            half = np.arange(num) < num // 2
            for mask in (half, ~half):
                obs, infos = envs.reset(options={"reset_mask": mask})
                np.testing.assert_array_equal(infos["_start"], mask)
            assert {frame.tobytes() for frame in obs} <= starts
        obs, reward, terminated, truncated, infos = envs.step(envs.action_space.sample())
        assert np.isfinite(reward).all() and not terminated.any()
        assert truncated.all() if t == horizon else not truncated.any()
        reset_at = {AutoresetMode.NEXT_STEP: horizon + 1, AutoresetMode.SAME_STEP: horizon}
        begun = t == reset_at.get(mode)
        assert begun == ({frame.tobytes() for frame in obs} <= starts)
        if mode is AutoresetMode.NEXT_STEP and begun:
            assert not reward.any()
        assert ("final_obs" in infos) == (mode is AutoresetMode.SAME_STEP and begun)
        if "final_obs" in infos:
            assert infos["_final_obs"].all() and infos["_final_info"].all()
            assert not {frame.tobytes() for frame in infos["final_obs"]} & starts
            assert infos["final_info"]["terminate_prob"].shape == (num,)
    assert obs in envs.observation_space


@pytest.mark.parametrize("env_id", sorted(IDS))
def test_an_id_begins_from_anything_that_shows_a_moment(models, env_id, tmp_path):
    truth = gym.make(IDS[env_id], height=SIZE, width=SIZE, render_mode="rgb_array")
    truth.action_space.seed(0)
    frames, actions = [truth.reset(seed=0)[0]], []
    for _ in range(3):
        actions.append(truth.action_space.sample())
        frames.append(truth.step(actions[-1])[0])
    obs, action, none = np.stack(frames), np.stack(actions), np.zeros(3, np.bool_)
    rollout = Rollout(obs=obs, action=action, reward=np.zeros(3, np.float32), terminated=none, truncated=none)
    RolloutStore.create(tmp_path / "store").append([rollout])
    Image.fromarray(obs[-1]).save(tmp_path / "frame.png")
    env = gym.make(env_id, model=models[IDS[env_id]][0])
    for start in (
        {"store": tmp_path / "store", "episode": 0, "t": 3},
        {"frames": obs, "actions": action},
        rollout,
        truth,
        obs[-1],
        tmp_path / "frame.png",
    ):
        first, info = env.reset(seed=0, options={"start": start})
        np.testing.assert_array_equal(first, obs[-1])
        assert not info["start"].startswith("start ")
    _, info = env.reset(seed=0, options={"prompt": "foggy night"})
    assert info["prompt"] == "foggy night"
    env.step(action[0])
    moment = env.unwrapped.snapshot()
    np.testing.assert_array_equal(env.reset(options={"snapshot": moment})[0], moment.frame)
    truth.close()


@pytest.mark.parametrize("env_id", sorted(IDS))
def test_a_stream_of_sixty_four_is_itself_alone_in_any_order_and_after_a_resume(models, env_id):
    path = models[IDS[env_id]][0]
    alone = gym.make(env_id, model=path, sampler_steps=2)
    envs = gym.make_vec(env_id, num_envs=64, model=path, sampler_steps=2)
    envs.action_space.seed(0)
    num_steps = 16 if env_id == "worldsim/Dream-v0" else 4
    actions = [envs.action_space.sample() for _ in range(num_steps)]
    envs.reset(seed=100)
    expected = [envs.step(batch)[0] for batch in actions[:2]]
    kept = envs.unwrapped.snapshot()
    expected += [envs.step(batch)[0] for batch in actions[2:]]
    for i in (0, 37, 63):
        alone.reset(seed=100 + i)
        for batch, frames in zip(actions, expected, strict=True):
            frame = alone.step(batch[i])[0]
            assert np.abs(frame.astype(int) - frames[i].astype(int)).mean() <= 1
    order = np.random.default_rng(0).permutation(64)
    envs.reset(seed=(100 + order).tolist())
    for batch, frames in zip(actions[:3], expected, strict=False):
        np.testing.assert_array_equal(envs.step(batch[order])[0], frames[order])
    envs.unwrapped.restore(kept)
    for batch, frames in zip(actions[2:4], expected[2:4], strict=True):
        np.testing.assert_array_equal(envs.step(batch)[0], frames)


@pytest.mark.parametrize("env_id", sorted(IDS))
def test_an_id_goes_into_the_libraries_for_agents(models, env_id):
    path = models[IDS[env_id]][0]
    envs = SB3VecEnv(gym.make_vec(env_id, num_envs=2, model=path, autoreset_mode="SameStep"))
    assert envs.reset().shape == (2, SIZE, SIZE, 3)
    assert envs.step(np.stack([envs.action_space.sample()] * 2))[0].shape == (2, SIZE, SIZE, 3)
    parallel_api_test(WorldModelParallelEnv(2, path, horizon=3), num_cycles=4)


def test_a_model_of_another_truth_is_refused_by_name(models):
    with pytest.raises(CheckpointError, match=r"Lab-v0 was asked for.*City-v0"):
        gym.make("worldsim/LabDream-v0", model=models["worldsim/City-v0"][0])


@pytest.mark.parametrize("env_id", sorted(env_id for env_id, (name, _) in DREAMS.items() if name not in bundled()))
def test_an_id_whose_model_does_not_come_along_says_what_to_give(env_id):
    with pytest.raises(CheckpointError, match="give a directory"):
        gym.make(env_id)
