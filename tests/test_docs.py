"""The guide is run as it is written, with small budgets."""

import re
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from worldsim.cli import run

PAGE = (Path(__file__).parent.parent / "docs" / "train-on-your-own-env.md").read_text(encoding="utf-8")
SMALLER = {
    "-n 200": "-n 6",
    "--workers 2": "--workers 1",
    "--minutes 3": "--steps 3",
    "-n 8": "-n 2",
    "--horizon 16": "--horizon 3",
}


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    gym.registry.pop("PushedBall-v0", None)
    sys.modules.pop("my_envs", None)


def test_the_guide_works_from_the_env_to_the_dream(folder, capsys):
    module, use = blocks("python")
    (folder / "my_envs.py").write_text(module)
    commands = [line[2:] for line in blocks("console")[0].splitlines()]
    assert [command.split()[1] for command in commands] == ["collect", "inspect", "train", "compare"]
    for command in commands:
        for large, small in SMALLER.items():
            command = command.replace(large, small)
        code = run(command.split()[1:])
        assert code == 0 or (code == 1 and "inspect" in command), capsys.readouterr().err
    assert (folder / "report.html").exists()
    names = {}
    exec(compile(use, "train-on-your-own-env.md", "exec"), names)
    assert names["obs"].shape == (8, 32, 32, 3)
    assert names["env"].action_space == gym.make("PushedBall-v0").action_space
