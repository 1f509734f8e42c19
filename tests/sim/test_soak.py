"""Imagination goes on for long; the short form of benchmarks/soak.py."""

import importlib.util
from pathlib import Path

import gymnasium as gym
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.fixture(scope="module")
def soak():
    spec = importlib.util.spec_from_file_location("soak", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.soak


def test_one_stream_and_a_batch_imagine_hundreds_of_steps_without_nan_or_growth(soak, checkpoint):
    for env, num_steps in (
        (gym.make("worldsim/Dream-v0", model=checkpoint), 500),
        (gym.make_vec("worldsim/Dream-v0", num_envs=4, model=checkpoint), 120),
    ):
        result = soak(env, num_steps)
        assert result["rewards_not_finite"] == 0
        assert result["ends"] >= 8  # the horizon is 50
        assert result["growth_mb"] <= 64
        assert result["ok"]
