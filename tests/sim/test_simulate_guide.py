"""The guide to imagined worlds runs as it is written, here with an untrained model of small frames."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text(encoding="utf-8")


def test_every_block_of_the_guide_runs(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))
    for written, small in (
        ('"city-64"', repr(checkpoint)),
        ('gym.make("worldsim/City-v0")', 'gym.make("worldsim/City-v0", height=36, width=36)'),
        ("rain at dusk", "rainy evening"),
    ):
        assert written in code
        code = code.replace(written, small)
    names = {}
    exec(compile(code, "simulate.md", "exec"), names)
    assert names["both"].shape == (36, 72, 3)
    assert len(names["rollouts"]) == 4
