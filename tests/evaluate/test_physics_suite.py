"""A whole small run: any model, resumed, scored again, exported, imported, from the command line."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import gymnasium as gym
import jsonschema
import numpy as np
import pytest
from PIL import Image
from rolling_world import ENV_ID, roll
from typer.testing import CliRunner

from worldsim.cli import app
from worldsim.errors import CheckpointError, EnvError
from worldsim.evaluate.physics import Plan, bench, export_scenes, full_plan, prepare_truth, quick_plan
from worldsim.evaluate.physics.candidates import (
    Candidate,
    Request,
    candidate,
    from_callable,
    from_env,
    from_folder,
    from_model,
)
from worldsim.evaluate.physics.cases import read_cases
from worldsim.evaluate.physics.exchange import clip_from_tracks, load_clip, load_foreign, save_clip
from worldsim.evaluate.physics.outcome import FACTS, SCHEMA
from worldsim.evaluate.physics.reference import Truth
from worldsim.store.formats.films import FilmWriter

PLAN = Plan(
    suite="lab",
    size="test",
    env_id="worldsim/Lab-v0",
    scenarios=("projectile",),
    clips={"train": 2, "high": 1},
    horizon=12,
    seeds=2,
    training_clips=1,
    corrupted=0,
    sweeps=0,
    ensembles=0,
    gravity_pairs=0,
    fact_seeds=0,
)

RESULTS = Path(__file__).parents[2] / "benchmarks" / "physics" / "results"


def frozen(frames, actions, prompt, seed):
    """A model that shows the last frame again and again."""
    return np.repeat(frames[-1:], len(actions), axis=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    figures = bench(from_callable(frozen), PLAN, folder=folder / "run", report=folder / "report.html")
    return folder, figures


def test_a_function_is_scored_beside_baselines_and_truths(run):
    _, figures = run
    assert figures["model"] == "frozen" and figures["headline"]["value"] < 5
    assert figures["rows"]["truth_perturbed"]["headline"]["value"] == pytest.approx(100)
    ade = {row: found["metrics"]["ade"]["value"] for row, found in figures["rows"].items()}
    assert ade["model"] == pytest.approx(ade["copy_last"])
    assert ade["truth"] < ade["truth_perturbed"] < ade["copy_last"]
    cell = figures["scenarios"]["projectile"]["ade"]
    assert set(cell) == {"value", "lo", "hi", "n", "at_floor"} and cell["n"] == 2 and not cell["at_floor"]
    assert figures["out_of_range"]["high"]["projectile"]["ade"]["n"] == 1
    assert figures["minutes"] > 0 and figures["run"]["noise_seeds"] == 2


def test_a_run_keeps_figures_clips_and_a_report(run):
    folder, figures = run
    assert json.loads((folder / "run" / "result.json").read_text())["headline"] == figures["headline"]
    table = (folder / "run" / "clips.csv").read_text().splitlines()
    names = table[0].split(",")
    assert names[:5] == ["scenario", "split", "clip", "row", "sample"] and {"ade", "failed", "commit"} <= set(names)
    assert sum(line.split(",")[3] == "model" for line in table) == 3 * 2  # clips, noise seeds
    page = (folder / "report.html").read_text()
    assert "projectile" in page and "http://" not in page and "<canvas" in page


def test_a_run_goes_on_without_asking_the_model_again_and_scores_the_same(run):
    folder, figures = run

    def never(requests):
        raise AssertionError("the frames are kept")

    silent = replace(from_callable(frozen), imagine=never)
    again = bench(silent, PLAN, folder=folder / "run", rescore=True)
    assert again["scenarios"] == figures["scenarios"] and again["headline"] == figures["headline"]


def test_the_result_is_as_the_schema_says(run):
    schema = json.loads(SCHEMA.read_text())
    figures = run[1]
    jsonschema.validate(figures, schema)
    facts = figures["rows"]["copy_last"]["run"]
    assert set(FACTS) <= set(facts) and facts["noise_seeds"] == 2 and len(figures["headline_by_noise_seed"]) == 2
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({name: value for name, value in figures.items() if name != "rows"}, schema)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*-64*.json")), ids=lambda path: path.stem)
def test_committed_results_are_as_the_schema_says(path):
    jsonschema.validate(json.loads(path.read_text()), json.loads(SCHEMA.read_text()))


def test_two_models_share_what_needs_none(run, tmp_path):
    folder, figures = run
    truth = folder / "run" / "truth"
    before = {path: path.stat().st_mtime_ns for path in truth.rglob("*.*") if path.name != "plan.json"}

    def blank(frames, actions, prompt, seed):
        return np.zeros((len(actions), *frames.shape[1:]), np.uint8)

    other = bench(from_callable(blank), PLAN, folder=tmp_path / "run", truth=truth)
    assert {path: path.stat().st_mtime_ns for path in before} == before and len(before) > 9
    for row in ("truth", "copy_last", "linear"):
        assert other["rows"][row]["metrics"] == figures["rows"][row]["metrics"]
    assert other["rows"]["model"]["metrics"]["permanence"]["value"] == 0  # nothing is behind a darkness
    assert figures["rows"]["model"]["metrics"]["permanence"]["value"] > 0.9
    assert prepare_truth(PLAN, truth) == 3


def test_another_plan_or_model_is_refused(run):
    folder, _ = run
    with pytest.raises(EnvError, match="another plan or model"):
        bench(from_callable(frozen, name="other"), PLAN, folder=folder / "run")
    with pytest.raises(EnvError, match="another plan"):
        bench(from_callable(frozen), replace(PLAN, horizon=10), folder=folder / "run")


def test_scenes_made_elsewhere_are_scored_from_a_folder_of_results(tmp_path):
    plan = replace(PLAN, clips={"train": 2})
    count = export_scenes(plan, tmp_path / "run", tmp_path / "scenes")
    listed = json.loads((tmp_path / "scenes" / "scenes.json").read_text())
    assert count == len(listed["scenes"]) == 2 and (tmp_path / "scenes" / "README.md").exists()
    key = listed["scenes"][0]["key"]
    assert len(list((tmp_path / "scenes" / key).glob("context_*.png"))) == plan.context
    assert len((tmp_path / "scenes" / key / "actions.csv").read_text().splitlines()) == 1 + plan.horizon
    results = tmp_path / "results"
    results.mkdir()
    clips = list(read_cases(tmp_path / "run" / "truth" / "clips", ["projectile.train.0", "projectile.train.1"]))
    keys = [scene["key"] for scene in listed["scenes"]]
    # Another lab's frames are larger. One scene comes as a film, the other as pictures.
    film, pictures = (case.clip.future.repeat(4, axis=1).repeat(4, axis=2) for case in clips)
    with FilmWriter(results / f"{keys[0]}.mp4", 256, 256, Fraction(20)) as writer:
        writer.add(film)
    (results / keys[1]).mkdir()
    for t, frame in enumerate(pictures):
        Image.fromarray(frame).save(results / keys[1] / f"{t:03d}.png")
    figures = bench(str(results), plan, folder=tmp_path / "run")
    assert figures["model"] == "results" and figures["headline"]["value"] == pytest.approx(100)
    found = json.loads((tmp_path / "run" / "scores" / "projectile.train.0.json").read_text())["model#0"]["metrics"]
    assert 0 < found["mse"] < 20 and found["ade"] < 0.05  # a film is not quite what was written
    again = json.loads((tmp_path / "run" / "scores" / "projectile.train.1.json").read_text())["model#0"]["metrics"]
    assert again["mse"] == 0


def test_a_missing_result_is_named(tmp_path):
    request = Request(
        key="a.train.0.sample0",
        frames=np.zeros((1, 8, 8, 3), np.uint8),
        past=np.zeros((0, 1)),
        actions=np.zeros((2, 1)),
    )
    with pytest.raises(CheckpointError, match=r"a\.train\.0\.sample0"):
        from_folder(tmp_path).imagine([request])


def test_a_damaged_result_is_named(tmp_path):
    request = Request(key="k", frames=np.zeros((1, 8, 8, 3), np.uint8), past=np.zeros((0, 1)), actions=np.zeros((2, 1)))
    for data in (np.zeros((2, 4, 4, 3)), np.zeros((2, 4), np.uint8), np.array({"a": 1})):
        np.save(tmp_path / "k.npy", data, allow_pickle=True)
        with pytest.raises(CheckpointError, match=r"k\.npy"):
            from_folder(tmp_path).imagine([request])
    (tmp_path / "k.npy").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"k\.npy"):
        from_folder(tmp_path).imagine([request])


def test_frames_of_another_length_are_refused():
    request = Request(key="k", frames=np.zeros((1, 8, 8, 3), np.uint8), past=np.zeros((0, 1)), actions=np.zeros((2, 1)))
    with pytest.raises(EnvError, match=r"\(2, 8, 8, 3\)"):
        from_callable(lambda frames, actions, prompt, seed: frames, "short").imagine([request])


def test_a_name_means_a_function_an_env_a_model_or_nothing(checkpoint):
    assert candidate("test_physics_suite:frozen").name == "test_physics_suite:frozen"
    tested = candidate(checkpoint)
    assert tested.facts["sampler_steps"] >= 1 and tested.begin is not None and tested.draw is None
    with pytest.raises(EnvError, match="module:function"):
        candidate("nowhere:function")
    with pytest.raises(CheckpointError):
        candidate("no-such-model")


def test_an_imagined_env_and_its_model_give_the_same_frames(model):
    start = model.starts[0]
    request = Request(
        key="k", frames=start.frames, past=start.actions, actions=np.zeros((3, 2), np.float32), prompt=None, seed=5
    )
    env, plain = from_env("worldsim/Dream-v0", model=model, sampler_steps=2), from_model(model, 2)
    (one,), (two,) = env.imagine([request]), plain.imagine([request])
    assert one.shape == two.shape and np.abs(one.astype(int) - two).mean() < 1
    assert env.facts == plain.facts and env.draws_noise and env.name == "worldsim/Dream-v0"
    assert not from_env("worldsim/Dream-v0", model=model, sampler_steps=1).draws_noise


class _Ends(gym.Env):
    """Shows the start darker by one at every step, and ends after two."""

    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    observation_space = gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.frame, self.left = options["start"]["frames"][-1], 2
        return self.frame, {}

    def step(self, action):
        assert self.left
        self.left -= 1
        self.frame = self.frame - 1
        return self.frame, 0.0, self.left == 0, False, {}


def test_behind_the_end_of_an_imagined_env_its_last_frame_stands():
    gym.register("worldsim-test/Ends-v0", _Ends)
    try:
        tested = from_env("worldsim-test/Ends-v0")
        frames = np.full((1, 8, 8, 3), 9, np.uint8)
        request = Request(key="k", frames=frames, past=np.zeros((0, 1)), actions=np.zeros((4, 1), np.float32))
        assert tested.imagine([request])[0][:, 0, 0, 0].tolist() == [8, 7, 7, 7]
        with pytest.raises(EnvError, match="sampler"):
            from_env("worldsim-test/Ends-v0", sampler_steps=2)
    finally:
        del gym.registry["worldsim-test/Ends-v0"]


def test_a_clip_comes_back_from_its_file_as_it_was(run, tmp_path):
    folder, _ = run
    clip = load_clip(folder / "run" / "truth" / "clips" / "projectile.train.0.npz")
    save_clip(tmp_path / "again.npz", clip)
    again = load_clip(tmp_path / "again.npz")
    assert np.array_equal(again.frames, clip.frames) and again.bodies == clip.bodies
    assert again.contacts == clip.contacts and again.variation == clip.variation
    (tmp_path / "no.npz").write_bytes(b"nothing")
    with pytest.raises(EnvError, match="not a clip"):
        load_clip(tmp_path / "no.npz")


# ---- physics from elsewhere


def disc(path, size=64, radius=6.0, color=(230, 40, 40)):
    """Draw a disc whose centre follows a path (F, 2) in pixels, x right and y up."""
    v, u = np.mgrid[:size, :size] + 0.5
    frames = np.full((len(path), size, size, 3), 190.0)
    for frame, (x, y) in zip(frames, path, strict=True):
        cover = np.clip(radius + 0.5 - np.hypot(u - x, size - v - y), 0, 1)[..., None]
        frame[:] = frame * (1 - cover) + np.array(color) * cover
    return frames.round().astype(np.uint8)


def write_foreign(folder, number, speed=20):
    t = np.arange(20) * 0.05
    path = np.stack([10 + (speed + 4 * number) * t, 40 + 20 * t - 30 * t**2], axis=1)
    folder.mkdir(exist_ok=True)
    np.savez(
        folder / f"throw{number}.npz",
        frames=disc(path),
        positions=(path / 20)[:, None],  # 20 pixels per metre
        radii=[0.3],
        colors=[[230, 40, 40]],
        dt=0.05,
        num_context=6,
        pixels_per_metre=20.0,
        gravity=3.0,
    )


def test_clips_with_tracks_from_elsewhere_are_scored_in_their_metres(tmp_path):
    for number in (0, 1):
        write_foreign(tmp_path / "foreign", number)
    figures = bench(from_callable(frozen), PLAN, folder=tmp_path / "run", clips=tmp_path / "foreign")
    rows = {row: found["metrics"]["ade"]["value"] for row, found in figures["rows"].items()}
    assert rows["truth"] < 0.25 / 20  # a quarter of a pixel
    assert rows["constant_acceleration"] < 0.5 * rows["linear"]
    assert rows["model"] == pytest.approx(rows["copy_last"]) and rows["copy_last"] > 0.3


def test_figures_of_other_clips_are_never_taken_for_these(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, speed in (("slow", 4), ("fast", 20)):
        write_foreign(tmp_path / name, 0, speed)
    ade = {}
    for name in ("slow", "fast", "slow"):
        figures = bench(from_callable(frozen), PLAN, clips=Path(name))
        assert figures["folder"] == f"physics-foreign-{name}-frozen-test"
        ade.setdefault(name, figures["rows"]["model"]["metrics"]["ade"]["value"])
        assert ade[name] == figures["rows"]["model"]["metrics"]["ade"]["value"]
    assert ade["fast"] > 1.2 * ade["slow"]
    with pytest.raises(EnvError, match="another plan or model"):
        bench(from_callable(frozen), PLAN, folder=Path("physics-foreign-slow-frozen-test"), clips=Path("fast"))


def test_a_damaged_clip_is_named(tmp_path):
    write_foreign(tmp_path, 0)
    path = tmp_path / "throw0.npz"
    data = path.read_bytes()
    for keep in (0, len(data) // 2):
        path.write_bytes(data[:keep])
        with pytest.raises(EnvError, match=r"throw0\.npz is not a clip"):
            load_clip(path)
        with pytest.raises(EnvError, match=r"throw0\.npz cannot be read"):
            load_foreign(tmp_path)


def test_true_ensembles_are_whole_or_not_there(tmp_path, monkeypatch):
    plan = replace(PLAN, scenarios=("double_pendulum",), ensembles=1, members=2, horizon=4)
    true = Truth(tmp_path, plan, tell=lambda *stage: None)

    def full_disk(path, array):
        Path(path).write_bytes(b"\x93NUMPY")
        raise OSError("no space left")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        true.ensembles()
    monkeypatch.undo()
    (ensemble,) = true.ensembles()["double_pendulum"]
    assert ensemble.truths.shape[:2] == (4, 4)
    true.env.close()


def test_what_is_missing_in_a_foreign_clip_is_named(tmp_path):
    with pytest.raises(EnvError, match="holds no npz"):
        load_foreign(tmp_path)
    np.savez(tmp_path / "half.npz", frames=np.zeros((3, 8, 8, 3), np.uint8))
    with pytest.raises(EnvError, match="lacks positions"):
        load_foreign(tmp_path)
    with pytest.raises(EnvError, match="num_context"):
        clip_from_tracks(
            name="x", frames=np.zeros((3, 8, 8, 3), np.uint8), positions=np.zeros((3, 1, 2)), radii=[1.0],
            colors=[(255, 0, 0)], dt=0.1, num_context=3,
        )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"dt": np.nan},
        {"dt": 0.0},
        {"positions": np.zeros(20)},
        {"positions": np.full((20, 1, 2), np.nan)},
        {"origin_px": 3.0},
        {"scenario": "fall.v1"},
        {"masses": [1.0, 2.0]},
        {"actions": np.zeros((3, 1))},
        {"frames": np.zeros((20, 64, 64), np.uint8)},
    ],
    ids=lambda change: f"{next(iter(change))}",
)
def test_what_does_not_fit_in_a_foreign_clip_is_named(tmp_path, change):
    write_foreign(tmp_path, 0)
    arrays = {**np.load(tmp_path / "throw0.npz"), **change}
    np.savez(tmp_path / "throw0.npz", **arrays)
    with pytest.raises(EnvError, match="throw0"):
        load_foreign(tmp_path)


def test_foreign_clips_of_two_lengths_are_refused_before_anything_is_imagined(tmp_path):
    for number in (0, 1):
        write_foreign(tmp_path / "foreign", number)
    arrays = dict(np.load(tmp_path / "foreign" / "throw1.npz"))
    arrays |= {"frames": arrays["frames"][:16], "positions": arrays["positions"][:16]}
    np.savez(tmp_path / "foreign" / "throw1.npz", **arrays)
    with pytest.raises(EnvError, match="as many frames"):
        bench(from_callable(frozen), PLAN, folder=tmp_path / "run", clips=tmp_path / "foreign")


def test_a_mistyped_scenario_leaves_the_folder_free(tmp_path):
    with pytest.raises(EnvError, match="foo"):
        Truth(tmp_path, replace(PLAN, scenarios=("foo",)), tell=lambda *stage: None)
    Truth(tmp_path, PLAN, tell=lambda *stage: None).env.close()


# ---- a world without scenarios and objects


def rolling(frames, actions, prompt, seed):
    """The exact model of the rolling world."""
    shown = [frames[-1]]
    for action in actions:
        shown.append(roll(shown[-1], action))
    return np.stack(shown[1:])


def test_a_world_whose_state_is_not_read_is_scored_by_its_moving_pixels(tmp_path):
    plan = replace(
        PLAN, suite="city", env_id=ENV_ID, scenarios=None, clips={"train": 3}, horizon=6, context=4, corrupted=1
    )
    figures = bench(from_callable(rolling), plan, folder=tmp_path / "run", report=tmp_path / "report.html")
    assert figures["headline"]["value"] == pytest.approx(100)
    assert figures["admitted"]["city"] == ["mse_moving"]
    assert figures["rows"]["copy_last"]["headline"]["value"] == 0
    assert figures["rows"]["shuffled_actions"]["headline"]["value"] < 50
    caught = {name: entry["caught"] for name, entry in figures["corruptions"].items()}
    assert {"frozen", "reversed", "slowed", "mirrored", "wrong_scene"} <= set(caught)
    assert {name for name, count in caught.items() if not count} <= {"noisy"}  # JPEG spoils a random texture as much
    assert "dropped" not in caught  # there is no object to drop
    assert "Structural similarity" in (tmp_path / "report.html").read_text()


# ---- plans and the command line


def test_every_suite_has_a_quick_and_a_full_plan():
    for suite in ("lab", "city", "tabletop"):
        assert sum(full_plan(suite).clips.values()) > sum(quick_plan(suite).clips.values())
        assert full_plan(suite).seeds >= 3
    assert set(full_plan("lab").clips) == {"train", "low", "high", "combination"}
    with pytest.raises(EnvError, match="lab, city, tabletop"):
        quick_plan("moon")


def test_a_model_that_sees_more_than_the_clips_show_is_refused(tmp_path):
    wide = Candidate(name="wide", imagine=lambda requests: [], num_context=99)
    with pytest.raises(EnvError, match="--context 99"):
        bench(wide, PLAN, folder=tmp_path)


def test_the_command_says_in_one_line_what_is_wrong():
    runner = CliRunner()
    for arguments in (["--quick", "--full", "--model", "x"], [], ["--suite", "moon", "--model", "x"]):
        result = runner.invoke(app, ["bench", "physics", *arguments])
        assert isinstance(result.exception, EnvError) or result.exit_code == 2
