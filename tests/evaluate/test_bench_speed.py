"""The speed benchmark times what it says it times, in the form that is relied upon."""

import json

import pytest

from worldsim.cli import run
from worldsim.evaluate import bench
from worldsim.evaluate.bench import SpeedBudget, bench_speed

BUDGET = SpeedBudget(num_streams=(1, 3), sampler_steps=(1, 2), num_turns=2, turn_s=0.001)


def test_every_row_is_timed_beside_the_truth(model):
    turns = []
    result = bench_speed(model, budget=BUDGET, progress=lambda *turn: turns.append(turn))
    found = {(row["what"], row["n"], row["sampler_steps"]): row for row in result["rows"]}
    dreams = {(what, n, k) for what in ("env.step", "model.step") for n in (1, 3) for k in (1, 2)}
    assert set(found) == {("truth", 1, None), *dreams}
    truth = found["truth", 1, None]["frames_per_second"]
    for row in result["rows"]:
        assert set(row) == {"what", "n", "sampler_steps", "decode", "frames_per_second", "vs", "ratio"}
        assert row["vs"] == "truth"
        assert row["ratio"] == pytest.approx(row["frames_per_second"] / truth)
    scaling = found["env.step", 3, 2]["frames_per_second"] / found["env.step", 1, 2]["frames_per_second"]
    assert result["scaling"]["2"] == pytest.approx(scaling)
    assert turns == [("turns", 1, 2), ("turns", 2, 2)]


def test_the_command_writes_it_as_json(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("worldsim.evaluate.bench.quick", lambda: BUDGET)
    assert bench.quick() is BUDGET
    assert run(["bench", "speed", "--model", checkpoint, "--quick", "--json", str(tmp_path / "speed.json")]) == 0
    result = json.loads((tmp_path / "speed.json").read_text())
    assert result["model"] == "tiny"
    assert len(result["rows"]) == 9
    assert "over the truth" in capsys.readouterr().out
    assert run(["bench", "speed", "--quick", "--full"]) == 2
    capsys.readouterr()
    assert run(["bench", "speed", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in ("Example: worldsim bench speed", "--seed", "--json"))
