"""Every id imagines its own truth: the same spaces, the same promises, one stream or a batch."""

import gymnasium as gym
import numpy as np
import pytest
from pettingzoo.test import parallel_api_test
from tiny_models import SIZE, write_checkpoint

from worldsim._register import DREAMS
from worldsim.errors import CheckpointError
from worldsim.model import bundled, spec_of
from worldsim.sim.pettingzoo import WorldModelParallelEnv
from worldsim.sim.sb3 import SB3VecEnv
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


@pytest.mark.parametrize("env_id", sorted(IDS))
def test_an_id_imagines_five_hundred_finite_steps(models, env_id):
    envs = gym.make_vec(env_id, num_envs=20, model=models[IDS[env_id]][0], autoreset_mode="SameStep")
    obs, _ = envs.reset(seed=0)
    envs.action_space.seed(0)
    num_ends = 0
    for _ in range(25):  # 20 streams: 500 steps
        obs, reward, terminated, truncated, _ = envs.step(envs.action_space.sample())
        assert np.isfinite(reward).all()
        num_ends += int((terminated | truncated).sum())
    assert obs in envs.observation_space
    assert num_ends == 20  # the horizon is 20


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
