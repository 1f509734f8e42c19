"""Libraries for agents take imagined streams as they are; tried with the libraries themselves."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
from pettingzoo.test import parallel_api_test, parallel_seed_test
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor
from tiny_models import make_spec, write_checkpoint

from worldsim.errors import ActionError, EnvError
from worldsim.sim import WorldModelVectorEnv
from worldsim.sim.pettingzoo import WorldModelParallelEnv
from worldsim.sim.sb3 import SB3VecEnv


def sb3_envs(model, num_envs=2, **kwargs):
    return SB3VecEnv(WorldModelVectorEnv(num_envs, model, autoreset_mode="SameStep", **kwargs))


def test_ppo_of_stable_baselines_trains_and_is_scored_on_imagined_streams(checkpoint):
    envs = VecMonitor(
        SB3VecEnv(gym.make_vec("worldsim/Dream-v0", 2, model=checkpoint, horizon=5, autoreset_mode="SameStep"))
    )
    agent = stable_baselines3.PPO("CnnPolicy", envs, n_steps=8, batch_size=8, n_epochs=1, seed=0)
    before = [p.clone() for p in agent.policy.parameters()]
    agent.learn(16)
    assert any((p != q).any() for p, q in zip(before, agent.policy.parameters(), strict=True))
    mean, _ = evaluate_policy(agent, envs, n_eval_episodes=2)
    assert np.isfinite(mean)


def test_an_ended_stream_of_stable_baselines_hands_over_its_last_frame_and_begins_anew(model):
    envs = sb3_envs(model, horizon=2, render_mode="rgb_array")
    envs.seed(3)
    obs = envs.reset()
    plain = WorldModelVectorEnv(2, model, horizon=2)
    np.testing.assert_array_equal(obs, plain.reset(seed=3)[0])
    actions = np.zeros((2, 2), np.float32)
    for step in range(2):
        obs, rewards, dones, infos = envs.step(actions)
        expected, *_ = plain.step(actions)
        assert dones.tolist() == [step == 1] * 2
    assert rewards.dtype == np.float32
    for i, info in enumerate(infos):
        np.testing.assert_array_equal(info["terminal_observation"], expected[i])
        assert info["TimeLimit.truncated"] is True
        assert info["source"] == envs.reset_infos[i]["source"] == "imagined"
    starts = {start.frames[-1].tobytes() for start in model.starts}
    assert all(frame.tobytes() in starts for frame in obs)
    np.testing.assert_array_equal(np.stack(envs.get_images()), obs)


def test_an_end_said_by_the_model_is_no_time_limit(mortal_checkpoint):
    envs = sb3_envs(mortal_checkpoint)
    envs.reset()
    *_, dones, infos = envs.step(np.zeros((2, 2), np.float32))
    assert dones.all()
    assert not any(info["TimeLimit.truncated"] for info in infos)


def test_options_of_stable_baselines_reach_their_stream(model):
    envs = sb3_envs(model)
    envs.set_options([{"prompt": "foggy night"}, {}])
    envs.reset()
    assert [info["prompt"] for info in envs.reset_infos] == ["foggy night", ""]
    assert envs.get_attr("horizon") == [50, 50]
    envs.set_attr("horizon", 1)
    assert envs.step(np.zeros((2, 2), np.float32))[2].all()
    with pytest.raises(EnvError, match=r"unwrapped\.snapshot"):
        envs.env_method("snapshot")
    with pytest.raises(EnvError, match="one batch"):
        envs.set_attr("horizon", 1, indices=[0])
    with pytest.raises(EnvError, match="SameStep"):
        SB3VecEnv(WorldModelVectorEnv(2, model))


def test_each_stream_gets_its_own_variation_through_the_libraries(tmp_path):
    spec = make_spec(factor_names=("gravity",), factor_low=(0.0,), factor_high=(10.0,))
    path = str(write_checkpoint(tmp_path / "m", spec))
    asked = [{"variation": {"gravity": 3.0}}, {"variation": {"gravity": 9.0}}]
    plain = WorldModelVectorEnv(2, path)
    plain.reset(seed=0, options={"variation": [one["variation"] for one in asked]})
    action = np.zeros(2, np.float32)
    expected = plain.step(np.stack([action] * 2))[0]
    parallel = WorldModelParallelEnv(2, path)
    parallel.reset(seed=0, options={"stream_0": asked[0], "stream_1": asked[1]})
    frames = parallel.step(dict.fromkeys(parallel.agents, action))[0]
    np.testing.assert_array_equal(np.stack(list(frames.values())), expected)
    envs = sb3_envs(path)
    envs.seed(0)
    envs.set_options(asked)
    envs.reset()
    np.testing.assert_array_equal(envs.step(np.stack([action] * 2))[0], expected)


def test_pettingzoo_accepts_the_parallel_view(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(WorldModelParallelEnv(2, model, horizon=4), num_cycles=10)
        parallel_seed_test(lambda: WorldModelParallelEnv(2, model, horizon=4), num_cycles=4)


def test_an_agent_lives_as_long_as_its_episode_and_gets_its_own_options(model):
    env = WorldModelParallelEnv(2, model, horizon=3, render_mode="rgb_array")
    with pytest.raises(EnvError, match="reset"):
        env.step({})
    obs, infos = env.reset(seed=1, options={"stream_1": {"prompt": "foggy night"}})
    assert {agent: info["prompt"] for agent, info in infos.items()} == {"stream_0": "", "stream_1": "foggy night"}
    np.testing.assert_array_equal(env.render(), np.concatenate([obs["stream_0"], obs["stream_1"]], axis=1))
    action = np.zeros(2, np.float32)
    with pytest.raises(EnvError, match="stream_1"):
        env.step({"stream_0": action})
    with pytest.raises(ActionError):
        env.step({"stream_0": action, "stream_1": action + 7})
    for _ in range(3):
        *_, truncated, infos = env.step(dict.fromkeys(env.agents, action))
    assert truncated == {"stream_0": True, "stream_1": True}
    assert "terminate_prob" in infos["stream_0"]
    assert env.agents == []
