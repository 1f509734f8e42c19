"""The bake-off of designs: what it says it compares is what it compares, and a killed run goes on."""

import json
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from worldsim.collect import collect
from worldsim.errors import CheckpointError, StoreError, WorldsimError
from worldsim.model import autocast
from worldsim.model.presets import tiny
from worldsim.train.draws import Draws

FOLDER = Path(__file__).parents[2] / "benchmarks" / "bakeoff"
sys.path.insert(0, str(FOLDER))

from arms import ARMS, DESIGNS, chosen  # noqa: E402
from design import NUM_CONTEXT  # noqa: E402
from judge import HORIZON, Clips, ceiling, copy_last, judge  # noqa: E402
from latent import Latent  # noqa: E402
from loop import Budget, Diverged, train_arm  # noqa: E402
from prototype import prototype  # noqa: E402
from run import main  # noqa: E402
from setting import open_setting  # noqa: E402
from speed import time_steps  # noqa: E402
from table import write_table  # noqa: E402
from trunk import Trunk  # noqa: E402
from unet import UNet, _preconditioning, _sigmas  # noqa: E402

ENV = "tests.collect.square_world:Square-v0"


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("square")
    for name, num, seed in (("train", 8, 0), ("val", 4, 100_000)):
        collect(ENV, num, folder / name, seed=seed, env_kwargs={"num_steps": 40})
    return folder / "train", folder / "val"


@pytest.fixture(scope="module")
def setting(stores):
    return open_setting(*stores, num_clips=6, num_episodes=None, progress=lambda share: None)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _make(name, setting):
    torch.manual_seed(0)
    return ARMS[name].make(setting.world, tiny())


def _shaken(design):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in design.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return design


def _inputs(design, setting, num_windows=2):
    batch = setting.data.take(setting.data.windows(12)[:num_windows], 12)
    text = design.text.features([english for english, _ in setting.data.captions])[batch.caption]
    return design.prepare(batch, text, Draws(range(num_windows)))


@pytest.mark.parametrize("name", ARMS)
def test_a_few_steps_on_one_batch_lower_the_loss_of_every_stage(name, setting):
    design = _make(name, setting)
    for stage in range(len(design.stages)):
        design.stage = stage
        inputs, num_frames = _inputs(design, setting)
        assert num_frames > 0
        optimizer = torch.optim.AdamW(design.parameters(), lr=5e-3 if "still" in name else 2e-3)
        values = []
        for _ in range(6):
            with autocast():
                loss = design.loss(inputs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            values.append(float(loss.detach()))
        # what cannot move pixels must first open its mask, which is nearly shut
        assert values[-1] < (0.999 if "still" in name else 0.99) * values[0]


@pytest.mark.parametrize("name", ARMS)
def test_an_action_changes_the_frame_it_leads_to_and_none_before(name, setting):
    design = _shaken(_make(name, setting))
    frames, action = setting.clips.frames[:2], setting.clips.action[:2]
    text, seeds = design.text.features([None, None]), torch.tensor([5, 6])

    @torch.inference_mode()
    def rollout(actions):
        state = design.begin(frames[:, :NUM_CONTEXT], action[:, : NUM_CONTEXT - 1], text, seeds)
        shown = []
        for t in range(4):
            state, now = design.step(state, actions[:, t])
            shown.append(now)
        return torch.stack(shown, dim=1)

    actions = action[:, NUM_CONTEXT - 1 :].clone()
    one, again = rollout(actions), rollout(actions)
    actions[:, 2] = 1 - 2 * (actions[:, 2] > 0).float()  # the other side
    other = rollout(actions)
    assert one.shape == (2, 4, 32, 32, 3) and one.dtype == torch.uint8
    assert torch.equal(one, again)
    assert torch.equal(one[:, :2], other[:, :2])
    assert not torch.equal(one[:, 2], other[:, 2])


def test_streaming_through_the_trunk_equals_the_whole_sequence():
    torch.manual_seed(0)
    trunk = _shaken(Trunk(tiny(), num_tokens=5, action_dim=2))
    x, tau, action, text = torch.randn(2, 9, 5, 32), torch.rand(2, 9), torch.randn(2, 9, 2), torch.randn(2, 9, 16)
    with torch.no_grad():
        whole, _ = trunk(x, tau, action, text, None)
        cache, parts = None, []
        for i in range(9):
            here = slice(i, i + 1)
            part, cache = trunk(x[:, here], tau[:, here], action[:, here], text[:, here], cache)
            parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-4)


def test_without_warp_no_pixel_ever_moves(setting):
    for warps in (True, False):
        design = prototype(setting.world, tiny(), warps=warps)
        optimizer = torch.optim.AdamW(design.parameters(), lr=1e-2)
        for _ in range(2):  # what paints is zero at first, so that offsets wait for the second step
            inputs, _ = _inputs(design, setting)
            optimizer.zero_grad()
            design.loss(inputs).backward()
            optimizer.step()
        offsets = design.denoiser.to_pixels.weight[: 2 * tiny().patch ** 2]
        assert bool(offsets.any()) == warps


def test_the_reference_has_the_published_size_and_noise_levels(setting):
    spec = replace(setting.world.spec, height=64, width=64)
    network = UNet(replace(setting.world, spec=spec), tiny()).network
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(4.4e6, rel=0.03)
    assert _sigmas()[0] == pytest.approx(5.0) and _sigmas()[-1] == pytest.approx(2e-3)
    assert len(_sigmas()) == 3


def test_what_the_reference_predicts_has_unit_variance_at_every_noise_level():
    torch.manual_seed(0)
    sigma = torch.tensor([0.01, 0.5, 5.0]).repeat_interleave(20_000)
    clean = 0.5 * torch.randn(len(sigma))  # of the standard deviation that the preconditioning supposes
    noisy = clean + sigma * torch.randn(len(sigma)) + 0.3 * torch.randn(len(sigma))
    scale_in, scale_skip, scale_out = (part.flatten() for part in _preconditioning(sigma))
    for level in sigma.unique():
        here = sigma == level
        assert float((scale_in * noisy)[here].std()) == pytest.approx(1, rel=0.03)
        assert float(((clean - scale_skip * noisy) / scale_out)[here].std()) == pytest.approx(1, rel=0.03)


def test_the_autoencoder_starts_as_principal_components_and_rests_in_the_second_stage(setting):
    few, many = (Latent(setting.world, tiny(), code_dim=dim, width=16) for dim in (2, 48))
    bounds = [ceiling(design, setting.clips).skill[0] for design in (few, many)]
    assert bounds[0] < bounds[1] and bounds[1] > 0.5
    many.stage = 1
    inputs, _ = _inputs(many, setting)
    many.loss(inputs).backward()
    assert all(p.grad is None for part in (many.encoder, many.decoder) for p in part.parameters())
    assert many.to_change.weight.grad is not None


class _Known(nn.Module):
    """Shows frames that it was given, those of the clip whose actions it follows."""

    def __init__(self, clips):
        super().__init__()
        self.clips, self.text = clips, type("Text", (), {"features": lambda self, texts: torch.zeros(len(texts), 1)})()

    def begin(self, frames, action, text, seeds):
        return 0

    def step(self, t, action):
        row = (self.clips.action[:, NUM_CONTEXT - 1 + t][None] - action[:, None]).abs().sum(dim=-1).argmin(dim=1)
        return t + 1, self.clips.frames[row, NUM_CONTEXT + t]


def test_the_judge_gives_one_to_the_truth_and_zero_to_the_last_frame(setting):
    clips = setting.clips
    assert clips.frames.shape[1] == NUM_CONTEXT + HORIZON
    naive = copy_last(clips)
    assert naive.skill == [0.0] * HORIZON and naive.skill_moving == [0.0] * HORIZON
    noisy = Clips(frames=clips.frames.clone(), action=clips.action, captions=clips.captions)
    noisy.frames[:, NUM_CONTEXT:, 0, 0, 0] ^= 64  # one pixel wrong
    scores = judge(_Known(noisy), clips)
    assert min(scores.skill) > 0.9 and max(scores.skill) < 1
    assert scores.action_shuffle_ratio > 2  # the frames follow the actions
    assert scores.sharpness[3] == pytest.approx(1, abs=0.1)


def _budget(**changes):
    return Budget(
        **{"minutes": 0.5, "learning_rate": 2e-3, "batch": 2, "report_s": 0.0, "save_s": 4.0, "num_looks": 2, **changes}
    )


def _ticking():
    ticks = count()
    return lambda: float(next(ticks))


def _train(name, setting, path, log=lambda line: None, **changes):
    design = _make(name, setting)
    features = design.text.features([english for english, _ in setting.data.captions])
    budget = _budget(**changes)
    return design, train_arm(design, setting.data, features, setting.clips, budget, path, log, _ticking())


def _lines(path):
    return [json.loads(line) for line in (path / "curve.jsonl").read_text().splitlines()]


def test_a_killed_run_goes_on_and_ends_at_the_same_bits(setting, tmp_path):
    whole, result = _train("latent", setting, tmp_path / "whole")
    assert result.step == 30 and result.frames_seen == 24 * 2 * 24  # 6 of 30 ticks are the autoencoder's

    class Killed(BaseException):
        pass

    def kill(line):
        if "| step 19 |" in line:  # nothing is saved on the way out, and lines behind the last save are there
            raise Killed

    with pytest.raises(Killed):
        _train("latent", setting, tmp_path / "parts", log=kill)
    saved = torch.load(tmp_path / "parts" / "state.pt", weights_only=True)["step"]
    assert saved < 19
    parts, again = _train("latent", setting, tmp_path / "parts")
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)
    assert again.scores == result.scores and again.ceiling == result.ceiling
    steps = [line["step"] for line in _lines(tmp_path / "parts") if line["kind"] == "loss"]
    assert steps == sorted(set(steps)) and steps[-1] == 30
    assert [line["kind"] for line in _lines(tmp_path / "parts")].count("ceiling") == 1
    assert list((tmp_path / "parts" / "strips").glob("*.png"))


def test_all_designs_see_the_same_windows(setting, tmp_path, monkeypatch):
    seen, take = {"patch16": [], "latent": []}, setting.data.take
    few = replace(setting, clips=setting.clips.every(6))
    for name, rows_of in seen.items():
        monkeypatch.setattr(
            setting.data, "take", lambda rows, length, kept=rows_of: kept.append(rows) or take(rows, length)
        )
        _train(name, few, tmp_path / name, minutes=0.05)
    assert len(seen["patch16"]) == 3
    assert np.array_equal(seen["patch16"], seen["latent"])


def test_a_loss_that_is_not_finite_ends_the_run_and_a_damaged_state_is_one_clear_error(setting, tmp_path):
    with pytest.raises(Diverged, match="not finite at a learning rate of 1e\\+30"):
        _train("patch8", setting, tmp_path / "wild", learning_rate=1e30)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "state.pt").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(CheckpointError, match="damaged"):
        _train("patch8", setting, tmp_path / "torn")


def test_every_design_is_timed(setting):
    designs = {name: _make(name, setting) for name in ("patch8", "unet")}
    spent = time_steps(designs, 2, 2, setting.world.spec)
    assert set(spent) == set(designs) and min(spent.values()) > 0


def _bake(monkeypatch, stores, out, *more):
    train, val = stores
    words = ["run.py", "--data", train, "--val", val, "--minutes", "0.01", "--threads", "1", "--clips", "4", "-o", out]
    monkeypatch.setattr(sys, "argv", [str(word) for word in [*words, *more]])
    return main()


def test_the_command_bakes_goes_on_and_writes_its_table(stores, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    out.mkdir()
    rows = {name: {"parameters": 1e6, "fps_1": 20.0, "fps_64": 60.0} for name in ARMS}
    rows["unet"] |= {"fps_1": 5.0, "fps_64": 10.0}
    (out / "speed.json").write_text(json.dumps({"threads": 1, "rows": rows}))
    assert _bake(monkeypatch, stores, out, "--arms", "patch16") == 0
    table = (out / "table.md").read_text()
    assert "| copy-last |" in table and "| patch16 | done | " in table and "20.0 (4.0x) | 60.0 (6.0x)" in table
    (row,) = json.loads((out / "results.json").read_text())["rows"]
    assert row["learning_rate"] == 1e-3 and len(row["scores"]["skill"]) == HORIZON
    capsys.readouterr()
    assert _bake(monkeypatch, stores, out, "--arms", "patch16") == 0
    assert "patch16 is done" in capsys.readouterr().out
    assert _bake(monkeypatch, stores, out, "--arms", "patch16", "--seed", "1") == 2
    assert "was begun with seed 0" in capsys.readouterr().err
    assert _bake(monkeypatch, stores, out, "--arms", "patch9") == 2
    assert "no arm patch9" in capsys.readouterr().err


def test_latents_whose_round_trip_is_too_poor_have_failed(setting, tmp_path):
    naive = vars(copy_last(setting.clips))
    settings = {"minutes": 1, "threads": 1, "clips": 6, "seed": 0}
    for bound, state in ((0.84, "failed: round trip below 0.85"), (0.86, "done")):
        (tmp_path / "latent").mkdir(exist_ok=True)
        (tmp_path / "bakeoff.json").write_text(json.dumps(settings))
        result = {"scores": naive, "ceiling": {**naive, "skill": [bound] * HORIZON}, "failed": None}
        (tmp_path / "latent" / "result.json").write_text(json.dumps(result))
        assert f"| latent | {state} |" in write_table(tmp_path)


def test_held_out_seeds_must_not_be_trained_on(stores):
    with pytest.raises(StoreError, match="share 8 env seeds"):
        open_setting(stores[0], stores[0], num_clips=4, num_episodes=None, progress=lambda share: None)


def test_all_means_the_six_designs_of_the_first_round():
    assert chosen("all") == list(DESIGNS) and len(DESIGNS) == 6
    assert chosen("patch8, unet") == ["patch8", "unet"]
    with pytest.raises(WorldsimError, match="choose all or some of patch8"):
        chosen("")
