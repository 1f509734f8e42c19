"""TorchRL steps imagined worlds through its own ``GymEnv``; tried with the library itself: ``make test-torchrl``.

Its compiled extension does not load beside torch 2.13; what is tested here does without it.
"""

import warnings

import numpy as np
import pytest
import torch
from tiny_models import SIZE

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns of its own extension, and of what it deprecates
    from torchrl.envs import GymEnv, StepCounter, TransformedEnv
    from torchrl.envs.utils import check_env_specs

from worldsim.sim import WorldModelEnv

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def env(checkpoint):
    env = GymEnv("worldsim/Dream-v0", model=checkpoint, horizon=6)
    yield env
    env.close()


def test_its_own_check_of_specs_passes(env):
    check_env_specs(env, seed=0)


def test_a_rollout_is_the_imagined_episode(env, checkpoint):
    env.set_seed(3, static_seed=True)
    torch.manual_seed(0)
    rollout = env.rollout(20)
    assert rollout["pixels"].shape == (6, SIZE, SIZE, 3)
    assert rollout["pixels"].dtype == torch.uint8
    assert rollout["next", "truncated"].flatten().tolist() == [False] * 5 + [True]
    assert not rollout["next", "terminated"].any()
    alone = WorldModelEnv(checkpoint, horizon=6)
    alone.reset(seed=3)  # by set_seed
    first, _ = alone.reset()
    np.testing.assert_array_equal(rollout["pixels"][0].numpy(), first)
    for t in range(6):
        obs, reward, *_ = alone.step(rollout["action"][t].numpy())
        np.testing.assert_array_equal(rollout["next", "pixels"][t].numpy(), obs)
        assert rollout["next", "reward"][t].item() == pytest.approx(reward, abs=1e-6)


def test_its_transforms_and_a_policy_of_torch_go_around_it(env):
    counted = TransformedEnv(env, StepCounter())

    def policy(pixels, step_count):
        mean = pixels.float().mean() / 255
        return torch.stack([mean, -mean])

    rollout = counted.rollout(4, policy)
    assert rollout["step_count"].flatten().tolist() == [0, 1, 2, 3]
    expected = rollout["pixels"].float().mean(dim=(1, 2, 3)) / 255
    torch.testing.assert_close(rollout["action"][:, 0], expected)
