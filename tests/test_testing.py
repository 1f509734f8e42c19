"""The conformance checks pass for every id, and catch an env that breaks a promise."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from tiny_models import make_spec, write_checkpoint

from worldsim._register import DREAMS
from worldsim.errors import ActionError, EnvError
from worldsim.model import bundled
from worldsim.sim import WorldModelEnv, WorldModelVectorEnv
from worldsim.testing import check_world_model_env, check_world_model_vector_env


def test_an_imagined_env_and_its_batch_pass(checkpoint):
    alone = gym.make("worldsim/Dream-v0", model=checkpoint, sampler_steps=2)
    envs = gym.make_vec("worldsim/Dream-v0", num_envs=3, model=checkpoint, sampler_steps=2)
    check_world_model_env(alone, num_steps=12)
    check_world_model_vector_env(envs, alone, num_steps=6)


def test_discrete_actions_and_early_ends_pass(tmp_path):
    spec = make_spec(
        action_kind="discrete", action_shape=(), action_low=(), action_high=(), action_counts=(3,), action_spec=()
    )
    path = str(write_checkpoint(tmp_path / "m", spec))
    check_world_model_env(WorldModelEnv(path, horizon=4), num_steps=8)
    check_world_model_vector_env(WorldModelVectorEnv(2, path, horizon=3), num_steps=5)


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
def test_a_batch_that_ends_passes_in_every_mode_of_resetting(mode, horizon, model):
    envs = WorldModelVectorEnv(2, model, horizon=horizon, autoreset_mode=mode)
    check_world_model_vector_env(envs, WorldModelEnv(model, horizon=horizon), num_steps=5)


@pytest.mark.parametrize("env_id", sorted(env_id for env_id, (name, _) in DREAMS.items() if name in bundled()))
def test_every_dream_of_a_bundled_model_passes(env_id):
    check_world_model_env(gym.make(env_id), num_steps=4)
    check_world_model_vector_env(gym.make_vec(env_id, num_envs=2), num_steps=3)


class Forgetful(WorldModelEnv):
    """Restores the frame and forgets the rest."""

    def restore(self, snapshot):
        pass


class Tolerant(WorldModelEnv):
    """Clips every action in silence."""

    def step(self, action):
        return super().step(np.clip(np.nan_to_num(np.resize(action, 2)), -1, 1).astype(np.float32))


class Restless(WorldModelEnv):
    """Its reward counts the calls."""

    calls = 0

    def step(self, action):
        obs, _, *rest = super().step(action)
        self.calls += 1
        return (obs, float(self.calls), *rest)


@pytest.mark.parametrize(
    ("broken", "message"), [(Forgetful, "restored snapshot"), (Tolerant, "ActionError"), (Restless, "same")]
)
def test_a_broken_promise_is_named(broken, message, model):
    with pytest.raises((EnvError, AssertionError), match=message):
        check_world_model_env(broken(model), num_steps=4)


def test_a_foreign_env_is_told_what_it_lacks():
    with pytest.raises(EnvError, match="no rewind"):
        check_world_model_env(gym.make("worldsim/City-v0"))


class Mixed(WorldModelVectorEnv):
    """Every stream hears the action of the first."""

    def step(self, actions):
        if np.shape(actions) != self.action_space.shape:
            raise ActionError("shape")
        return super().step(np.repeat(actions[:1], self.num_envs, axis=0))


def test_streams_that_depend_on_each_other_are_found(model):
    with pytest.raises(EnvError, match="another order"):
        check_world_model_vector_env(Mixed(3, model), num_steps=3)
