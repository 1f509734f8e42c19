"""One imagined stream is a Gymnasium env, and its state is a value."""

import pickle
import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_match import check_environments_match
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3
from tiny_models import SIZE, make_spec, write_checkpoint

from worldsim.errors import ActionError, CheckpointError, EnvError, PromptError
from worldsim.model import load
from worldsim.sim import WorldModelEnv, WorldModelVectorEnv


@pytest.fixture
def env(model):
    return WorldModelEnv(model, render_mode="rgb_array", sampler_steps=2)


def drive(env, num, seed=7):
    """Step with seeded random actions; return the frames (num, H, W, 3) and rewards."""
    space = env.action_space
    space.seed(seed)
    results = [env.step(space.sample()) for _ in range(num)]
    return np.stack([obs for obs, *_ in results]), [reward for _, reward, *_ in results]


def test_gymnasium_and_stable_baselines_accept_it(checkpoint):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for_gymnasium = gym.make("worldsim/Dream-v0", model=checkpoint, render_mode="rgb_array")
        check_env(for_gymnasium.unwrapped)
        check_env_for_sb3(gym.make("worldsim/Dream-v0", model=checkpoint))


@pytest.mark.parametrize(
    "fields",
    [
        {"action_kind": "discrete", "action_counts": (5,), "action_start": 1},
        {"action_kind": "multidiscrete", "action_shape": (2,), "action_counts": (3, 4)},
        {"height": 32, "width": 40},
    ],
)
def test_every_kind_of_action_and_frame_is_accepted(fields, tmp_path):
    blank = (
        {"action_shape": (), "action_low": (), "action_high": (), "action_spec": ()} if "action_kind" in fields else {}
    )
    spec = make_spec(**{**blank, **fields})
    path = write_checkpoint(tmp_path / "model", spec)
    env = gym.make("worldsim/Dream-v0", model=str(path), render_mode="rgb_array")
    assert (env.observation_space, env.action_space) == spec.spaces()
    check_env(env.unwrapped)
    with pytest.raises(ActionError):
        env.unwrapped.step(np.array([0.5, 9.0]))


def test_its_spaces_are_those_of_the_truth(checkpoint):
    truth = gym.make("worldsim/City-v0", height=SIZE, width=SIZE)
    dream = gym.make("worldsim/Dream-v0", model=checkpoint, env_id="worldsim/City-v0")
    assert truth.observation_space == dream.observation_space
    assert truth.action_space == dream.action_space
    truth.close()


def test_its_spec_is_json_and_makes_an_equal_env(checkpoint):
    one = gym.make("worldsim/Dream-v0", model=checkpoint)
    two = gym.make(gym.envs.registration.EnvSpec.from_json(one.spec.to_json()))
    check_environments_match(one.unwrapped, two.unwrapped, num_steps=10, info_comparison="equivalence")


def test_a_pickled_env_is_an_equal_env(checkpoint):
    one = WorldModelEnv(checkpoint, horizon=9)
    two = pickle.loads(pickle.dumps(one))
    assert two.horizon == 9
    one.reset(seed=3), two.reset(seed=3)
    np.testing.assert_array_equal(drive(one, 3)[0], drive(two, 3)[0])


def test_two_spawned_processes_imagine_what_one_env_does(checkpoint):
    kwargs = {"model": checkpoint}
    envs = gym.make_vec(
        "worldsim/Dream-v0", num_envs=2, vectorization_mode="async", vector_kwargs={"context": "spawn"}, **kwargs
    )
    alone = gym.make("worldsim/Dream-v0", **kwargs)
    obs, _ = envs.reset(seed=5)
    np.testing.assert_array_equal(obs[1], alone.reset(seed=6)[0])
    action = np.array([0.5, -0.5], np.float32)
    obs, reward, *_ = envs.step(np.stack([action, action]))
    expected, expected_reward, *_ = alone.step(action)
    np.testing.assert_array_equal(obs[1], expected)
    assert reward[1] == expected_reward
    envs.close()


def test_the_same_seed_and_actions_give_the_same_bits(env):
    env.reset(seed=1)
    first = drive(env, 5)
    env.reset(seed=1)
    second = drive(env, 5)
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]


def test_another_action_gives_another_frame(env):
    env.reset(seed=1)
    now = env.snapshot()
    left, *_ = env.step(np.array([-1, 0], np.float32))
    env.restore(now)
    right, *_ = env.step(np.array([1, 0], np.float32))
    assert (left != right).any()


def test_seeds_draw_different_starts_of_the_checkpoint(env, model):
    drawn = {env.reset(seed=seed)[0].tobytes() for seed in range(12)}
    assert len(drawn) > 1
    assert drawn <= {start.frames[-1].tobytes() for start in model.starts}


def test_a_restored_snapshot_goes_on_bit_for_bit_even_in_another_process_image(env, model):
    env.reset(seed=2)
    drive(env, 2)
    kept = pickle.dumps(env.snapshot())
    expected, rewards = drive(env, 6)
    env.restore(pickle.loads(kept))
    again = drive(env, 6)
    np.testing.assert_array_equal(again[0], expected)
    assert again[1] == rewards

    other = WorldModelEnv(model, sampler_steps=2)
    obs, _ = other.reset(options={"snapshot": pickle.loads(kept)})
    np.testing.assert_array_equal(obs, pickle.loads(kept).frame)
    np.testing.assert_array_equal(drive(other, 6)[0], expected)


def test_branches_agree_until_their_actions_differ(env):
    env.reset(seed=4)
    drive(env, 1)
    one, two = env.branch(2)
    same = np.zeros(2, np.float32)
    np.testing.assert_array_equal(one.step(same)[0], two.step(same)[0])
    left, right = one.step(np.array([-1, 0], np.float32))[0], two.step(np.array([1, 0], np.float32))[0]
    assert (left != right).any()


def test_a_branch_does_not_move_the_env_it_came_from(env):
    env.reset(seed=4)
    (branch,) = env.branch(1)
    expected = drive(branch, 3)[0]
    np.testing.assert_array_equal(drive(env, 3)[0], expected)


def test_the_horizon_truncates_and_does_not_terminate(checkpoint):
    env = WorldModelEnv(checkpoint, horizon=3)
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_the_default_horizon_is_that_of_the_truth(model):
    assert WorldModelEnv(model).horizon == model.spec.max_steps == 50


def test_the_termination_head_terminates_and_does_not_truncate(mortal_checkpoint):
    env = WorldModelEnv(mortal_checkpoint)
    env.reset(seed=0)
    _, _, terminated, truncated, info = env.step(env.action_space.sample())
    assert (terminated, truncated) == (True, False)
    assert info["terminate_prob"] > 0.5


def test_calibration_changes_the_chance_of_an_end_and_not_whether_it_ends(mortal_checkpoint):
    model = replace(load(mortal_checkpoint), terminate_scale=0.01, terminate_bias=-2.0)
    env = WorldModelEnv(model)
    env.reset(seed=0)
    _, _, terminated, _, info = env.step(env.action_space.sample())
    assert terminated
    assert model.terminate_threshold == pytest.approx(0.1192, abs=1e-4)
    assert model.terminate_threshold < info["terminate_prob"] < 0.5


def test_a_step_before_a_reset_or_after_the_end_says_so(mortal_checkpoint):
    env = WorldModelEnv(mortal_checkpoint)
    with pytest.raises(EnvError, match="reset"):
        env.step(env.action_space.sample())
    env.reset(seed=0)
    env.step(env.action_space.sample())
    with pytest.raises(EnvError, match="ended"):
        env.step(env.action_space.sample())


@pytest.mark.parametrize(
    "action", [[np.nan, 0.0], [1.001, 0.0], [0.0], [[0.0, 0.0]], "left", None, [0.0, np.inf]], ids=str
)
def test_a_bad_action_is_an_action_error_and_changes_nothing(env, action):
    env.reset(seed=0)
    before = env.snapshot()
    with pytest.raises(ActionError):
        env.step(action)
    assert env.snapshot() is before


def test_info_says_what_was_imagined_from_what(env):
    _, info = env.reset(seed=0)
    assert info["source"] == "imagined"
    assert info["prompt"] == ""
    assert info["start"].startswith("start ")
    *_, info = env.step(env.action_space.sample())
    assert 0 <= info["terminate_prob"] <= 1


def test_a_prompt_alone_starts_at_the_nearest_caption(env, model):
    for prompt, caption in (("foggy night", "a foggy night"), ("雨天", "a rainy evening")):
        obs, info = env.reset(seed=0, options={"prompt": prompt})
        (start,) = [start for start in model.starts if start.caption.en == caption]
        np.testing.assert_array_equal(obs, start.frames[-1])
        assert info["prompt"] == prompt


def test_without_a_prompt_a_start_of_the_model_goes_on_as_its_caption_says(env, model):
    for seed in range(3):
        _, info = env.reset(seed=seed)
        start = model.starts[int(info["start"].split()[1])]
        asked = model.encode(start.frames[None], start.actions[None], prompts=[start.caption.en], seeds=[0])
        np.testing.assert_array_equal(env.snapshot().state.text, asked.text)
        assert np.asarray(asked.text).any()


def test_a_prompt_changes_what_is_imagined(env):
    env.reset(seed=0, options={"prompt": "foggy night"})
    now = env.snapshot()
    expected = drive(env, 2)[0]
    env.restore(now)
    env.set_prompt("clear day")
    assert (drive(env, 2)[0] != expected).any()
    assert env.step(env.action_space.sample())[4]["prompt"] == "clear day"


def test_unknown_words_are_listed_with_one_warning(env):
    with pytest.warns(UserWarning, match="dragons") as caught:
        _, info = env.reset(seed=0, options={"prompt": "rainy evening with dragons"})
    assert len(caught) == 1
    assert info["prompt_unknown"] == ["dragons"]
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="unicorn"):
        assert env.set_prompt("foggy unicorn") == ["unicorn"]


@pytest.mark.parametrize("prompt", ["dragons", "", 5, "x" * 10_000])
def test_a_prompt_without_a_known_word_is_a_prompt_error(env, prompt):
    with pytest.raises(PromptError):
        env.reset(seed=0, options={"prompt": prompt})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variation": {"weather": "rain"}}, "prompt"),
        ({"scenario": "tower"}, "prompt"),
        ({"weather": "rain"}, "knows the options"),
        ({"snapshot": "yesterday"}, "snapshot"),
    ],
)
def test_options_that_mean_nothing_here_are_refused(env, options, message):
    with pytest.raises(EnvError, match=message):
        env.reset(seed=0, options=options)


def test_options_do_not_change_the_episodes_after_them(env):
    env.reset(seed=8)
    expected, _ = env.reset()
    env.reset(seed=8, options={"prompt": "foggy night"})
    obs, _ = env.reset()
    np.testing.assert_array_equal(obs, expected)


def test_a_snapshot_of_another_model_is_refused(env, mortal_checkpoint):
    other = WorldModelEnv(mortal_checkpoint)
    other.reset(seed=0)
    with pytest.raises(EnvError, match="was imagined by the model"):
        env.restore(other.snapshot())


def test_a_checkpoint_of_another_world_is_refused(tmp_path):
    path = write_checkpoint(tmp_path / "pole", make_spec(env_id="CartPole-v1"))
    with pytest.raises(CheckpointError, match=r"CartPole-v1.*Dream-v0"):
        gym.make("worldsim/CityDream-v0", model=str(path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler_steps": 0}, "sampler_steps must be at least 1"),
        ({"guidance": 11.0}, "guidance must be 0 to 10"),
        ({"guidance": float("nan")}, "guidance must be 0 to 10"),
        ({"threads": 0}, "threads is a number"),
        ({"horizon": 0}, "horizon is a number"),
        ({"render_mode": "human"}, "render_mode"),
        ({"device": "tpu"}, "device"),
    ],
    ids=str,
)
def test_arguments_out_of_their_range_are_refused_before_the_first_step(checkpoint, arguments, message):
    with pytest.raises(EnvError, match=message):
        WorldModelEnv(checkpoint, **arguments)
    with pytest.raises(EnvError, match=message):
        WorldModelVectorEnv(2, checkpoint, **arguments)


def test_render_shows_the_present_frame_and_close_can_be_repeated(env):
    obs, _ = env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), obs)
    obs, *_ = env.step(env.action_space.sample())
    np.testing.assert_array_equal(env.render(), obs)
    assert env.metadata["render_fps"] == 10
    env.close()
    env.close()


def test_what_a_caller_does_to_a_frame_stays_with_the_caller(env):
    obs, _ = env.reset(seed=0)
    expected = drive(env, 2)[0]
    obs, _ = env.reset(seed=0)
    obs[:] = 0
    env.render()[:] = 0
    np.testing.assert_array_equal(drive(env, 2)[0], expected)
