"""The truth steps beside the dream, and never touches it."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from tiny_models import SIZE, make_spec, write_checkpoint

from worldsim.errors import ActionError, CheckpointError, EnvError, PromptError
from worldsim.sim import PairedEnv, WorldModelEnv
from worldsim.testing import check_world_model_env

WARM_UP = 5
SEED = 200_003


@pytest.fixture(scope="module")
def pair(model):
    env = PairedEnv(model, render_mode="rgb_array", warm_up=WARM_UP, horizon=8)
    yield env
    env.close()


@pytest.fixture(scope="module")
def truth(model):
    env = gym.make(model.spec.env_id, **model.spec.env_kwargs)
    yield env
    env.close()


def warmed(truth):
    """Drive the truth as the pair does; return its frames and actions."""
    policy = truth.unwrapped.policies["mixture"](SEED)
    obs, info = truth.reset(seed=SEED)
    frames, actions = [obs], []
    for _ in range(WARM_UP):
        actions.append(policy(obs, info))
        obs, *_, info = truth.step(actions[-1])
        frames.append(obs)
    return np.stack(frames), np.stack(actions)


def test_both_worlds_go_on_from_the_same_moment_under_the_same_actions(pair, truth, model):
    frames, actions = warmed(truth)
    obs, info = pair.reset(seed=SEED)
    np.testing.assert_array_equal(obs, frames[-1])
    assert info["truth_ended"] is False
    dream = WorldModelEnv(model)
    dream.reset(seed=0, options={"start": {"frames": frames, "actions": actions}})
    for t in range(4):
        action = np.array([0.1 * t, 0.5], np.float32)
        obs, reward, *_, info = pair.step(action)
        true_obs, true_reward, *_ = truth.step(action)
        np.testing.assert_array_equal(info["truth"]["obs"], true_obs)
        assert info["truth"]["reward"] == true_reward
        expected = np.mean((obs.astype(float) - true_obs) ** 2)
        assert info["divergence"]["mse"] == pytest.approx(expected)
        assert info["divergence"]["psnr"] == pytest.approx(10 * np.log10(255**2 / expected))
        assert info["divergence"]["mse_copy_last"] == pytest.approx(np.mean((frames[-1].astype(float) - true_obs) ** 2))
        assert info["divergence"]["reward"] == pytest.approx(reward - true_reward)
        np.testing.assert_array_equal(pair.render(), np.concatenate([true_obs, obs], axis=1))


def test_the_dream_is_what_it_is_without_the_truth(pair, model):
    pair.reset(seed=SEED)
    alone = WorldModelEnv(model)
    alone.restore(pair.dream.snapshot())
    for _ in range(3):
        action = pair.action_space.sample()
        np.testing.assert_array_equal(pair.step(action)[0], alone.step(action)[0])


def test_a_snapshot_of_both_worlds_goes_on_bit_for_bit(pair):
    pair.reset(seed=SEED)
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 2)).astype(np.float32)
    pair.step(actions[0])
    kept = pair.snapshot()
    first = [pair.step(action) for action in actions[1:]]
    pair.restore(kept)
    for (obs, *_, info), (again, *_, info_again) in zip(first, map(pair.step, actions[1:]), strict=True):
        np.testing.assert_array_equal(again, obs)
        np.testing.assert_array_equal(info_again["truth"]["obs"], info["truth"]["obs"])
        assert info_again["divergence"] == info["divergence"]


def test_an_id_takes_its_truth_beside_it_and_keeps_every_promise(checkpoint):
    env = gym.make("worldsim/CityDream-v0", model=checkpoint, shadow_env=True, render_mode="rgb_array", warm_up=WARM_UP)
    assert isinstance(env.unwrapped, PairedEnv)
    check_world_model_env(env, num_steps=4)
    env.reset(seed=SEED)
    *_, info = env.step(env.action_space.sample())
    assert info["divergence"]["mse"] > 0
    assert info["start"] == f"step {WARM_UP} of the truth"
    assert env.render().shape == (SIZE, 2 * SIZE, 3)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.warm_up == WARM_UP
    for one in (env, again):
        one.close()


def test_another_truth_may_stand_beside_and_none_does_unless_asked(checkpoint):
    lane = gym.make(
        "worldsim/Dream-v0", model=checkpoint, shadow_env="worldsim/CityLaneFollow-v0", warm_up=WARM_UP, horizon=4
    )
    assert lane.unwrapped.truth.spec.id == "worldsim/CityLaneFollow-v0"
    copied = pickle.loads(pickle.dumps(lane.unwrapped))
    assert (copied.truth.spec.id, copied.dream.horizon) == ("worldsim/CityLaneFollow-v0", 4)
    for env in (lane, copied):
        env.close()
    assert isinstance(gym.make("worldsim/CityDream-v0", model=checkpoint).unwrapped, WorldModelEnv)
    with pytest.raises(CheckpointError, match=r"Lab-v0 was asked for"):
        gym.make("worldsim/LabDream-v0", model=checkpoint, shadow_env=True)
    with pytest.raises(EnvError, match="cannot make"):
        gym.make("worldsim/CityDream-v0", model=checkpoint, shadow_env="worldsim/Nowhere-v0")


def test_a_truth_that_is_taken_back_ends_when_it_did(model):
    pair = PairedEnv(model, warm_up=WARM_UP, env_kwargs={**model.spec.env_kwargs, "max_episode_steps": WARM_UP + 3})
    pair.reset(seed=SEED)
    action = np.zeros(2, np.float32)
    ended = [pair.step(action)[4]["truth_ended"] for _ in range(4)]
    assert ended == [False, False, True, True]
    shown = pair.rewind(3)
    np.testing.assert_array_equal(shown, pair.dream.snapshot().frame)
    assert [pair.step(action)[4]["truth_ended"] for _ in range(3)] == ended[1:]
    pair.close()


def test_a_prompt_reaches_both_worlds(pair):
    pair.reset(seed=SEED, options={"variation": {"weather": "clear", "change": "none"}})
    assert pair.set_prompt("rain") == []
    for _ in range(2):
        *_, info = pair.step(np.zeros(2, np.float32))
    assert info["prompt"] == "rain"
    assert pair.truth.unwrapped.snapshot().state.weather == "rain"


def test_a_prompt_that_only_the_dream_understands_changes_the_dream_and_is_rewound_over(pair):
    action = np.zeros(2, np.float32)
    pair.reset(seed=SEED)
    with pytest.raises(PromptError):
        pair.truth.unwrapped.set_prompt("traffic")
    pair.set_prompt("rain")
    assert pair.set_prompt("traffic") == []
    obs, *_, info = pair.step(action)
    assert info["prompt"] == "traffic"
    pair.rewind(1)
    again, *_, info_again = pair.step(action)
    np.testing.assert_array_equal(again, obs)
    np.testing.assert_array_equal(info_again["truth"]["obs"], info["truth"]["obs"])


def test_a_prompt_that_is_refused_leaves_both_worlds_as_they_were(pair):
    action = np.zeros(2, np.float32)
    pair.reset(seed=SEED)
    kept = pair.snapshot()
    obs, *_, info = pair.step(action)
    for refused in (
        lambda: pair.set_prompt("noon"),  # which the truth knows
        lambda: pair.reset(seed=SEED + 5, options={"prompt": "noon"}),
    ):
        pair.restore(kept)
        with pytest.raises(PromptError):
            refused()
        again, *_, info_again = pair.step(action)
        np.testing.assert_array_equal(again, obs)
        np.testing.assert_array_equal(info_again["truth"]["obs"], info["truth"]["obs"])
        assert info_again["divergence"] == info["divergence"]


def test_the_dream_goes_on_after_the_truth_has_ended(tmp_path):
    env_id = "test/ShortWorld-v0"
    gym.register(env_id, entry_point=ShortWorld)
    try:
        spec = make_spec(env_id=env_id, env_kwargs={})
        pair = PairedEnv(str(write_checkpoint(tmp_path / "m", spec)), warm_up=3)
        pair.reset(seed=0)
        ended = []
        for _ in range(4):
            *_, info = pair.step(np.zeros(2, np.float32))
            ended.append((info["truth_ended"], "divergence" in info))
        assert ended == [(False, True), (True, True), (True, False), (True, False)]
        with pytest.raises(EnvError, match="no snapshot"):
            pair.snapshot()
        with pytest.raises(EnvError, match="ended within 9 steps"):
            PairedEnv(str(tmp_path / "m"), warm_up=9).reset(seed=0)
    finally:
        gym.registry.pop(env_id)


class ShortWorld(gym.Env):
    """Noise that ends after five steps."""

    observation_space = gym.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.t += 1
        return self.observation_space.sample(), 0.0, self.t == 5, False, {}


class OtherWorld(ShortWorld):
    """Other actions."""

    action_space = gym.spaces.Discrete(3)


def test_what_does_not_fit_is_refused(model):
    with pytest.raises(EnvError, match="at least 3"):
        PairedEnv(model, warm_up=1)
    with pytest.raises(EnvError, match="mixture"):
        PairedEnv(model, policy="flying")
    gym.register("test/OtherWorld-v0", entry_point=OtherWorld)
    with pytest.raises(EnvError, match="acts in"):
        PairedEnv(model, "test/OtherWorld-v0", env_kwargs={})
    gym.registry.pop("test/OtherWorld-v0")
    pair = PairedEnv(model)
    with pytest.raises(EnvError, match="reset"):
        pair.step(np.zeros(2, np.float32))
    with pytest.raises(EnvError, match="its snapshot"):
        pair.restore(pair.dream)
    pair.reset(seed=SEED)
    with pytest.raises(ActionError):
        pair.step(np.full(2, np.nan, np.float32))
    pair.close()
