"""Uncertainty is a function of state and action, changes nothing that is imagined, and is calibrated to a quantile."""

import shutil
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from tiny_models import write_checkpoint

import worldsim
from worldsim.errors import CheckpointError, EnvError
from worldsim.evaluate.uncertainty import auroc, calibrate
from worldsim.model import load
from worldsim.sim import (
    Calibration,
    UncertaintyPenalty,
    UncertaintyTruncation,
    VectorUncertaintyPenalty,
    WorldModelEnv,
    WorldModelVectorEnv,
)
from worldsim.sim.uncertainty import CALIBRATION_FILE, SIGNS

N = 3


@pytest.fixture(scope="module")
def calibration(model):
    return Calibration(
        model_sha=model.sha,
        action_mean=(0.0, 0.0),
        action_std=(0.5, 0.5),
        weights=(0.0, 1.0, 0.5, 0.5, 0.2, 0.1),
        quantiles=tuple(np.linspace(-10, 15, 101).tolist()),
    )


def actions_for(num_steps, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (num_steps, N, 2)).astype(np.float32)


def test_it_changes_nothing_that_is_imagined(model, calibration):
    plain = WorldModelVectorEnv(N, model, sampler_steps=2)
    gauged = WorldModelVectorEnv(N, model, sampler_steps=2, uncertainty=calibration)
    plain.reset(seed=0), gauged.reset(seed=0)
    for batch in actions_for(4):
        for one, other in zip(plain.step(batch)[:4], gauged.step(batch)[:4], strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_stream_of_a_batch_is_as_uncertain_as_alone_and_again_after_a_restore(model, calibration):
    envs = WorldModelVectorEnv(N, model, uncertainty=calibration)
    alone = WorldModelEnv(model, uncertainty=calibration)
    _, infos = envs.reset(seed=5)
    assert "uncertainty" not in infos
    alone.reset(seed=6)
    batch = actions_for(1)[0]
    *_, infos = envs.step(batch)
    now = alone.snapshot()
    *_, info = alone.step(batch[1])
    assert infos["uncertainty"].shape == (N,)
    assert infos["_uncertainty"].all()
    assert info["uncertainty"] == pytest.approx(infos["uncertainty"][1], abs=0.02)
    assert set(info["uncertainty_signs"]) == set(SIGNS)
    for name, value in info["uncertainty_signs"].items():
        assert value == pytest.approx(infos["uncertainty_signs"][name][1], rel=0.1)
    alone.restore(now)
    assert alone.step(batch[1])[4] == info
    (branch,) = alone.branch(1)
    assert "uncertainty" in branch.step(batch[1])[4]


def test_an_unusual_action_and_an_unknown_frame_raise_their_signs(model, calibration):
    env = WorldModelEnv(model, uncertainty=calibration)

    def signs(action, **options):
        env.reset(seed=0, options=options)
        return env.step(np.array(action, np.float32))[4]["uncertainty_signs"]

    usual = signs([0, 0])
    assert usual["action"] == 0
    assert signs([1, -1])["action"] == pytest.approx(2)
    black = np.zeros((*env.observation_space.shape,), np.uint8)
    assert signs([0, 0], start=black)["novelty"] > usual["novelty"]


def test_a_sampler_without_noise_is_judged_too(model, calibration):
    env = WorldModelEnv(model, sampler_steps=1, uncertainty=calibration)
    env.reset(seed=0)
    signs = env.step(np.zeros(2, np.float32))[4]["uncertainty_signs"]
    assert signs["residual"] > 0
    assert signs["spread"] > 0


def test_gymnasium_accepts_an_env_that_doubts(model, calibration):
    check_env(WorldModelEnv(model, uncertainty=calibration), skip_render_check=True)


def test_the_calibration_lies_beside_the_checkpoint(checkpoint, calibration, tmp_path):
    copy = tmp_path / "tiny"
    shutil.copytree(checkpoint, copy)
    with pytest.raises(CheckpointError, match=r"tiny/uncertainty\.json; make it with.*calibrate"):
        gym.make("worldsim/Dream-v0", model=str(copy), uncertainty=True)
    calibration.save(copy / CALIBRATION_FILE)
    assert Calibration.load(copy / CALIBRATION_FILE) == calibration
    assert WorldModelEnv(worldsim.load(copy), uncertainty=True)  # by where it came from, not by its name
    env = gym.make("worldsim/Dream-v0", model=str(copy), uncertainty=True)
    env = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    env.reset(seed=0)
    assert 0 <= env.step(env.action_space.sample())[4]["uncertainty"] <= 1
    (copy / CALIBRATION_FILE).write_text("[1")
    with pytest.raises(CheckpointError, match="not a calibration"):
        WorldModelEnv(str(copy), uncertainty=True)


def test_a_calibration_that_cannot_be_written_leaves_the_one_before(calibration, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError("the disk is full")

    calibration.save(tmp_path / "c.json")
    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(OSError, match="full"):
        replace(calibration, model_sha="another").save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == calibration


def test_a_calibration_of_another_model_is_refused(mortal_checkpoint, calibration):
    with pytest.raises(CheckpointError, match="make it again"):
        WorldModelEnv(mortal_checkpoint, uncertainty=calibration)


def test_the_penalty_lowers_the_reward_by_the_uncertainty(model, calibration):
    env = UncertaintyPenalty(WorldModelEnv(model, uncertainty=calibration), scale=3.0)
    env.reset(seed=0)
    _, reward, *_, info = env.step(np.zeros(2, np.float32))
    assert info["uncertainty"] > 0
    assert reward == pytest.approx(info["reward_imagined"] - 3 * info["uncertainty"])


@pytest.mark.parametrize(("limit", "ends"), [(0.0, True), (1.0, False)])
def test_the_truncation_ends_an_episode_above_its_limit(model, calibration, limit, ends):
    env = UncertaintyTruncation(WorldModelEnv(model, uncertainty=calibration), limit=limit)
    env.reset(seed=0)
    _, _, terminated, truncated, info = env.step(np.zeros(2, np.float32))
    assert (terminated, truncated, info["uncertainty_truncated"]) == (False, ends, ends)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_batch_pays_for_every_step_also_for_the_last_of_an_episode(model, calibration, mode):
    plain = WorldModelVectorEnv(N, model, horizon=2, autoreset_mode=mode)
    envs = VectorUncertaintyPenalty(
        WorldModelVectorEnv(N, model, horizon=2, autoreset_mode=mode, uncertainty=calibration), scale=3.0
    )
    plain.reset(seed=0), envs.reset(seed=0)
    for t, batch in enumerate(actions_for(4)):
        expected = plain.step(batch)[1]
        _, reward, *_, infos = envs.step(batch)
        np.testing.assert_array_equal(infos["reward_imagined"], expected)
        if mode == "NextStep" and t == 2:
            np.testing.assert_array_equal(reward, np.zeros(N))  # a reset, not a step
        else:
            assert ((expected - reward > 0) & (expected - reward <= 3)).all()


def test_a_batch_truncates_episodes_above_its_limit(model, calibration):
    for limit, ends in ((0.0, True), (1.0, False)):
        envs = WorldModelVectorEnv(N, model, uncertainty=calibration, uncertainty_limit=limit)
        envs.reset(seed=0)
        _, _, terminated, truncated, _ = envs.step(actions_for(1)[0])
        assert truncated.tolist() == [ends] * N
        assert not terminated.any()
    with pytest.raises(EnvError, match="uncertainty_limit"):
        WorldModelVectorEnv(N, model, uncertainty_limit=0.5)


def test_wrappers_say_what_they_need(model):
    for wrapper in (UncertaintyPenalty, UncertaintyTruncation):
        env = wrapper(WorldModelEnv(model))
        env.reset(seed=0)
        with pytest.raises(EnvError, match="uncertainty=True"):
            env.step(np.zeros(2, np.float32))
    envs = VectorUncertaintyPenalty(WorldModelVectorEnv(N, model))
    envs.reset(seed=0)
    with pytest.raises(EnvError, match="uncertainty=True"):
        envs.step(actions_for(1)[0])
    with pytest.raises(EnvError, match="quantile"):
        UncertaintyTruncation(WorldModelEnv(model), limit=2)


def test_calibration_against_the_truth_learns_and_judges_on_different_clips(model):
    made = calibrate(model, episodes=4, horizon=3)
    assert made.model_sha == model.sha
    assert made.figures["judged_steps"] == 2 * 3
    assert all(weight >= 0 for weight in made.weights[1:])
    assert list(made.quantiles) == sorted(made.quantiles)
    assert set(made.figures["auroc"]) == {"expected", *SIGNS, "step"}
    env = WorldModelEnv(model, uncertainty=made)
    env.reset(seed=0)
    assert 0 <= env.step(env.action_space.sample())[4]["uncertainty"] <= 1
    with pytest.raises(EnvError, match="at least 4"):
        calibrate(model, episodes=2)


def test_auroc_counts_pairs():
    scores, positive = np.array([1.0, 2.0, 2.0, 5.0]), np.array([False, False, True, True])
    assert auroc(scores, positive) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert auroc(scores, np.ones(4, bool)) is None


def test_signs_need_starts_to_compare_with(tmp_path, model, calibration):
    bare = load(write_checkpoint(tmp_path / "m", model.spec))
    bare.starts = ()
    with pytest.raises(EnvError, match="no starts"):
        WorldModelEnv(bare, uncertainty=calibration)
