"""A world of somebody else, from collecting to dreaming, by the commands of the guide."""

import re
from pathlib import Path

import gymnasium as gym
import pytest

from worldsim.cli import run

PAGE = (Path(__file__).parent.parent.parent / "docs" / "train-on-your-own-env.md").read_text(encoding="utf-8")
SMALLER = {
    "-n 200": "-n 2",
    "--workers 2": "--workers 1",
    "--max-steps 300": "--max-steps 40",
    "--preset base": "--preset tiny",
    "--minutes 60": "--steps 2",
    "-n 8": "-n 1",
    "--horizon 16": "--horizon 2",
}


def test_car_racing_is_collected_trained_compared_and_dreamt(tmp_path, monkeypatch, capsys):
    pytest.importorskip("Box2D")
    monkeypatch.chdir(tmp_path)
    (block,) = [b for b in re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL) if "CarRacing" in b]
    commands = [line[2:] for line in block.splitlines() if line.startswith("$ worldsim")]
    assert [command.split()[1] for command in commands] == ["collect", "train", "compare"]
    for command in commands:
        for large, small in SMALLER.items():
            command = command.replace(large, small)
        assert run(command.split()[1:]) == 0, capsys.readouterr().err
    env = gym.make("worldsim/Dream-v0", model="runs/cars")
    obs, _ = env.reset(seed=0)
    obs = env.step(env.action_space.sample())[0]
    assert obs.shape == (96, 96, 3)
    assert env.action_space == gym.make("CarRacing-v3").action_space
