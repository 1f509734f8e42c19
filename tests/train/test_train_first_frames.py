"""A share of the training goes into first frames, which have nothing before them but a text."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

import worldsim
from tests.model.helpers import box_spec
from tests.train.wall_world import COLOURS
from worldsim.collect import collect
from worldsim.errors import EnvError
from worldsim.model.denoiser import MAX_AGE, wiener
from worldsim.model.first_frame import FIRST_FRAME_STD, handed
from worldsim.model.presets import tiny
from worldsim.train import TrainConfig, train
from worldsim.train.data import Batch
from worldsim.train.draws import Draws
from worldsim.train.first_frames import make_first_frames
from worldsim.train.memory import estimate
from worldsim.train.plan import make_plan

QUICK = TrainConfig(
    batch=2,
    length=4,
    first_frame_share=3.0,
    first_frame_weight=0.5,
    report_s=0.0,
    validate_s=1e9,
    save_s=1e9,
    own_frames_from=1.0,
    deep_share=0.0,
    learning_rate=1e-2,
    warmup_steps=5,
    ema=0.95,
    mirror=(0,),
)
STEPS = 400


@pytest.fixture(scope="module")
def store_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("walls") / "store"
    collect("tests.train.wall_world:Wall-v0", 12, path, seed=0)
    return path


@pytest.fixture(scope="module")
def run(store_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    train(store_path, path, preset="tiny", steps=STEPS, config=QUICK, log=lambda line: None)
    return path


def _plan(**changes):
    rows = {
        "rows": np.arange(50),
        "end_rows": np.arange(5),
        "prompt_rows": np.arange(9),
        "deep_rows": np.arange(20, 40),
    }
    return make_plan(
        replace(QUICK, own_frames_from=0.0, deep_share=0.5, **changes), 3, **rows, num_context=4, is_late=True
    )


def test_the_error_of_first_frames_falls_and_a_text_says_what_they_show(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    errors = [line["first_frame"] for line in lines if line["kind"] == "loss"]
    assert np.mean(errors[-20:]) < 0.3 * np.mean(errors[:20])
    model = worldsim.load(run)
    assert model.is_trained_for_first_frames
    for prompt, wall in (("a bright wall", "bright"), ("墙很昏暗", "dark")):
        frames = model.first_frames([prompt] * 16, range(16))  # (16, H, W, 3)
        colour = np.median(frames, axis=(1, 2))  # (16, 3)
        other = "dark" if wall == "bright" else "bright"
        near, far = (np.abs(colour - COLOURS[name]).mean(axis=1) for name in (wall, other))
        assert (near < far).mean() > 0.8


def test_a_resumed_run_with_some_ends_at_the_same_bits(store_path, tmp_path):
    def stop_at_6(line):
        if line.startswith("step 6 "):
            raise KeyboardInterrupt

    def log(line):
        return None

    config = replace(QUICK, accumulate=2, first_frame_share=1.0)
    train(store_path, tmp_path / "whole", preset="tiny", steps=12, config=config, log=log)
    with pytest.raises(KeyboardInterrupt):
        train(store_path, tmp_path / "parts", preset="tiny", steps=12, config=config, log=stop_at_6)
    train(store_path, tmp_path / "parts", preset="tiny", steps=12, resume=True, config=config, log=log)
    whole, parts = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts"))
    assert all(torch.equal(whole["networks"][name], parts["networks"][name]) for name in whole["networks"])


def test_a_model_that_was_not_trained_for_it_says_so(store_path, tmp_path):
    config = replace(QUICK, first_frame_share=0.0)
    train(store_path, tmp_path / "run", preset="tiny", steps=2, config=config, log=lambda line: None)
    model = worldsim.load(tmp_path / "run")
    assert not model.is_trained_for_first_frames
    with pytest.raises(EnvError, match="cannot begin from text alone"):
        model.first_frames(["a dark wall"], [0])
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert not any("first_frame" in record for record in records)


def test_first_frames_leave_the_windows_of_a_step_as_they_are():
    without, with_some = _plan(first_frame_share=0.0), _plan(first_frame_share=0.5)
    assert without.first_frames.rows.shape == (2, 0)
    assert with_some.first_frames.rows.shape == (2, 2)
    for field in fields(without):
        if field.name != "first_frames":
            np.testing.assert_array_equal(getattr(without, field.name), getattr(with_some, field.name))


def test_every_share_of_a_step_takes_its_own_first_frames():
    plan = _plan()
    parts = [plan.share(slice(i, i + 1)).first_frames for i in range(2)]
    for field in fields(plan.first_frames):
        joined = np.concatenate([getattr(part, field.name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(plan.first_frames, field.name))


def test_a_first_frame_has_no_past_and_the_noise_of_its_own_seed():
    generator = torch.Generator().manual_seed(0)
    batch = Batch(
        frames=torch.randint(0, 256, (3, 2, 8, 8, 3), dtype=torch.uint8, generator=generator),
        action=torch.ones((3, 1, 2)),
        reward=torch.ones((3, 1)),
        terminated=torch.ones((3, 1)),
        caption=torch.zeros((3, 1), dtype=torch.long),
        is_changed=torch.zeros(3, dtype=torch.bool),
        factors=torch.zeros((3, 1, 0)),
    )
    inputs = make_first_frames(batch, torch.ones((3, 1, 1), dtype=torch.long), Draws([5, 6, 7]))
    assert not inputs.previous.any()
    assert not inputs.action.any()
    assert (inputs.age == MAX_AGE + 1).all()
    assert torch.equal(inputs.target, batch.frames[:, 1:].movedim(-1, -3) / 127.5 - 1)
    one = Batch(**{field.name: getattr(batch, field.name)[1:2] for field in fields(Batch)})
    alone = make_first_frames(one, torch.ones((1, 1, 1), dtype=torch.long), Draws([6]))
    for name in ("noisy", "tau", "text"):
        assert torch.equal(getattr(alone, name), getattr(inputs, name)[1:2])


def test_what_the_denoiser_is_handed_comes_to_the_least_squares_estimate_of_a_whole_picture():
    tau = torch.tensor([[0.05], [0.5], [0.95]])
    noisy = torch.randn(3, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    seen = handed(noisy, tau, 0.2) * wiener(tau, 0.2)[:, :, None, None, None]
    torch.testing.assert_close(seen, noisy * wiener(tau, FIRST_FRAME_STD)[:, :, None, None, None])


def test_memory_is_counted_for_first_frames_too():
    spec = box_spec()
    sizes = {"num_frames": 1, "num_parameters": 1, "windows": 2, "length": 3, "shards": 1}
    without, with_some = (estimate(tiny(), spec, first_frames=number, **sizes) for number in (0, 3))
    assert 1.8 * without.kept < with_some.kept < 2.2 * without.kept
