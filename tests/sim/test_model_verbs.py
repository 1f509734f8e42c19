"""The model itself: encode, step, decode, rollout, imagine, over a state that is a value."""

import shutil

import numpy as np
import pytest
import torch

from worldsim.errors import ActionError, EnvError
from worldsim.model import load, set_terminate_calibration
from worldsim.sim import WorldModelVectorEnv


def begin(model, num=2):
    starts = model.starts[:num]
    return model.encode(
        np.stack([start.frames for start in starts]),
        np.stack([start.actions for start in starts]),
        prompts=[None] * num,
        seeds=np.arange(num),
    )


def some_actions(num, steps, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (num, steps, 2)).astype(np.float32)


def test_a_state_decodes_to_the_frame_it_shows(model):
    state = begin(model)
    np.testing.assert_array_equal(model.decode(state), np.stack([s.frames[-1] for s in model.starts[:2]]))
    state, predicted = model.step(state, some_actions(2, 1)[:, 0])
    frames = model.decode(state)
    np.testing.assert_array_equal(frames, predicted.frames)
    frames[:] = 0
    np.testing.assert_array_equal(model.decode(state), predicted.frames)


def test_a_step_fetches_no_frame_until_it_is_looked_at(model):
    _, imagined = model.rollout(begin(model), some_actions(2, 3))
    assert not any("frames" in vars(step) for step in imagined.predictions)
    assert imagined.reward.shape == imagined.terminate_prob.shape == (2, 3)
    assert not any("frames" in vars(step) for step in imagined.predictions)
    assert imagined.frames.shape == (2, 3, 36, 36, 3)
    assert all("frames" in vars(step) for step in imagined.predictions)


def test_a_rollout_is_its_steps_one_by_one(model):
    actions = some_actions(2, 4)
    last, imagined = model.rollout(begin(model), actions, sampler_steps=2)
    state = begin(model)
    for t in range(4):
        state, predicted = model.step(state, actions[:, t], sampler_steps=2)
        np.testing.assert_array_equal(imagined.frames[:, t], predicted.frames)
        np.testing.assert_array_equal(imagined.reward[:, t], predicted.reward)
    assert state.to_bytes() == last.to_bytes()
    with pytest.raises(ActionError, match="T at least 1"):
        model.rollout(begin(model), actions[:, :0])


def test_a_policy_sees_every_frame_and_its_actions_are_kept(model):
    seen = []

    def policy(frames):
        seen.append(frames.copy())
        return np.stack([frames.mean(axis=(1, 2, 3)) / 255, np.zeros(2)], axis=1).astype(np.float32)

    state = begin(model)
    _, imagined = model.imagine(state, policy, 3)
    np.testing.assert_array_equal(seen[0], model.decode(state))
    np.testing.assert_array_equal(np.stack(seen[1:], axis=1), imagined.frames[:, :2])
    _, same = model.rollout(state, imagined.actions)
    np.testing.assert_array_equal(same.frames, imagined.frames)
    with pytest.raises(EnvError, match="num_steps"):
        model.imagine(state, policy, 0)


def test_branches_of_a_state_lie_side_by_side(model):
    state = begin(model)
    branches = state.branch(3)
    assert branches.seeds.tolist() == [0, 0, 0, 1, 1, 1]
    _, imagined = model.rollout(branches, np.repeat(some_actions(2, 2), 3, axis=0))
    assert (imagined.frames[:3] == imagined.frames[0]).all()
    assert (imagined.frames[3] != imagined.frames[0]).any()


def test_calibration_of_ends_lies_beside_the_weights_and_moves_nothing_else(tmp_path, model, checkpoint):
    copy = shutil.copytree(checkpoint, tmp_path / "calibrated")
    set_terminate_calibration(copy, {"scale": 0.5, "bias": 2.0, "figures": {}})
    calibrated = load(copy)
    action = some_actions(2, 1)[:, 0]
    (_, raw), (_, moved) = model.step(begin(model), action), calibrated.step(begin(calibrated), action)
    np.testing.assert_array_equal(raw.frames, moved.frames)
    logit = torch.logit(torch.from_numpy(raw.terminate_prob).double())
    expected = torch.sigmoid(0.5 * logit + 2)
    np.testing.assert_allclose(moved.terminate_prob, expected.numpy(), rtol=1e-4)
    assert calibrated.sha == model.sha


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_batch_is_rewound_bit_for_bit_over_automatic_resets_too(model, monkeypatch, mode):
    monkeypatch.setattr("worldsim.sim.tape.KEYFRAME_EVERY", 3)
    envs = WorldModelVectorEnv(3, model, horizon=4, sampler_steps=2, autoreset_mode=mode, rewind_limit=8)
    envs.reset(seed=0)
    actions = some_actions(3, 11).swapaxes(0, 1)
    done = [envs.step(batch) for batch in actions]
    for back in (0, 1, 5, 2):
        shown = envs.rewind(back)
        done = done[: len(done) - back]
        np.testing.assert_array_equal(shown, done[-1][0])
    for t in range(len(done), 11):
        obs, reward, terminated, truncated, infos = envs.step(actions[t])
        done.append((obs, reward, terminated, truncated, infos))
    again = WorldModelVectorEnv(3, model, horizon=4, sampler_steps=2, autoreset_mode=mode)
    again.reset(seed=0)
    for batch, kept in zip(actions, done, strict=True):
        for one, other in zip(again.step(batch)[:4], kept[:4], strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_rewind_of_a_batch_says_how_far_it_reaches(model):
    plain = WorldModelVectorEnv(2, model)
    plain.reset(seed=0)
    with pytest.raises(EnvError, match="rewind_limit"):
        plain.rewind()
    envs = WorldModelVectorEnv(2, model, rewind_limit=2)
    with pytest.raises(EnvError, match="reset"):
        envs.rewind()
    first, _ = envs.reset(seed=0)
    with pytest.raises(EnvError, match="0 to 0 steps"):
        envs.rewind()
    for batch in some_actions(2, 3).swapaxes(0, 1):
        envs.step(batch)
    with pytest.raises(EnvError, match="0 to 2 steps here, its limit"):
        envs.rewind(3)
    kept = envs.snapshot()
    envs.rewind(2)
    envs.restore(kept)
    with pytest.raises(EnvError, match="0 to 0 steps"):
        envs.rewind()
    assert first.shape == envs.rewind(0).shape


def test_a_prompt_set_in_a_batch_is_still_set_after_a_rewind_to_that_moment(model):
    envs = WorldModelVectorEnv(2, model, rewind_limit=8)
    envs.reset(seed=0)
    actions = some_actions(2, 4).swapaxes(0, 1)
    envs.step(actions[0])
    envs.set_prompt("foggy night", np.array([False, True]))
    asked = [envs.step(batch)[0] for batch in actions[1:3]]
    envs.rewind(2)
    np.testing.assert_array_equal([envs.step(batch)[0] for batch in actions[1:3]], asked)
    envs.rewind(3)
    assert [s.stream.prompt for s in envs.snapshot()] == ["", ""]
