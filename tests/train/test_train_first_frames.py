"""What draws a model's first frames is trained behind it, from frames and their captions alone."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import worldsim
from tests.train.wall_world import COLOURS
from worldsim.cli import run as run_cli
from worldsim.collect import collect
from worldsim.errors import CheckpointError, EnvError, StoreError, WorldsimError
from worldsim.model import FirstFrameNet, encode_starts, new_first_frames, save, tiny_first_frames
from worldsim.model.networks import from_pixels
from worldsim.store import RolloutStore
from worldsim.train import FirstFrameTrainConfig, TrainConfig, train, train_first_frames
from worldsim.train.budget import hold
from worldsim.train.first_frames import _Trainer
from worldsim.train.inherit import inherit_first_frames, inherit_told

QUICK = FirstFrameTrainConfig(
    network=tiny_first_frames(),
    batch=16,
    report_s=0.0,
    validate_s=1e9,
    save_s=1e9,
    learning_rate=3e-3,
    warmup_steps=5,
    ema=0.95,
)
STEPS = 300


def quiet(line):
    return None


@pytest.fixture(scope="module")
def store_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("walls") / "store"
    collect("tests.train.wall_world:Wall-v0", 24, path, seed=0)
    return path


@pytest.fixture(scope="module")
def parent(store_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("parents") / "wall"
    train(store_path, path, preset="tiny", steps=1, config=TrainConfig(batch=2, length=4), log=quiet)
    return path


@pytest.fixture(scope="module")
def run(parent, store_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    train_first_frames(parent, store_path, path, steps=STEPS, config=QUICK, log=quiet)
    return path


def test_a_text_says_what_first_frames_show_and_the_world_model_is_the_same(run, parent):
    losses = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in losses if line["kind"] == "loss"]
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    model, before = worldsim.load(run), worldsim.load(parent)
    assert model.is_trained_for_first_frames
    assert (model.name, model.sha, len(model.starts)) == ("run", before.sha, len(before.starts))
    for prompt, wall in (("a bright wall", "bright"), ("墙很昏暗", "dark")):
        frames = model.first_frames([prompt] * 16, range(16))  # (16, H, W, 3)
        colour = np.median(frames, axis=(1, 2))  # (16, 3)
        other = "dark" if wall == "bright" else "bright"
        near, far = (np.abs(colour - COLOURS[name]).mean(axis=1) for name in (wall, other))
        assert (near < far).mean() > 0.8
    lamp = frames[:, 12:20, :, 0].max(axis=(1, 2))
    assert (lamp > 60).mean() > 0.8  # before a wall of 20
    assert list((run / "strips").glob("*.png"))
    card = json.loads((run / "checkpoint" / "first-frames" / "config.json").read_text())
    assert card["model_sha"] == before.sha
    assert card["training"]["frames_seen"] == STEPS * 16
    assert card["card"]["seeds"]["max"] == 23


def test_it_repaints_a_wall_and_knows_that_dark_is_not_bright(run, store_path):
    model = worldsim.load(run)
    told = {"bright": "a bright wall", "dark": "a dark wall"}
    assert model.retold(told["bright"], "dark").split(", ") == ["dark", "a wall"]
    rollout = RolloutStore.open(store_path).episode(0)
    was = "bright" if "bright" in rollout.caption[0].en else "dark"
    wanted = "dark" if was == "bright" else "bright"
    edited = model.edit(rollout.obs[None, :4], [wanted], seeds=[0], told=[told[was]], guidance=1.0)[0]
    for frame, before in zip(edited, rollout.obs[:4], strict=True):
        colour, old = np.median(frame, axis=(0, 1)), np.median(before, axis=(0, 1))
        far = np.abs(COLOURS[wanted] - old).mean()
        assert np.abs(COLOURS[wanted] - colour).mean() < 0.5 * far


def test_a_stopped_run_goes_on_to_the_same_bits(parent, store_path, tmp_path):
    def stop_at_6(line):
        if line.startswith("step 6 "):
            raise KeyboardInterrupt

    train_first_frames(parent, store_path, tmp_path / "whole", steps=12, config=QUICK, log=quiet)
    with pytest.raises(KeyboardInterrupt):
        train_first_frames(parent, store_path, tmp_path / "parts", steps=12, config=QUICK, log=stop_at_6)
    assert worldsim.load(tmp_path / "parts").is_trained_for_first_frames
    train_first_frames(parent, store_path, tmp_path / "parts", steps=12, resume=True, config=QUICK, log=quiet)
    whole, parts = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts"))
    assert all(torch.equal(whole["net"][name], parts["net"][name]) for name in whole["net"])
    assert all(torch.equal(whole["average"][name], parts["average"][name]) for name in whole["average"])
    other = replace(QUICK, network=replace(tiny_first_frames(), depth=1))
    with pytest.raises(CheckpointError, match="was begun for the model"):
        train_first_frames(parent, store_path, tmp_path / "parts", steps=20, resume=True, config=other, log=quiet)


def test_larger_frames_begin_with_the_weights_of_smaller_ones(run, parent):
    small = worldsim.load(run)
    net = small.first_frame_net
    config, sizes = replace(net.config, patch=16, codes=20), {"height": 64, "width": 64}
    sizes["condition_dim"] = net.tell.in_features
    large = FirstFrameNet(config, **sizes)
    inherit_first_frames(large, small, small)
    for mine, theirs in zip(large.blocks.parameters(), net.blocks.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(large.tell.weight, FirstFrameNet(config, **sizes).tell.weight)
    twice = FirstFrameNet(replace(net.config, enlarge=2), **sizes)
    source = inherit_first_frames(twice, small, small)
    turn = torch.linalg.qr(torch.randn(len(net.told_mean), len(net.told_mean)))[0]
    theirs = torch.randn(500, len(turn))
    inherit_told(twice, theirs @ turn, source, theirs)  # another world model that encodes the same in other directions
    noise, tau = torch.randn(500, *net.codes.shape), torch.rand(500)
    torch.testing.assert_close(net(noise, tau, theirs), twice(noise, tau, theirs @ turn), atol=2e-2, rtol=2e-2)
    assert torch.equal(twice.codes.basis, net.codes.basis)
    with pytest.raises(CheckpointError, match=r"position has the shape \(16, 32\), wanted \(64, 32\)"):
        inherit_first_frames(FirstFrameNet(replace(config, patch=8), **sizes), small, small)
    with pytest.raises(CheckpointError, match="draws no first frames"):
        inherit_first_frames(large, small, worldsim.load(parent))


def test_a_child_says_whose_weights_it_began_with(parent, run, store_path, tmp_path):
    train_first_frames(parent, store_path, tmp_path, steps=1, init=run, config=QUICK, log=quiet)
    train_first_frames(parent, store_path, tmp_path, steps=2, resume=True, config=QUICK, log=quiet)
    card = json.loads((tmp_path / "checkpoint" / "first-frames" / "config.json").read_text())
    weights = (run / "checkpoint" / "first-frames" / "model.safetensors").read_bytes()
    assert card["init_sha"] == hashlib.sha256(weights).hexdigest()[:12]
    assert json.loads((run / "checkpoint" / "first-frames" / "config.json").read_text())["init_sha"] is None


def test_plain_words_are_heard_where_the_world_model_hears_nothing(store_path, tmp_path):
    collect("tests.train.wall_world:Wall-v0", 4, tmp_path / "few", seed=0)
    train(tmp_path / "few", tmp_path / "deaf", preset="tiny", steps=1, config=TrainConfig(batch=2, length=4), log=quiet)
    deaf = worldsim.load(tmp_path / "deaf")
    with torch.no_grad():
        for parameter in deaf.networks.text.mix.parameters():
            parameter.zero_()
    checkpoint = tmp_path / "deaf" / "checkpoint"
    whole = json.loads((checkpoint / "config.json").read_text())
    save(
        checkpoint,
        deaf.networks,
        config=deaf.config,
        spec=deaf.spec,
        starts=encode_starts(deaf.starts),
        card=deaf.card,
        metrics={},
        meta={"git_sha": whole["git_sha"]},
    )
    config = replace(QUICK, network=replace(tiny_first_frames(), words=True))
    train_first_frames(checkpoint, store_path, tmp_path / "run", steps=STEPS, config=config, log=quiet)
    model = worldsim.load(tmp_path / "run")
    assert not model.encode_text(["a dark wall"]).any()
    for prompts in (("a bright wall", "a dark wall"), ("墙很明亮", "墙很昏暗")):
        bright, dark = (model.first_frames([prompt] * 16, range(16)).mean() for prompt in prompts)
        assert bright > dark + 20
    child = new_first_frames(model.networks, config.network)
    inherit_first_frames(child, model, model)
    assert torch.equal(child.hear.weight, model.first_frame_net.hear.weight)


@pytest.mark.parametrize("times", [1, 2])
def test_frames_are_finished_better_than_by_hand(parent, store_path, tmp_path, times):
    config = replace(QUICK, network=replace(tiny_first_frames(), enlarge=times, enlarge_dim=16, refine=True))
    train_first_frames(parent, store_path, tmp_path, steps=150, config=config, log=quiet)
    model = worldsim.load(tmp_path)
    frames = torch.from_numpy(np.stack([start.frames[-1] for start in model.starts]))
    assert model.first_frames(["a dark wall"], [0]).shape == (1, *frames.shape[1:])
    net, true = model.first_frame_net, from_pixels(frames)
    codes = net.encode(frames)
    codes = codes + 0.2 * torch.randn(codes.shape, generator=torch.Generator().manual_seed(0))  # as drawn ones are
    with torch.no_grad():
        made, plain = net.decode(codes), F.interpolate(net.codes.decode(codes), scale_factor=times, mode="bilinear")
    assert (made - true).abs().mean() < 0.8 * (plain - true).abs().mean()


def test_what_cannot_be_learned_from_is_one_clear_error(parent, store_path, tmp_path, capsys):
    with pytest.raises(EnvError, match="cannot begin from text alone"):
        worldsim.load(parent).first_frames(["a dark wall"], [0])
    with pytest.raises(StoreError, match=r"frames of 64x64 \(height x width\); the store has 32x32"):
        train_first_frames("city-64", store_path, tmp_path / "a", steps=2, config=QUICK, log=quiet)
    collect("tests.train.wall_world:Wall-v0", 2, tmp_path / "mute", seed=0, env_kwargs={"mute": True})
    with pytest.raises(StoreError, match="no captions"):
        train_first_frames(parent, tmp_path / "mute", tmp_path / "b", steps=2, config=QUICK, log=quiet)
    with pytest.raises(StoreError, match="held-out episodes have no captions"):
        train_first_frames(parent, store_path, tmp_path / "b", steps=2, val=tmp_path / "mute", log=quiet)
    with pytest.raises(WorldsimError, match="a number above 0"):
        train_first_frames(parent, store_path, tmp_path / "c", minutes=-1.0, log=quiet)
    collect("tests.collect.square_world:Square-v0", 2, tmp_path / "squares", seed=0)
    with pytest.raises(StoreError, match=r"imagines \S*Wall-v0; the store is of \S*Square-v0"):
        train_first_frames(parent, tmp_path / "squares", tmp_path / "c", steps=2, config=QUICK, log=quiet)
    assert not list(tmp_path.glob("[abc]"))
    assert run_cli(["train-first-frames", str(store_path), "--model", str(parent), "-o", str(tmp_path / "d")]) == 2
    assert "either --minutes or --steps" in capsys.readouterr().err


def test_ctrl_c_in_the_last_look_loses_no_step(parent, store_path, tmp_path, monkeypatch):
    validate, out = _Trainer.validate, tmp_path / "run"

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(_Trainer, "validate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_first_frames(parent, store_path, out, steps=4, config=QUICK, log=quiet)
    assert torch.load(out / "state.pt", weights_only=True)["step"] == 4
    assert worldsim.load(out).is_trained_for_first_frames
    monkeypatch.setattr(_Trainer, "validate", validate)
    train_first_frames(parent, store_path, out, steps=4, resume=True, config=QUICK, log=quiet)
    assert json.loads((out / "checkpoint" / "first-frames" / "metrics.json").read_text())["validation"]


def test_a_run_is_of_one_process_one_kind_and_one_model(parent, run, store_path, tmp_path):
    again = {"steps": 2, "config": QUICK, "log": quiet}
    with hold(tmp_path / "held"), pytest.raises(WorldsimError, match="another process is training in"):
        train_first_frames(parent, store_path, tmp_path / "held", **again)
    with pytest.raises(CheckpointError, match="holds a run of a world model, not of first frames"):
        train_first_frames(parent, store_path, parent, resume=True, **again)
    with pytest.raises(CheckpointError, match="holds a run of first frames, not of a world model"):
        train(store_path, run, preset="tiny", steps=2, resume=True, log=quiet)
    copied = tmp_path / "copied"
    shutil.copytree(run, copied)
    (copied / "state.pt").unlink()
    for begin in (lambda: train_first_frames(parent, store_path, copied, **again), lambda: _train(store_path, copied)):
        with pytest.raises(WorldsimError, match="already holds a checkpoint"):
            begin()
    config = copied / "checkpoint" / "first-frames" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "model_sha": "0123456789ab"}))
    with pytest.raises(CheckpointError, match="was trained behind the world model 0123456789ab"):
        worldsim.load(copied)


def test_a_resumed_run_says_that_the_store_has_grown(parent, tmp_path):
    said = []
    collect("tests.train.wall_world:Wall-v0", 4, tmp_path / "store", seed=0)
    train_first_frames(parent, tmp_path / "store", tmp_path / "run", steps=2, seed=-1, config=QUICK, log=quiet)
    collect("tests.train.wall_world:Wall-v0", 8, tmp_path / "store", seed=0)
    more = {"steps": 3, "seed": -1, "resume": True, "config": QUICK}
    train_first_frames(parent, tmp_path / "store", tmp_path / "run", **more, log=said.append)
    assert "episodes 3 -> 7" in next(line for line in said if line.startswith("resumed otherwise"))


def _train(store_path, out):
    train(store_path, out, preset="tiny", steps=1, config=TrainConfig(batch=2, length=4), log=quiet)


def test_the_command_writes_a_checkpoint_that_loads(parent, store_path, tmp_path):
    out = tmp_path / "run"
    arguments = ["train-first-frames", str(store_path), "--model", str(parent), "-o", str(out), "--steps", "2"]
    assert run_cli([*arguments, "--json", str(tmp_path / "result.json")]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    model = worldsim.load(result["checkpoint"])
    assert result["model_sha"] == model.sha
    assert model.first_frames(["a dark wall"], [0]).shape == (1, 32, 32, 3)
