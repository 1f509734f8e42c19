"""Pairs are collected once and gone on with; a renderer learns from them, stops, goes on, and is scored honestly."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from worldsim.errors import CheckpointError, EnvError, StoreError, WorldsimError
from worldsim.model import Renderer, load_renderer, new_renderer, tiny_renderer
from worldsim.train.pairs import Pairs, PairsConfig, collect_pairs
from worldsim.train.render_scores import draw_episodes, previous_frames, score
from worldsim.train.renderer import RenderTrainConfig, _Trainer, train_renderer

KWARGS = {"height": 32, "width": 32}
VARY = (("weather_preset",), ("sun_height", "fog"))
PAIRS = PairsConfig(env_id="worldsim/City-v0", env_kwargs=KWARGS, episodes=7, steps=4, vary=VARY, vary_share=0.5)
SMALL = RenderTrainConfig(
    env_kwargs=KWARGS, episodes=4, moments=4, val_episodes=2, val_moments=3, network=tiny_renderer(), batch=4, vary=VARY
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs")
    return collect_pairs(path, PAIRS, lambda line: None), path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a few steps."""
    path, lines = tmp_path_factory.mktemp("run"), []
    train_renderer("worldsim/City-v0", path, steps=6, config=SMALL, log=lines.append)
    return path, lines


def test_pairs_are_of_every_camera_and_hold_what_the_env_showed(pairs):
    found, _ = pairs
    assert [episode["camera"] for episode in found.episodes[:6]] == list(found.spec.cameras)
    assert [episode["seed"] for episode in found.episodes] == list(range(7))
    assert len(found) == found.length.sum() == found.first[-1] + found.length[-1]
    frames, plain = found.frames(np.arange(len(found))), found.plain(np.arange(len(found)))
    assert frames.shape == plain["plain"].shape == (len(found), 32, 32, 3)
    assert plain["depth"].dtype == np.float16
    assert (frames != plain["plain"]).mean() > 0.5
    before = previous_frames(found)
    assert (before[1] == frames[0]).all()
    assert (before[found.is_first] == frames[found.is_first]).all()


def test_the_shares_that_vary_do(pairs):
    variations = [episode["variation"] for episode in pairs[0].episodes]
    presets = sum(variation["weather_preset"] != "none" for variation in variations)
    assert 0 < presets < 7
    between = [v for v in variations if 0 < v["fog"] < 0.7]  # the env itself draws 0 or more than 0.7
    assert between


def test_a_collection_that_was_cut_off_goes_on_as_if_it_had_not_been(pairs, tmp_path):
    whole, path = pairs
    for file in path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    lines = (path / "episodes.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "episodes.jsonl").write_text("".join(lines[:5]) + lines[5][:20])
    frames = np.load(tmp_path / "frame.npy", mmap_mode="r+")
    frames[whole.first[5] :] = 0
    found = collect_pairs(tmp_path, PAIRS, lambda line: None)
    assert found.episodes == whole.episodes
    rows = np.arange(len(whole))
    assert (found.frames(rows) == whole.frames(rows)).all()


def test_other_pairs_are_not_mixed_in_and_missing_ones_are_said(pairs, tmp_path):
    with pytest.raises(StoreError, match="holds pairs of"):
        collect_pairs(pairs[1], replace(PAIRS, steps=5))
    with pytest.raises(StoreError, match="collect them first"):
        Pairs(tmp_path)
    with pytest.raises(EnvError, match="no factor gravity"):
        collect_pairs(tmp_path / "a", replace(PAIRS, vary=(("gravity",),)))
    with pytest.raises(EnvError, match="no policy"):
        collect_pairs(tmp_path / "b", replace(PAIRS, policy="drunk"), lambda line: None)
    with pytest.raises(EnvError, match="obs_modes"):
        collect_pairs(tmp_path / "c", PairsConfig(env_id="worldsim/Lab-v0"))
    with pytest.raises(EnvError, match="no cameras"):
        collect_pairs(tmp_path / "d", PairsConfig(env_id="CartPole-v1"))


def test_scores_are_what_they_say(pairs):
    found, _ = pairs
    rows = np.arange(len(found))
    truth, plain = found.frames(rows), found.plain(rows)["plain"]
    perfect, naive = score(truth, found), score(plain, found)
    assert perfect["skill"] == perfect["sharpness"] == perfect["change"] == 1
    assert perfect["flicker"] == 0
    assert naive["skill"] == 0
    assert naive["psnr"] == naive["psnr_plain"]
    assert perfect["frames"] == len(found) - len(found.episodes)
    assert sum(group["frames"] for group in perfect["groups"].values()) == perfect["frames"]
    assert sum(camera["frames"] for camera in perfect["cameras"].values()) == perfect["frames"]
    noisy = truth.astype(float) + np.random.default_rng(0).normal(0, 5, truth.shape)
    flickering = score(noisy, found)
    assert flickering["flicker"] == pytest.approx(5 * 2**0.5, rel=0.05)
    assert flickering["psnr"] == pytest.approx(10 * np.log10(255**2 / 25), abs=0.2)


def test_where_nothing_is_in_the_truth_a_ratio_is_no_number(pairs, monkeypatch):
    found, _ = pairs
    truth, plain = (np.zeros_like(found.frames(np.arange(len(found)))) for _ in range(2))
    monkeypatch.setattr(Pairs, "frames", lambda self, rows: truth[rows])
    monkeypatch.setattr(Pairs, "plain", lambda self, rows: {"plain": plain[rows]})
    figures = score(truth, found)
    assert all(np.isnan(figures[name]) for name in ("skill", "sharpness", "change"))
    assert figures["flicker"] == 0


def test_an_episode_that_ends_with_its_first_step_leaves_no_figures(pairs, tmp_path):
    for file in pairs[1].iterdir():
        (tmp_path / file.name).symlink_to(file)
    first, second, third = pairs[0].episodes[:3]
    third = {**third, "rows": 1, "variation": {"time_of_day": "noon", "weather": "hail"}}
    (tmp_path / "episodes.jsonl").unlink()
    (tmp_path / "episodes.jsonl").write_text("".join(f"{json.dumps(e)}\n" for e in (first, second, third)))
    found = Pairs(tmp_path)
    figures = score(found.frames(np.arange(len(found))), found)
    assert "noon hail" not in figures["groups"]
    assert set(figures["cameras"]) == {first["camera"], second["camera"]}


def test_a_run_leaves_a_renderer_figures_and_a_picture(run):
    path, lines = run
    renderer = load_renderer(path)
    assert renderer.spec.env_id == "worldsim/City-v0"
    assert renderer.meta["training"]["steps_done"] == 6
    assert renderer.meta["card"]["seeds"] == {"min": 0, "max": 3}
    assert len(renderer.meta["env_fingerprint"]) == 16
    assert renderer.metrics["validation"][-1]["step"] == 6
    records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert {"psnr", "skill", "sharpness", "flicker", "groups"} <= set(records[-1])
    assert list((path / "strips").glob("*.png"))
    assert lines[-1].startswith("done: 6 steps")
    held_out = Pairs(path / "pairs-val")
    assert held_out.episodes[0]["seed"] == 100_000
    assert draw_episodes(renderer, held_out).shape == (len(held_out), 32, 32, 3)


def test_training_brings_frames_nearer_to_the_truth_than_plain_colours(run, tmp_path):
    path, _ = run
    for part in ("pairs", "pairs-val"):
        (tmp_path / part).symlink_to(path / part)
    config = replace(SMALL, warmup_steps=10, batch=8, ema=0.9, own_from=0.5)
    train_renderer("worldsim/City-v0", tmp_path, steps=60, config=config, log=lambda line: None)
    last = load_renderer(tmp_path).metrics["validation"][-1]
    assert last["skill"] > 0.3


def test_a_resumed_run_takes_the_steps_that_an_unbroken_one_takes(run, tmp_path):
    path, _ = run
    trainers = []
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
        for part in ("pairs", "pairs-val"):
            (tmp_path / name / part).symlink_to(path / part)
        settings = replace(SMALL, steps=6)
        trainer = _Trainer("worldsim/City-v0", tmp_path / name, settings, torch.device("cpu"), lambda line: None, False)
        for _ in range(2):
            trainer.take_step()
        if name == "broken":
            trainer.save()
            trainer = _Trainer(
                "worldsim/City-v0", tmp_path / name, settings, torch.device("cpu"), lambda line: None, True
            )
        for _ in range(2):
            trainer.take_step()
        trainers.append(trainer)
    for one, other in zip(*(trainer.net.state_dict().values() for trainer in trainers), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(*(trainer.average.state_dict().values() for trainer in trainers), strict=True):
        assert torch.equal(one, other)


def test_an_interrupt_saves_and_a_loss_that_is_not_finite_stops(run, tmp_path, monkeypatch):
    path, _ = run
    for part in ("pairs", "pairs-val"):
        (tmp_path / part).symlink_to(path / part)
    trainer = _Trainer(
        "worldsim/City-v0", tmp_path, replace(SMALL, steps=9), torch.device("cpu"), lambda line: None, False
    )
    step, done = trainer.take_step, []

    def interrupted():
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return step()

    monkeypatch.setattr(trainer, "take_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert load_renderer(tmp_path).meta["training"]["steps_done"] == 2
    with torch.no_grad():
        trainer.net.head.bias.fill_(float("nan"))
    with pytest.raises(WorldsimError, match="the loss is nan"):
        step()
    assert list(tmp_path.glob("bad_batch_*.npz"))
    other = replace(SMALL, network=replace(tiny_renderer(), dim=24))
    with pytest.raises(CheckpointError, match="begun as"):
        train_renderer("worldsim/City-v0", tmp_path, steps=9, resume=True, config=other)
    lines, other = [], replace(SMALL, batch=2, none_share=0.5)
    train_renderer("worldsim/City-v0", tmp_path, steps=3, resume=True, config=other, log=lines.append)
    assert "resumed otherwise than it was left: batch 4 -> 2, none_share 0.25 -> 0.5" in lines


def test_budgets_and_runs_that_cannot_be_are_said(run, tmp_path):
    path, _ = run
    with pytest.raises(WorldsimError, match="either minutes or steps"):
        train_renderer("worldsim/City-v0", tmp_path)
    with pytest.raises(WorldsimError, match="already holds a run"):
        train_renderer("worldsim/City-v0", path, steps=1)
    with pytest.raises(CheckpointError, match="no run to resume"):
        train_renderer("worldsim/City-v0", tmp_path, steps=1, resume=True)
    (tmp_path / "state.pt").write_bytes(b"x")
    for part in ("pairs", "pairs-val"):
        (tmp_path / part).symlink_to(path / part)
    with pytest.raises(CheckpointError, match="damaged"):
        train_renderer("worldsim/City-v0", tmp_path, steps=1, resume=True, config=SMALL, log=lambda line: None)
    (tmp_path / "state.pt").unlink()
    odd = replace(SMALL, env_kwargs={**SMALL.env_kwargs, "height": 33, "width": 33})
    with pytest.raises(EnvError, match="multiples of 2 pixels; got 33x33"):
        train_renderer("worldsim/City-v0", tmp_path / "odd", steps=1, config=odd, log=lambda line: None)
    assert not (tmp_path / "odd" / "pairs" / "episodes.jsonl").exists()
    with pytest.raises(WorldsimError, match="takes 17 different pairs, and there are 16"):
        train_renderer("worldsim/City-v0", tmp_path, steps=1, config=replace(SMALL, batch=17), log=lambda line: None)


def test_a_drawn_episode_is_drawn_upon_its_own_frames(pairs):
    found, _ = pairs

    class Counting(Renderer):
        def draw(self, plain, previous=None, **key):
            return np.full((len(plain["plain"]), 32, 32, 3), 0, np.uint8) + (0 if previous is None else previous + 1)

    drawn = draw_episodes(Counting(new_renderer(tiny_renderer(), found.spec)), found)
    for first, length in zip(found.first, found.length, strict=True):
        assert drawn[first : first + length, 0, 0, 0].tolist() == list(range(length))
