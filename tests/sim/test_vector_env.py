"""N streams are one batch, yet each is the stream it would be alone."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from tiny_models import make_spec, write_checkpoint

from worldsim.errors import ActionError, EnvError
from worldsim.sim import WorldModelEnv, WorldModelVectorEnv

N = 4


@pytest.fixture
def envs(model):
    return WorldModelVectorEnv(N, model, render_mode="rgb_array", sampler_steps=2)


def actions_for(num_steps, num=N, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (num_steps, num, 2)).astype(np.float32)


def test_make_vec_uses_the_native_batch_without_a_warning(checkpoint):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs = gym.make_vec("worldsim/Dream-v0", num_envs=3, model=checkpoint)
    assert isinstance(envs.unwrapped, WorldModelVectorEnv)
    obs, infos = envs.reset(seed=0)
    assert obs in envs.observation_space
    assert infos["_prompt"].all()
    obs, reward, terminated, truncated, infos = envs.step(envs.action_space.sample())
    assert obs in envs.observation_space
    assert (reward.dtype, terminated.dtype, truncated.dtype) == (np.float64, np.bool_, np.bool_)
    assert infos["terminate_prob"].shape == (3,)
    envs.close()
    envs.close()


def test_a_stream_of_a_batch_is_the_stream_it_is_alone(envs, model):
    alone = WorldModelEnv(model, sampler_steps=2, threads=None)
    actions = actions_for(16)
    obs, _ = envs.reset(seed=10)
    frames = [envs.step(batch)[0] for batch in actions]
    for i in range(N):
        first, _ = alone.reset(seed=10 + i)
        np.testing.assert_array_equal(first, obs[i])
        for batch, expected in zip(actions, frames, strict=True):
            frame, *_ = alone.step(batch[i])
            assert np.abs(frame.astype(int) - expected[i].astype(int)).mean() <= 1


def test_at_the_same_batch_size_streams_are_equal_bit_for_bit_in_any_order(envs):
    actions = actions_for(5)
    envs.reset(seed=[3, 4, 5, 6])
    expected = [envs.step(batch)[0] for batch in actions]
    order = [2, 0, 3, 1]
    envs.reset(seed=[[3, 4, 5, 6][i] for i in order])
    for batch, frames in zip(actions, expected, strict=True):
        np.testing.assert_array_equal(envs.step(batch[order])[0], frames[order])


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("which", ["horizon", "head"])
def test_it_ends_and_resets_as_gymnasium_does_with_single_envs(mode, which, checkpoint, mortal_checkpoint):
    kwargs = {"horizon": 3} if which == "horizon" else {}
    path = checkpoint if which == "horizon" else mortal_checkpoint
    singles = SyncVectorEnv([lambda: WorldModelEnv(path, threads=None, **kwargs)] * N, autoreset_mode=mode)
    envs = WorldModelVectorEnv(N, path, autoreset_mode=mode, **kwargs)
    assert envs.autoreset_mode is envs.metadata["autoreset_mode"] is mode
    assert_alike(envs.reset(seed=0), singles.reset(seed=0))
    for batch in actions_for(8):
        assert_alike(envs.step(batch), singles.step(batch))


def assert_alike(ours, theirs):
    """Assert that two results of reset or step are equal, frames within rounding of the batch size."""
    assert np.abs(ours[0].astype(int) - theirs[0].astype(int)).mean() <= 1
    for one, two in zip(ours[1:-1], theirs[1:-1], strict=True):
        np.testing.assert_allclose(one, two, atol=0.05)
        assert one.dtype == two.dtype
    assert_infos_alike(ours[-1], theirs[-1])


def assert_infos_alike(ours, theirs):
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        if isinstance(value, dict):
            assert_infos_alike(value, theirs[key])
        elif key == "final_obs":
            assert [frame is None for frame in value] == [frame is None for frame in theirs[key]]
        elif value.dtype == object:
            assert value.tolist() == theirs[key].tolist()
        else:
            np.testing.assert_allclose(value, theirs[key], atol=0.05)


def test_same_step_hands_over_the_last_frame_and_begins_anew(model):
    envs = WorldModelVectorEnv(N, model, horizon=2, autoreset_mode="SameStep")
    envs.reset(seed=0)
    actions = actions_for(2)
    envs.step(actions[0])
    obs, _, _, truncated, infos = envs.step(actions[1])
    assert truncated.all()
    assert infos["_final_obs"].all()
    starts = {start.frames[-1].tobytes() for start in model.starts}
    assert all(frame.tobytes() in starts for frame in obs)
    assert not any(frame.tobytes() in starts for frame in infos["final_obs"])


def test_disabled_asks_for_a_reset_of_the_streams_that_ended(model):
    envs = WorldModelVectorEnv(N, model, horizon=2, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    actions = actions_for(2)
    envs.step(actions[0])
    early = np.array([True, False, False, False])
    envs.reset(options={"reset_mask": early})
    _, _, _, truncated, _ = envs.step(actions[1])
    np.testing.assert_array_equal(truncated, ~early)
    with pytest.raises(EnvError, match=r"\[1, 2, 3\]"):
        envs.step(actions[1])
    _, infos = envs.reset(options={"reset_mask": ~early})
    np.testing.assert_array_equal(infos["_prompt"], ~early)
    assert envs.step(actions[1])[3].tolist() == [True, False, False, False]


def test_a_masked_reset_leaves_the_other_streams_as_they_are(envs):
    actions = actions_for(3)
    envs.reset(seed=0)
    for batch in actions[:1]:
        envs.step(batch)
    kept = envs.snapshot()
    expected, *_ = envs.step(actions[1])
    envs.restore(kept)
    envs.reset(seed=50, options={"reset_mask": np.array([True, False, False, False]), "prompt": "foggy night"})
    frames, *_, infos = envs.step(actions[1])
    np.testing.assert_array_equal(frames[1:], expected[1:])
    assert (frames[0] != expected[0]).any()
    assert infos["prompt"].tolist() == ["foggy night", "", "", ""]


@pytest.mark.parametrize(
    "mask", [np.zeros(N, bool), np.ones(N), np.ones(N + 1, bool), [True] * N], ids=["none", "float", "long", "list"]
)
def test_a_bad_reset_mask_is_refused(envs, mask):
    envs.reset(seed=0)
    with pytest.raises(EnvError, match="mask"):
        envs.reset(options={"reset_mask": mask})


def test_streams_can_be_restored_and_one_moment_branched_into_all(envs):
    envs.reset(seed=0)
    envs.step(actions_for(1)[0])
    one = envs.snapshot([2])
    envs.restore(one * N)
    same = np.repeat(actions_for(1)[0][:1], N, axis=0)
    frames, *_ = envs.step(same)
    assert (frames == frames[0]).all()
    frames, *_ = envs.step(actions_for(1)[0])
    assert (frames[1] != frames[0]).any()


def test_snapshots_of_every_stream_begin_a_fresh_batch_without_a_reset(envs, model):
    envs.reset(seed=0)
    envs.step(actions_for(1)[0])
    other = WorldModelVectorEnv(N, model, sampler_steps=2)
    with pytest.raises(EnvError, match="every stream"):
        other.restore(envs.snapshot([0]), [0])
    other.restore(envs.snapshot())
    np.testing.assert_array_equal(other.step(actions_for(1)[0])[0], envs.step(actions_for(1)[0])[0])


def test_a_snapshot_moves_between_a_single_env_and_a_batch(envs, model):
    alone = WorldModelEnv(model, sampler_steps=2, threads=None)
    alone.reset(seed=0)
    alone.step(np.zeros(2, np.float32))
    envs.reset(seed=5)
    envs.restore([alone.snapshot()], [1])
    action = actions_for(1)[0]
    expected, *_ = alone.step(action[1])
    frames, *_ = envs.step(action)
    assert np.abs(frames[1].astype(int) - expected.astype(int)).mean() <= 1


def test_each_stream_may_have_its_own_prompt_and_start(envs, model):
    prompts = ["foggy night", None, "clear day", None]
    starts = [None, model.starts[0].frames[-1], None, None]
    obs, infos = envs.reset(seed=0, options={"prompt": prompts, "start": starts})
    assert infos["prompt"].tolist() == ["foggy night", "", "clear day", ""]
    np.testing.assert_array_equal(obs[1], model.starts[0].frames[-1])


def test_each_stream_may_have_its_own_variation(tmp_path):
    spec = make_spec(factor_names=("gravity",), factor_low=(0.0,), factor_high=(10.0,))
    envs = WorldModelVectorEnv(2, str(write_checkpoint(tmp_path / "m", spec)))
    one, other = {"gravity": 3.0}, {"gravity": 9.0}

    def frames_after(variation):
        envs.reset(seed=0, options={"variation": variation})
        return envs.step(actions_for(1, 2)[0])[0]

    mixed = frames_after([one, other])
    np.testing.assert_array_equal(mixed[0], frames_after(one)[0])
    np.testing.assert_array_equal(mixed[1], frames_after(other)[1])
    assert (frames_after([one, None])[1] != mixed[1]).any()


@pytest.mark.parametrize("rows", [[0, -1], [0, -3, 2, 3], [-1, 0, 1, 2]], ids=str)
def test_negative_indices_count_the_streams_from_the_end(envs, rows):
    actions = actions_for(2)
    envs.reset(seed=0)
    envs.step(actions[0])
    kept, chosen = envs.snapshot(), envs.snapshot(rows)
    np.testing.assert_array_equal([moment.frame for moment in chosen], [kept[i].frame for i in rows])
    expected = envs.step(actions[1])[0]
    envs.restore(kept)
    envs.restore(chosen, rows)
    np.testing.assert_array_equal(envs.step(actions[1])[0], expected)


@pytest.mark.parametrize("rows", [[0, 1, 2, N], [0, 1, 2, -N - 1], [0, 1, 2, -2], [0, 1, 2, 2], [0.0]], ids=str)
def test_streams_that_are_not_there_or_named_twice_are_refused_and_nothing_changes(envs, rows):
    actions = actions_for(2)
    envs.reset(seed=0)
    kept = envs.snapshot()
    envs.step(actions[0])
    now = envs.snapshot()
    expected = envs.step(actions[1])[0]
    envs.restore(now)
    with pytest.raises(EnvError, match="stream"):
        envs.restore(kept[: len(rows)], rows)
    with pytest.raises(EnvError, match="streams 0 to 3"):
        envs.snapshot([N])
    np.testing.assert_array_equal(envs.step(actions[1])[0], expected)


def test_a_prompt_in_mid_episode_reaches_the_masked_streams_only(envs):
    actions = actions_for(2)
    envs.reset(seed=0)
    now = envs.snapshot()
    expected = [envs.step(batch)[0] for batch in actions]
    envs.restore(now)
    mask = np.array([False, True, False, True])
    assert envs.set_prompt("rainy evening", mask) == []
    for batch, frames in zip(actions, expected, strict=True):
        changed = envs.step(batch)[0]
        np.testing.assert_array_equal(changed[~mask], frames[~mask])
    assert all((changed[i] != frames[i]).any() for i in np.flatnonzero(mask))


def test_a_bad_batch_of_actions_is_refused_but_ended_streams_are_not_read(envs, mortal_checkpoint):
    envs.reset(seed=0)
    for bad in (actions_for(1, N + 1)[0], actions_for(1)[0] * np.nan, actions_for(1)[0][:, :1], None):
        with pytest.raises(ActionError):
            envs.step(bad)
    mortal = WorldModelVectorEnv(N, mortal_checkpoint)
    mortal.reset(seed=0)
    mortal.step(actions_for(1)[0])
    mortal.step(np.full((N, 2), np.nan, np.float32))


def test_using_it_out_of_order_is_refused(envs):
    with pytest.raises(EnvError, match="reset"):
        envs.step(actions_for(1)[0])
    with pytest.raises(EnvError, match="every stream"):
        envs.reset(options={"reset_mask": np.array([True, False, False, False])})
    with pytest.raises(EnvError, match="seed"):
        envs.reset(seed=[1, 2])
    with pytest.raises(EnvError, match="list of 4"):
        envs.reset(options={"prompt": ["foggy night"]})


def test_discrete_actions_are_batched_too(tmp_path):
    spec = make_spec(
        action_kind="discrete", action_shape=(), action_low=(), action_high=(), action_counts=(3,), action_spec=()
    )
    envs = gym.make_vec("worldsim/Dream-v0", num_envs=2, model=str(write_checkpoint(tmp_path / "m", spec)))
    envs.reset(seed=0)
    obs, *_ = envs.step(np.array([0, 2]))
    assert obs in envs.observation_space
    with pytest.raises(ActionError):
        envs.step(np.array([0, 3]))


def test_render_shows_every_stream(envs):
    obs, _ = envs.reset(seed=0)
    np.testing.assert_array_equal(np.stack(envs.render()), obs)


def test_make_vec_passes_a_step_limit(checkpoint):
    envs = gym.make_vec("worldsim/Dream-v0", num_envs=2, model=checkpoint, max_episode_steps=2)
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
    assert envs.step(envs.action_space.sample())[3].all()
