"""The command line: every command explains itself, and what a user does wrong costs one clear line."""

import functools
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata

import gymnasium as gym
import numpy as np
import pytest
from tiny_models import SIZE, make_spec, write_checkpoint

from worldsim import __main__, evaluate
from worldsim._console import figure, write_json
from worldsim._register import DREAMS, HYBRIDS, TRUTHS
from worldsim.cli import run
from worldsim.errors import EnvError
from worldsim.model import bundled, bundled_renderers
from worldsim.rollout import Caption, Rollout
from worldsim.store import RolloutStore

NOISE = re.compile(r"[a-z ]+: \d+/\d+$|pybullet build time")
"""Lines of progress, and what pybullet says when it is loaded."""
_FIRST_FRAMES = ["train-first-frames", "{tmp}", "--model", "city-64", "-o", "{tmp}/run", "--steps", "1"]
COMMANDS = [
    "doctor",
    "demo",
    "envs",
    "models",
    "collect",
    "inspect",
    "verify",
    "train",
    "train-renderer",
    "train-first-frames",
    "compare",
    "play",
    "preview",
    "version",
]


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    rollouts = [
        Rollout(
            obs=rng.integers(0, 256, (41, SIZE, SIZE, 3), dtype=np.uint8),
            action=rng.uniform(-1, 1, (40, 2)).astype(np.float32),
            reward=np.zeros(40, np.float32),
            terminated=np.zeros(40, bool),
            truncated=np.arange(40) == 39,
            env_id="worldsim/City-v0",
            spec={"height": SIZE, "width": SIZE},
        )
        for _ in range(3)
    ]
    RolloutStore.create(tmp_path / "store").append(rollouts)
    return tmp_path / "store"


@pytest.fixture
def complaint(capfd):
    """Run a command line that must end with the user's error; return what standard error says."""

    def call(*arguments):
        assert run([str(argument) for argument in arguments]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert "Traceback" not in err
        lines = [line for line in err.splitlines() if not NOISE.match(line)]
        assert len(lines) <= 2
        assert lines[0].startswith("worldsim: ")
        return "\n".join(lines)

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example_a_seed_and_json(command, capsys):
    assert run([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"Example: worldsim {command}" in out
    assert "--seed" in out
    assert "--json" in out


def test_without_a_command_the_commands_are_listed(capsys):
    assert run([]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


def test_importing_the_command_line_loads_nothing_heavy():
    code = "import sys, worldsim.cli; print([m for m in ('torch', 'zarr', 'pybullet', 'trimesh') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [["--json"], ["--json", "-"], ["--json=-"], ["--json", "--seed", "3"]], ids=str)
def test_json_without_a_file_goes_to_standard_output_alone(arguments, capsys):
    assert run(["version", *arguments]) == 0
    out, err = capsys.readouterr()
    assert set(json.loads(out)) == {"worldsim"}
    assert "worldsim" in err


def test_json_with_a_file_leaves_the_text_on_standard_output(tmp_path, capsys):
    assert run(["version", "--json", str(tmp_path / "v.json")]) == 0
    assert capsys.readouterr().out.startswith("worldsim ")
    assert "worldsim" in json.loads((tmp_path / "v.json").read_text())


def test_json_has_no_numbers_that_json_does_not_know(tmp_path):
    write_json(str(tmp_path / "x.json"), {"a": [np.float32(1.5), float("nan")], "b": np.arange(2), "c": float("inf")})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [1.5, None], "b": [0, 1], "c": None}
    with pytest.raises(EnvError, match="cannot be written"):
        write_json(str(tmp_path / "no" / "x.json"), {})


def test_figures_are_short():
    assert [figure(value) for value in (0.12345, 31.46, None, float("nan"), 12_000, "x")] == [
        "0.123",
        "31.5",
        "-",
        "-",
        "12,000",
        "x",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "nothing"),
        (["collect"], "ENV"),
        (["collect", "CartPole-v1", "-o", "x", "-n", "many"], "episodes"),
        (["collect", "NoSuchEnv-v0", "-n", "1", "-o", "{tmp}/s"], "NoSuchEnv"),
        (["collect", "no_such_module:Env-v0", "-n", "1", "-o", "{tmp}/s"], "no_such_module"),
        (["collect", "worldsim/City-v0", "-n", "1", "-o", "{tmp}/s", "--env-kwargs", "{{height"], "JSON object"),
        (["collect", "worldsim/City-v0", "-n", "1", "-o", "{tmp}/s", "--env-kwargs", "[1]"], "JSON object"),
        (["collect", "worldsim/City-v0", "-n", "1", "-o", "{tmp}/s", "--variation", "rain"], "--variation must be"),
        (["collect", "worldsim/Lab-v0", "-n", "1", "-o", "{tmp}/s", "--variation", '{{"scenario": "x"}}'], "scenario"),
        (["collect", "CarRacing-v3", "-n", "1", "-o", "{tmp}/s", "--variation", '{{"road": 1}}'], "no factors to vary"),
        (["collect", "worldsim/City-v0", "-n", "1", "-o", "{tmp}/s", "--policy", "drunk"], "drunk"),
        (["collect", "worldsim/City-v0", "-n", "1", "-o", "{tmp}/s", "--seed", "-1"], "seed"),
        (["collect", "worldsim/City-v0", "-n", "1", "-o", "{tmp}/s", "--codec", "foo"], "zstd"),
        (["collect", "worldsim/City-v0", "-n", "1", "-o", "s3://bucket/x"], "an address"),
        (["import", "{tmp}/nowhere", "-o", "{tmp}/s"], "does not exist"),
        (["import", "{tmp}", "-o", "{tmp}/s"], "looks like none"),
        (["compare", "--seed", "-1"], "seed"),
        (["preview", "rain", "--seed", "-1"], "seed"),
        (["doctor", "--seed", "-1"], "seed"),
        (["bench", "physics", "--model", "lab-64", "--clips", "{tmp}", "--truth", "{tmp}/t"], "--truth"),
        (["bench", "physics", "--export", "{tmp}"], "exists already"),
        (["verify", "{tmp}"], "not a rollout store"),
        (["inspect", "{tmp}/nowhere"], "not a rollout store"),
        (["train", "--data", "{tmp}/nowhere", "-o", "{tmp}/run", "--steps", "1"], "not a rollout store"),
        (["train-renderer", "worldsim/City-v0", "-o", "{tmp}/run"], "--minutes 45"),
        (["train-renderer", "worldsim/Lab-v0", "-o", "{tmp}/run", "--steps", "1"], "obs_modes"),
        (["train-renderer", "worldsim/City-v0", "-o", "{tmp}/run", "--steps", "1", "--vary", "taste"], "taste"),
        (["train", "--data", "{tmp}", "-o", "{tmp}/run"], "--minutes"),
        (["train", "--data", "{tmp}", "-o", "{tmp}/run", "--steps", "1", "--set", "taste=1"], "own_frames_from"),
        (["train", "--data", "{tmp}", "-o", "{tmp}/run", "--steps", "1", "--set", "deep_share=2"], "from 0 to 1"),
        (["train", "--data", "{tmp}", "-o", "{tmp}/run", "--steps", "1", "--set", "length=1.5"], "a whole number"),
        (["train", "--data", "{tmp}", "-o", "{tmp}/run", "--steps", "1", "--set", "clip=nan"], "at least 0"),
        (["train", "--data", "{tmp}", "-o", "{tmp}/run", "--steps", "1", "--set", "warmup_steps=0"], "at least 1"),
        (["train", "--data", "{tmp}", "-o", "{tmp}/run", "--steps", "1", "--set", "length=2"], "at least 3"),
        ([*_FIRST_FRAMES, "--set", "taste=1"], "level_mean"),
        ([*_FIRST_FRAMES, "--set", "level_mean=low"], "must be a number; got 'low'"),
        ([*_FIRST_FRAMES, "--set", "text_drop_share=-1"], "from 0 to 1"),
        (["compare", "--model", "no-such-model"], "no-such-model"),
        (["compare", "--model", "no-such-model", "--device", "abacus"], "no-such-model"),
        (["doctor", "--device", "abacus"], "auto, cpu or cuda"),
        (["models", "--json", "/no/such/folder/x.json"], "cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_users_error_costs_one_or_two_lines_and_exit_code_2(arguments, message, complaint, tmp_path, capfd):
    if arguments[0] == "models":
        assert run(arguments) == 2
        assert message in capfd.readouterr().err
        return
    assert message in complaint(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert not (tmp_path / "s").exists(), "a command that cannot begin leaves nothing behind"


def test_brackets_are_text(tmp_path, capsys):
    path = tmp_path / "a [/1] store"
    rollout = Rollout(
        obs=np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8),
        action=np.zeros((4, 2), np.float32),
        reward=np.zeros(4, np.float32),
        terminated=np.zeros(4, bool),
        truncated=np.arange(4) == 3,
        caption=(Caption(t=0, en="pick [/INST] the [red] block", zh="拿起 [红] 块"),),
    )
    RolloutStore.create(path).append([rollout])
    assert run(["verify", str(path)]) == 0
    assert run(["inspect", str(path)]) < 2
    out = " ".join(capsys.readouterr().out.split())
    assert "[/INST]" in out and "[red]" in out and "a [/1] store" in out


def test_a_group_without_a_command_shows_its_help_and_no_empty_complaint(capsys):
    assert run(["bench"]) == 2
    out, err = capsys.readouterr()
    assert "physics" in out + err and "worldsim: \n" not in err


def test_a_store_cut_off_in_mid_file_is_one_line_and_verify_names_the_file(store, complaint, capfd):
    (shard,) = store.glob("segments/*/obs/c.*")
    shard.write_bytes(shard.read_bytes()[:-100])
    assert re.search(r"obs.*(cut off|bytes)", complaint("inspect", store))
    assert run(["verify", str(store), "--json"]) == 1
    out, err = capfd.readouterr()
    (fault,) = json.loads(out)["faults"]
    assert "obs" in fault
    assert "1 fault" in err


def test_a_whole_store_verifies_and_is_inspected(store, tmp_path, capsys):
    assert run(["verify", str(store)]) == 0
    assert "whole" in capsys.readouterr().out
    outputs = ["--sheet", str(tmp_path / "sheet.png"), "--json", str(tmp_path / "card.json")]
    assert run(["inspect", str(store), *outputs]) < 2
    assert "3 episodes" in capsys.readouterr().out
    assert (tmp_path / "sheet.png").exists()
    assert json.loads((tmp_path / "card.json").read_text())["episodes"] == 3


def test_inspect_exits_with_1_if_a_balance_fails(store, capsys):
    code = run(["inspect", str(store)])
    assert code == int("FAILS" in capsys.readouterr().out)


def test_collect_fills_a_store_and_a_second_call_adds_nothing(tmp_path, capsys):
    arguments = ["collect", "worldsim/City-v0", "-n", "2", "-o", str(tmp_path / "s"), "--max-steps", "5"]
    arguments += ["--env-kwargs", json.dumps({"height": SIZE, "width": SIZE}), "--json", "--variation"]
    arguments += [json.dumps({"weather": "rain"})]
    for _ in range(2):
        assert run(arguments) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["episodes"], facts["frames"], facts["height"]) == (2, 12, SIZE)
    assert {RolloutStore.open(tmp_path / "s").info(i).variation["weather"] for i in range(2)} == {"rain"}


def test_train_compare_and_resume_from_the_command_line(store, tmp_path, capsys):
    run_dir = str(tmp_path / "run")
    budget = ["--data", str(store), "--preset", "tiny", "-o", run_dir]
    assert run(["train", *budget, "--steps", "2", "--set", "critic_share=2", "--set", "deep_steps=3"]) == 0
    assert "compare" in capsys.readouterr().out
    training = json.loads((tmp_path / "run" / "checkpoint" / "config.json").read_text())["training"]
    assert (training["critic_share"], training["deep_steps"]) == (2.0, 3)
    assert run(["train", *budget, "--steps", "2"]) == 2, "a finished run is not overwritten"
    assert run(["train", *budget, "--steps", "3", "--resume"]) == 0
    capsys.readouterr()
    report = tmp_path / "report.html"
    assert run(["compare", "--model", run_dir, "-n", "2", "--horizon", "4", "-o", str(report), "--json"]) == 0
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert len(figures["skill"]) == figures["horizon"] == 4
    assert "copy-last" in err
    assert report.stat().st_size > 10_000


def test_demo_writes_three_things_and_says_what_the_model_cannot_do(checkpoint, tmp_path, monkeypatch, capsys):
    small = functools.partial(evaluate.demo, episodes=1, horizon=5)
    monkeypatch.setattr(evaluate, "demo", small)
    assert run(["demo", "--model", checkpoint, "-o", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    for name in ("report.html", "contact-sheet.png", "rollouts"):
        assert str(tmp_path / "out" / name) in out
        assert (tmp_path / "out" / name).exists()
    assert re.search(r"│ +4 │", out)
    assert "imagined frames per second" in out
    assert "What it cannot do: " in out


def test_a_checkpoint_of_another_size_is_one_line(tmp_path, complaint):
    small = write_checkpoint(tmp_path / "small", make_spec(env_kwargs={"height": 64, "width": 64}))
    message = complaint("compare", "--model", small, "-n", "1", "--horizon", "2", "--json", tmp_path / "x.json")
    assert f"{SIZE}" in message
    assert "64" in message
    assert "JSON object" in complaint("compare", "--model", small, "--env-kwargs", "[64]")
    kwargs = json.dumps({"height": SIZE, "width": SIZE})
    assert run(["compare", "--model", str(small), "-n", "1", "--horizon", "2", "--env-kwargs", kwargs]) == 0


def test_a_damaged_checkpoint_is_one_line(checkpoint, tmp_path, complaint):
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "damaged" in complaint("compare", "--model", broken)


def test_envs_lists_each_truth_beside_its_dream(capsys):
    assert run(["envs", "--json"]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    truth = gym.make("worldsim/City-v0")
    assert rows["worldsim/City-v0"]["observation"] == str(truth.observation_space)
    assert rows["worldsim/CityDream-v0"]["of"] == "worldsim/City-v0"
    truth.close()
    assert set(TRUTHS) | set(DREAMS) | set(HYBRIDS) | {"worldsim/Dream-v0"} == set(rows)
    assert (rows["worldsim/CityHybrid-v0"]["kind"], rows["worldsim/CityHybrid-v0"]["of"]) == (
        "hybrid",
        "worldsim/City-v0",
    )
    bench = rows["worldsim/Lab-v0"]
    assert bench["cameras"] == ["front", "side", "top"]
    assert bench["variation"]["gravity"]["train"] == [7.0, 12.0]
    assert "restitution" in bench["of_scenarios"]["free_fall"]
    assert "friction" in rows["worldsim/Tabletop-v0"]["of_scenarios"]["push"]
    assert set(rows["worldsim/TabletopReach-v0"]["of_scenarios"]) == {"reach"}
    assert run(["envs"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(f"{env_id} is seen from" in out for env_id in TRUTHS)


def test_models_lists_what_is_bundled(capsys):
    assert run(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows if row["kind"] == "world model"] == bundled()
    assert [row["name"] for row in rows if row["kind"] == "renderer"] == bundled_renderers()


def test_doctor_finds_this_machine_well(capsys):
    code = run(["doctor", "--json"])
    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    bad = [name for name, finding in findings.items() if not finding["is_ok"]]
    assert bad == ([] if bundled() else ["models"])
    assert code == bool(bad)
    assert {"python", "torch", "processor", "disk", "zarr", "pybullet", "matrix product"} <= set(findings)
    assert "steps/s" in findings["pybullet"]["value"]


def test_doctor_gives_a_fix_per_problem_and_exits_with_1(monkeypatch, capsys):
    monkeypatch.setattr("worldsim._doctor._MIN_DISK_GB", 1e9)
    assert run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "BAD disk" in out
    assert "fix: free some disk" in out


def test_ctrl_c_ends_with_130(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("worldsim.store.verify", interrupted)
    assert run(["verify", "anything"]) == 130
    assert "Ctrl-C" in capsys.readouterr().err


def test_a_warning_is_one_line(monkeypatch, capsys):
    import warnings

    def warn(*_, **__):
        warnings.warn("something is odd", UserWarning, stacklevel=1)
        return []

    monkeypatch.setattr("worldsim.store.verify", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run(["verify", "anything"]) == 0
    assert capsys.readouterr().err == "worldsim: warning: something is odd\n"


def test_the_installed_command_is_this_one():
    (script,) = metadata.entry_points(group="console_scripts", name="worldsim")
    assert script.load() is __main__.main


def test_ctrl_c_while_loading_is_as_quiet_as_later():
    code = (
        "import sys, builtins; load = builtins.__import__\n"
        "def slow(name, *rest, **more):\n"
        "    if name == 'worldsim.cli': raise KeyboardInterrupt\n"
        "    return load(name, *rest, **more)\n"
        "import worldsim.__main__; builtins.__import__ = slow; worldsim.__main__.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "worldsim: stopped by Ctrl-C\n")


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "worldsim", "version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("worldsim ")
