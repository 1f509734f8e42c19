"""Every model that comes with worldsim: whole, small enough, and of the world as it looks today."""

import json

import gymnasium as gym
import numpy as np
import pytest

import worldsim
from worldsim.collect import env_fingerprint
from worldsim.errors import PromptError
from worldsim.model import CHECKPOINTS, FIRST_FRAMES, bundled, bundled_renderers, load_renderer

LIMITS = {64: (6_000_000, 12.1e6), 128: (12_000_000, 24.2e6)}  # pixels: parameters, bytes


def test_city_64_is_bundled():
    assert "city-64" in bundled()


def test_city_render_64_is_bundled():
    assert bundled_renderers() == ["city-render-64"]


@pytest.mark.parametrize("name", bundled())
def test_a_bundled_model_is_within_its_size(name):
    model = worldsim.load(name)
    parameters, num_bytes = LIMITS[model.spec.height]
    assert model.num_parameters <= parameters
    assert (CHECKPOINTS / name / "model.safetensors").stat().st_size <= num_bytes
    assert (CHECKPOINTS / name / "starts.npz").stat().st_size <= 3_000_000
    assert len(model.starts) == 32


@pytest.mark.parametrize("name", bundled())
def test_a_bundled_model_is_of_the_world_as_it_looks_today(name):
    model = worldsim.load(name)
    assert model.meta["env_fingerprint"] == env_fingerprint(model.spec.env_id, model.spec.env_kwargs)
    env = gym.make(model.spec.env_id, **model.spec.env_kwargs)
    assert (env.observation_space, env.action_space) == model.spaces()
    env.close()


@pytest.mark.parametrize("name", bundled())
def test_a_bundled_model_says_what_it_learned_from(name):
    model = worldsim.load(name)
    assert model.card["frames"] >= 150_000
    assert model.meta["training"]["minutes_done"] >= 45
    assert model.meta["training"]["frames_seen"] >= 200_000
    assert [check for check in model.card["checks"] if check["ok"] is False] == []
    unasked = [check["check"] for check in model.card["checks"] if check["ok"] is None]
    assert unasked == (["terminated episodes"] if name == "lab-64" else [])  # the bench only truncates
    assert model.card["seeds"]["max"] < 100_000
    assert model.metrics["compare"]["checkpoint_sha"] == model.sha


@pytest.mark.parametrize("name", ["city-64", "city-128"])
def test_the_imagined_city_begins_from_text_alone(name):
    model = worldsim.load(name)
    prompts = ["a clear day at noon", "晴朗的白天", "deep night", "漆黑的夜晚", "thick fog by day"]
    frames = model.first_frames([prompt for prompt in prompts for _ in range(4)], [*range(4)] * 5)
    light = frames.mean(axis=(1, 2, 3)).reshape(5, 4)
    sky = frames[:, : model.spec.height // 4].astype(float).mean(axis=(1, 2)).reshape(5, 4, 3)
    blue = sky[..., 2] - sky[..., 0]
    assert light[:2].min() > light[2:4].max() + 20
    assert (blue[0] > blue[4]).all()


@pytest.mark.parametrize("name", ["city-64", "city-128"])
def test_the_imagined_city_is_repainted_and_stays_where_it_is(name):
    model = worldsim.load(name)
    days = [start for start in model.starts if {"day", "noon", "midday", "morning"} & set(start.caption.en.split())][:4]
    seen = np.stack([start.frames[-1:] for start in days])  # (N, 1, H, W, 3)
    told, num = [start.caption.en for start in days], len(days)
    assert model.repaints and num >= 2
    night, again = (
        model.edit(seen, [text] * num, seeds=range(num), told=told) for text in ("deep night", "漆黑的夜晚")
    )
    for edited in (night, again):
        assert (edited.mean(axis=(1, 2, 3, 4)) < 0.65 * seen.mean(axis=(1, 2, 3, 4))).all()
    same = [text.split(",")[0] for text in told]
    kept = model.edit(seen, same, seeds=range(num), told=told)
    assert np.abs(kept.astype(int) - seen).mean() < 4
    edges = [np.abs(np.diff(frames.astype(float).mean(axis=-1), axis=3)).ravel() for frames in (seen, night)]
    assert np.corrcoef(*edges)[0, 1] > 0.5


def test_the_imagined_table_begins_from_text_alone():
    model = worldsim.load("tabletop-64")
    prompts = ["a robot arm pushes the red block to the mark", "机械臂把蓝色块推到标记"]
    frames = model.first_frames([prompt for prompt in prompts for _ in range(6)], [*range(6)] * 2).astype(int)
    red, blue = (frames[..., one] - frames[..., other] > 60 for one, other in ((0, 2), (2, 0)))
    reds, blues = red.sum(axis=(1, 2)).reshape(2, 6), blue.sum(axis=(1, 2)).reshape(2, 6)  # pixels
    assert (reds[0] > blues[0]).sum() >= 5 and (blues[1] > reds[1]).sum() >= 5


def test_the_imagined_bench_begins_from_text_alone():
    model = worldsim.load("lab-64")
    prompts = ["a row of dominoes is knocked over", "several objects move and collide", "a ball rolls along the floor"]
    frames = model.first_frames([prompt for prompt in prompts for _ in range(4)], [*range(4)] * 3).astype(int)
    colored = (frames.max(axis=-1) - frames.min(axis=-1) > 60).sum(axis=(1, 2)).reshape(3, 4)  # pixels
    assert colored[:2].min() > 2 * colored[2].max()  # many things, and one ball


@pytest.mark.parametrize("name", bundled())
def test_what_draws_first_frames_is_small_and_of_its_model(name):
    folder = CHECKPOINTS / name / FIRST_FRAMES
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6
    card = json.loads((folder / "config.json").read_text())
    assert (card["model_sha"], card["card"]["seeds"]["max"] < 100_000) == (worldsim.load(name).sha, True)


def test_a_prompt_of_unknown_words_is_answered_with_a_caption():
    model = worldsim.load("city-64")
    with pytest.raises(PromptError, match=r"no word of the prompt 'xyzzy' .* captions such as '") as caught:
        model.understand("xyzzy")
    assert any(repr(start.caption.en) in str(caught.value) for start in model.starts)


def test_the_imagined_city_answers_to_steering():
    model = worldsim.load("city-64")
    env = gym.make("worldsim/CityDream-v0")
    frames = {}
    for steer in (-1.0, 0.0, 1.0):
        env.reset(seed=3)
        for _ in range(4):
            frames[steer], *_ = env.step(np.array([steer, 0.0], np.float32))
    env.close()
    assert model.spec.action_spec[0].name == "steer"
    for one, other in ((-1.0, 0.0), (0.0, 1.0), (-1.0, 1.0)):
        assert np.abs(frames[one].astype(int) - frames[other].astype(int)).mean() > 2


def test_the_imagined_arm_goes_where_it_is_told():
    env = gym.make("worldsim/TabletopDream-v0")
    frames = {}
    for dx in (-1.0, 0.0, 1.0):
        env.reset(seed=0)
        for _ in range(8):
            frames[dx], *_ = env.step(np.array([dx, 0.0, 0.0, 0.0], np.float32))
    env.close()
    for one, other in ((-1.0, 0.0), (0.0, 1.0), (-1.0, 1.0)):
        assert np.abs(frames[one].astype(int) - frames[other].astype(int)).mean() > 2


@pytest.mark.parametrize("name", bundled_renderers())
def test_a_bundled_renderer_is_small_of_todays_world_and_says_how_it_was_made(name):
    renderer = load_renderer(name)
    assert renderer.num_parameters <= 2_900_000
    assert (CHECKPOINTS / name / "model.safetensors").stat().st_size <= 6_000_000
    assert renderer.meta["env_fingerprint"] == env_fingerprint(renderer.spec.env_id, renderer.spec.env_kwargs)
    assert renderer.meta["training"]["minutes_done"] >= 45
    assert renderer.meta["card"]["pairs"] >= 40_000
    assert renderer.meta["card"]["seeds"]["max"] < 100_000
    env = gym.make(renderer.spec.env_id, **renderer.spec.env_kwargs)
    assert set(renderer.spec.cameras) == set(env.unwrapped.scene_card["cameras"])
    env.close()
    tested = renderer.metrics["test"]
    assert tested["checkpoint_sha"] == renderer.sha
    assert tested["seed"] >= 200_000
    rows = tested["rows"]
    assert rows["model"]["psnr"] > max(rows["plain colours"]["psnr"], rows["true frame before"]["psnr"])


@pytest.mark.parametrize("camera", ["front", "chase", "birds_eye"])
def test_the_drawn_city_is_nearly_the_true_one_by_day_and_by_night(camera):
    env = gym.make("worldsim/CityHybrid-v0", cameras=(camera,), truth_obs=True)
    for prompt in ("clear noon", "heavy rain at night"):
        drawn, info = env.reset(seed=200_100, options={"prompt": prompt})
        for _ in range(4):
            drawn, *_, info = env.step(np.array([0.0, 0.1], np.float32))
        error = drawn.astype(float) - info["truth_obs"][f"rgb/{camera}"]
        assert (error**2).mean() < 60  # 30 dB
    env.close()
