"""The examples run as they are, here with an untrained model and a small budget."""

import importlib.util
from pathlib import Path

import gymnasium as gym
import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent


def example(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_dream_saves_a_strip(checkpoint, tmp_path):
    example("dream").main(checkpoint, tmp_path / "dream.png")
    assert Image.open(tmp_path / "dream.png").size == (7 * 36, 36)  # truncated after 50 steps


def test_branch_shows_eight_different_futures_of_one_moment(checkpoint, tmp_path):
    example("branch").main(checkpoint, tmp_path / "branches.png")
    picture = np.asarray(Image.open(tmp_path / "branches.png"))
    rows = picture.reshape(8, 36, 7 * 36, 3)
    assert (rows[:, :, :36] == rows[:1, :, :36]).all()
    assert len({row[:, -36:].tobytes() for row in rows}) == 8


def test_plan_scores_imagined_plans_in_the_truth(checkpoint, capsys):
    returns = example("plan").main(checkpoint, episodes=1, steps=2)
    assert set(returns) == {"planner", "no action", "lane_follower", "random"}
    assert all(len(scores) == 1 for scores in returns.values())
    assert "mean true return" in capsys.readouterr().out


def test_ppo_learns_from_imagined_streams_and_is_scored_in_the_truth(checkpoint, monkeypatch):
    ppo = example("ppo")
    monkeypatch.setattr(ppo, "NUM_STEPS", 4)
    before, after = ppo.main(checkpoint, updates=1, true_episodes=1)
    assert before != after


def test_train_own_env_goes_from_an_env_to_a_model_of_it(tmp_path, capsys):
    try:
        example("train_own_env").main(episodes=6, steps=3, folder=tmp_path)
    finally:
        gym.registry.pop("examples/PushedBall-v0")
    out = capsys.readouterr().out
    assert "collected 606 frames" in out
    assert "dream on" in out
