"""The speed benchmark times what it says it times, in the form that is relied upon."""

import json

import pytest

from worldsim._register import TRUTHS
from worldsim.cli import run
from worldsim.errors import EnvError
from worldsim.evaluate import bench
from worldsim.evaluate.bench import SpeedBudget, bench_speed, world_speed

BUDGET = SpeedBudget(num_streams=(1, 3), sampler_steps=(1, 2), num_turns=2, turn_s=0.001, num_scenes=1)


def test_every_row_is_timed_beside_the_truth(model):
    turns = []
    result = bench_speed(model, budget=BUDGET, progress=lambda *turn: turns.append(turn))
    found = {(row["what"], row["n"], row["sampler_steps"]): row for row in result["rows"] if row["decode"]}
    dreams = {(what, n, k) for what in ("env.step", "model.step") for n in (1, 3) for k in (1, 2)}
    assert set(found) == {("truth", 1, None), *dreams}
    undecoded = [(row["what"], row["n"], row["sampler_steps"]) for row in result["rows"] if not row["decode"]]
    assert undecoded == [("model.step", n, k) for n in (1, 3) for k in (1, 2)]
    truth = found["truth", 1, None]["frames_per_second"]
    for row in result["rows"]:
        assert set(row) == {"what", "n", "sampler_steps", "decode", "frames_per_second", "vs", "ratio"}
        assert row["vs"] == "truth"
        assert row["ratio"] == pytest.approx(row["frames_per_second"] / truth)
    scaling = found["env.step", 3, 2]["frames_per_second"] / found["env.step", 1, 2]["frames_per_second"]
    assert result["scaling"]["2"] == pytest.approx(scaling)
    assert turns == [("turns", 1, 2), ("turns", 2, 2)]


def test_a_true_world_is_timed_beside_the_camera_call_of_its_own_scenes(model):
    speed = world_speed("worldsim/Lab-v0", options={"scenario": "free_fall"}, num_scenes=3, num_frames=4)
    assert 0.05 < speed.ratio < 1 and speed.reset_s > 0
    assert speed.cameras_per_second > speed.steps_per_second > 20
    rows = bench_speed(model, budget=BUDGET, worlds=["worldsim/Lab-v0"])["rows"][-2:]
    assert [row["vs"] for row in rows] == ["camera worldsim/Lab-v0"] * 2
    assert rows[0]["ratio"] < rows[1]["ratio"] == 1.0
    with pytest.raises(EnvError, match="redraw"):
        world_speed("CartPole-v1")
    with pytest.raises(EnvError, match="cannot make"):
        world_speed("worldsim/Nowhere-v0")


def test_the_command_writes_it_as_json(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("worldsim.evaluate.bench.quick", lambda: BUDGET)
    assert bench.quick() is BUDGET
    assert run(["bench", "speed", "--model", checkpoint, "--quick", "--json", str(tmp_path / "speed.json")]) == 0
    result = json.loads((tmp_path / "speed.json").read_text())
    assert result["model"] == "tiny"
    assert sum(row["vs"] == "truth" for row in result["rows"]) == 13
    of_worlds = [row["what"] for row in result["rows"] if row["vs"] != "truth"]
    assert of_worlds == [f"{what} {env_id}" for env_id in TRUTHS for what in ("truth", "camera")]
    assert "frames per second" in capsys.readouterr().out
    assert run(["bench", "speed", "--quick", "--full"]) == 2
    capsys.readouterr()
    assert run(["bench", "speed", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in ("Example: worldsim bench speed", "--seed", "--json"))
