"""Every model that comes with worldsim: whole, small enough, and of the world as it looks today."""

import gymnasium as gym
import numpy as np
import pytest

import worldsim
from worldsim.collect import env_fingerprint
from worldsim.model import CHECKPOINTS, bundled

LIMITS = {64: (6_000_000, 12.1e6), 128: (12_000_000, 24.2e6)}  # pixels: parameters, bytes


def test_city_64_is_bundled():
    assert "city-64" in bundled()


@pytest.mark.parametrize("name", bundled())
def test_a_bundled_model_is_within_its_size(name):
    model = worldsim.load(name)
    parameters, num_bytes = LIMITS[model.spec.height]
    assert model.num_parameters <= parameters
    assert (CHECKPOINTS / name / "model.safetensors").stat().st_size <= num_bytes
    assert (CHECKPOINTS / name / "starts.npz").stat().st_size <= 3_000_000
    assert len(model.starts) == 32


@pytest.mark.parametrize("name", bundled())
def test_a_bundled_model_is_of_the_world_as_it_looks_today(name):
    model = worldsim.load(name)
    assert model.meta["env_fingerprint"] == env_fingerprint(model.spec.env_id, model.spec.env_kwargs)
    env = gym.make(model.spec.env_id, **model.spec.env_kwargs)
    assert (env.observation_space, env.action_space) == model.spaces()
    env.close()


@pytest.mark.parametrize("name", bundled())
def test_a_bundled_model_says_what_it_learned_from(name):
    model = worldsim.load(name)
    assert model.card["frames"] >= 150_000
    assert model.meta["training"]["minutes_done"] >= 45
    assert model.meta["training"]["frames_seen"] >= 200_000
    assert [check for check in model.card["checks"] if check["ok"] is False] == []
    unasked = [check["check"] for check in model.card["checks"] if check["ok"] is None]
    assert unasked == (["terminated episodes"] if name == "lab-64" else [])  # the bench only truncates
    assert model.card["seeds"]["max"] < 100_000
    assert model.metrics["compare"]["checkpoint_sha"] == model.sha


def test_the_imagined_city_answers_to_steering():
    model = worldsim.load("city-64")
    env = gym.make("worldsim/CityDream-v0")
    frames = {}
    for steer in (-1.0, 0.0, 1.0):
        env.reset(seed=3)
        for _ in range(4):
            frames[steer], *_ = env.step(np.array([steer, 0.0], np.float32))
    env.close()
    assert model.spec.action_spec[0].name == "steer"
    for one, other in ((-1.0, 0.0), (0.0, 1.0), (-1.0, 1.0)):
        assert np.abs(frames[one].astype(int) - frames[other].astype(int)).mean() > 2
