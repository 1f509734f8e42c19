"""What a training can be asked for: choices as actions, factors, mirrors, other text encoders, events."""

import sys

import gymnasium as gym
import numpy as np
import pytest
import torch

import worldsim
from tests.model.helpers import box_spec, shaken_model, some_context
from worldsim.collect import collect
from worldsim.errors import CheckpointError, EnvError, MissingExtraError, StoreError, WorldsimError
from worldsim.model import ModelSpec, encode_factors
from worldsim.model.presets import tiny
from worldsim.store import RolloutStore
from worldsim.train import TrainConfig, train
from worldsim.train.data import action_numbers, factor_ranges
from worldsim.train.draws import Draws
from worldsim.train.memory import MemoryNeed, check_fits, estimate, free_bytes, held_bytes, kept_bytes
from worldsim.train.optimizer import Optimizer

QUICK = {"batch": 2, "length": 6, "report_s": 0.0, "validate_s": 1e9, "save_s": 1e9}


def lamps(kind, path, episodes=4):
    collect(f"tests.train.lamp_world:{kind}Lamps-v0", episodes, path, seed=0)
    return path


@pytest.fixture(scope="module")
def store_path(tmp_path_factory):
    return lamps("One", tmp_path_factory.mktemp("lamps") / "store")


@pytest.mark.parametrize("kind", ["One", "Two"])
def test_a_world_of_choices_is_collected_trained_and_dreamt(tmp_path, kind):
    env_id = f"tests.train.lamp_world:{kind}Lamps-v0"
    store = lamps(kind, tmp_path / "store")
    train(store, tmp_path / "run", preset="tiny", steps=2, config=TrainConfig(**QUICK), log=lambda line: None)
    env = gym.make("worldsim/Dream-v0", model=str(tmp_path / "run"))
    truth = gym.make(env_id, disable_env_checker=True)
    assert env.action_space == truth.action_space
    assert env.observation_space == truth.observation_space
    obs, _ = env.reset(seed=0)
    obs = env.step(env.action_space.sample())[0]
    assert obs.shape == (40, 50, 3)


def test_a_model_can_be_told_the_factors_it_was_trained_with(store_path, tmp_path):
    config = TrainConfig(**QUICK, factors=("volt",))
    train(store_path, tmp_path / "run", preset="tiny", steps=2, config=config, log=lambda line: None)
    model = worldsim.load(tmp_path / "run")
    volts = [RolloutStore.open(store_path).info(i).variation["volt"] for i in range(4)]
    assert (model.spec.factor_names, model.spec.factor_low) == (("volt",), (min(volts),))
    model.networks.denoiser.embed_text.weight.normal_()  # two steps teach it too little to show
    start = model.starts[0]
    state = model.encode(
        start.frames[None].repeat(2, 0), start.actions[None].repeat(2, 0), prompts=["lamps"] * 2, seeds=[0, 0]
    )
    told = model.set_factors(state, [{"volt": 12.0}] * 2, [True, False])
    prompted = model.set_prompt(told, [None, None])
    assert torch.equal(prompted.text[:, tiny().text_dim :], told.text[:, tiny().text_dim :])
    frames = model.step(told, np.array([1, 1]))[1].frames
    plain = model.step(state, np.array([1, 1]))[1].frames
    assert np.array_equal(frames[1], plain[1])
    assert not np.array_equal(frames[0], plain[0])
    env = gym.make("worldsim/Dream-v0", model=model)
    seen = [env.reset(seed=0, options={"variation": told} if told else {})[0] for told in (None, {"volt": 12.0})]
    assert np.array_equal(*seen)  # the start is a true frame; what is told shows from the first step on
    with pytest.raises(EnvError, match="knows no factor 'weather'"):
        env.reset(options={"variation": {"weather": 1}})
    with pytest.raises(EnvError, match="knows no factor 'gravity'; it knows volt"):
        model.set_factors(state, [{"gravity": 9.8}] * 2)
    with pytest.raises(EnvError, match="must be a number"):
        model.set_factors(state, [{"volt": "high"}] * 2)


def test_a_resumed_run_is_told_factors_on_the_scale_that_it_began_with(tmp_path):
    store, config, said = lamps("One", tmp_path / "store"), TrainConfig(**QUICK, factors=("volt",)), []
    train(store, tmp_path / "run", preset="tiny", steps=1, config=config, log=said.append)
    assert "shuffle of one window none" in said[-2]  # 4 episodes: one is held out
    before = worldsim.load(tmp_path / "run").spec
    lamps("One", store, episodes=12)
    wider = factor_ranges(RolloutStore.open(store), ["volt"])
    assert (wider["factor_low"], wider["factor_high"]) != (before.factor_low, before.factor_high)
    train(store, tmp_path / "run", preset="tiny", steps=2, config=config, resume=True, log=said.append)
    assert worldsim.load(tmp_path / "run").spec == before


def test_a_factor_must_be_a_number_that_differs(store_path):
    store = RolloutStore.open(store_path)
    with pytest.raises(StoreError, match=r"'lamps' must be a number.*vary in lamps, volt"):
        factor_ranges(store, ["lamps"])
    with pytest.raises(StoreError, match="'gravity' must be a number"):
        factor_ranges(store, ["gravity"])
    assert factor_ranges(store, []) == {"factor_names": (), "factor_low": (), "factor_high": ()}


def test_a_factor_is_scaled_and_marked_as_given():
    spec = box_spec(factor_names=("gravity", "friction"), factor_low=(0.0, 0.0), factor_high=(10.0, 1.0))
    assert encode_factors(spec, [{"gravity": 10.0}, None]).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]


def test_a_model_without_factors_is_told_none():
    model = shaken_model()
    frames, actions = some_context(model.spec, 1, 4)
    with pytest.raises(EnvError, match="knows none"):
        model.encode(frames, actions, prompts=[None], seeds=[0], factors=[{"gravity": 1.0}])


def test_mirrored_actions_are_named_or_numbered():
    spec = box_spec(action_low=(-1.0, 0.0))
    assert action_numbers(spec, ["a"]) == action_numbers(spec, [0]) == action_numbers(spec, ["0"]) == (0,)
    with pytest.raises(WorldsimError, match="no action 'steer'; name one of a, b"):
        action_numbers(spec, ["steer"])
    with pytest.raises(WorldsimError, match="not the same to both sides"):
        action_numbers(spec, ["b"])
    choices = ModelSpec(height=32, width=32, action_kind="discrete", action_counts=(3,))
    with pytest.raises(WorldsimError, match="Box"):
        action_numbers(choices, ["a"])


def test_a_window_draws_the_same_in_any_company():
    whole, part = Draws([3, 4, 5]), Draws([4])
    for draw in ("normal", "uniform", "normal"):
        assert torch.equal(getattr(whole, draw)(2, 3)[1], getattr(part, draw)(2, 3)[0])


def test_memory_is_counted_per_window_and_per_process():
    spec = box_spec(height=64, width=64)
    more = {"num_frames": 100, "num_parameters": 1000, "length": 4}
    one = estimate(tiny(), spec, windows=1, shards=1, **more)
    other = estimate(tiny(), spec, windows=3, shards=2, **more)
    assert one.frames == other.frames == 100 * 64 * 64 * 3
    assert other.kept == 3 * one.kept
    assert one.network == 2 * other.network == 20_000
    assert kept_bytes(tiny(), spec, 8) > 1.8 * one.kept
    assert "GiB" in one.line()


def test_a_cache_of_files_counts_as_free(tmp_path, monkeypatch):
    said = "MemTotal:  99 kB\nMemFree:   1 kB\nMemAvailable:    900000000000 kB\nBuffers: 7 kB\n"
    (tmp_path / "meminfo").write_text(said)
    monkeypatch.setattr("worldsim.train.memory._MEMINFO", tmp_path / "meminfo")
    assert free_bytes(torch.device("cpu")) == (1024 * 900_000_000_000,) * 2
    (tmp_path / "meminfo").unlink()
    assert 0 < free_bytes(torch.device("cpu"))[0] < 1024 * 900_000_000_000


def test_what_does_not_fit_is_refused_with_both_figures():
    said, cpu = [], torch.device("cpu")
    free, _ = free_bytes(cpu)
    fits = MemoryNeed(frames=free // 10, network=1000, kept=1000)
    check_fits(fits, cpu, processes=1, log=said.append)
    assert len(said) == 1 and "GiB are free" in said[0]
    with pytest.raises(WorldsimError, match=r"needs [\d.]+ GiB of memory and [\d.]+ GiB are free; use a smaller store"):
        check_fits(fits, cpu, processes=11, log=said.append)
    assert "11 such processes here" in said[1]


def test_the_most_memory_held_is_that_of_this_process():
    block = torch.ones(50, 2**20)  # 0.2 GB, written
    assert block.nbytes < held_bytes(torch.device("cpu")) < 2**40


def test_a_batch_that_cannot_be_shared_out_is_refused(store_path, tmp_path):
    config = TrainConfig(**{**QUICK, "batch": 6, "accumulate": 4})
    with pytest.raises(WorldsimError, match="make batch a multiple of 4"):
        train(store_path, tmp_path / "run", preset="tiny", steps=1, config=config, log=lambda line: None)
    config = TrainConfig(**QUICK, shard=True)
    with pytest.raises(WorldsimError, match="torchrun"):
        train(store_path, tmp_path / "run", preset="tiny", steps=1, config=config, log=lambda line: None)


def test_figures_are_also_written_as_events(store_path, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = TrainConfig(**QUICK, tensorboard=True)
    train(store_path, tmp_path / "run", preset="tiny", steps=3, config=config, log=lambda line: None)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss/total")] == [1, 2, 3]
    assert "validation/skill_1" in events.Tags()["scalars"]
    assert events.Tags()["images"] == ["strip"]


def test_events_without_tensorboard_name_the_extra(store_path, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    config = TrainConfig(**QUICK, tensorboard=True)
    with pytest.raises(MissingExtraError, match=r"\[tensorboard\]"):
        train(store_path, tmp_path / "run", preset="tiny", steps=1, config=config, log=lambda line: None)


def test_another_text_encoder_cannot_resume_a_run(store_path, tmp_path):
    train(store_path, tmp_path / "run", preset="tiny", steps=1, config=TrainConfig(**QUICK), log=lambda line: None)
    options = {"steps": 2, "resume": True, "config": TrainConfig(**QUICK, text_encoder="sentence")}
    with pytest.raises(CheckpointError, match="text encoder"):
        train(store_path, tmp_path / "run", preset="tiny", **options, log=lambda line: None)


def test_what_a_resumed_run_does_otherwise_is_said_and_what_it_cannot_do_is_refused(tmp_path):
    store, run, lines = lamps("One", tmp_path / "store", 3), tmp_path / "run", []
    config = {**QUICK, "factors": ("volt",)}
    train(store, run, preset="tiny", steps=1, config=TrainConfig(**config), log=lambda line: None)
    with pytest.raises(CheckpointError, match="begun with other factors"):
        train(store, run, preset="tiny", steps=2, resume=True, config=TrainConfig(**QUICK), log=lambda line: None)
    train(store, run, preset="tiny", steps=2, resume=True, config=TrainConfig(**config), log=lines.append)
    assert not any("otherwise" in line for line in lines)
    lamps("One", store, 4)
    other = TrainConfig(**{**config, "batch": 4, "save_s": 1.0, "critic_share": 0.0, "weight_decay": 0.2})
    train(store, run, preset="tiny", steps=3, seed=1, resume=True, config=other, log=lines.append)
    (told,) = [line for line in lines if "otherwise" in line]
    assert set(told.partition(": ")[2].split(", ")) == {
        "seed 0 -> 1",
        "batch 2 -> 4",
        "critic_share 0.6 -> 0.0",
        "weight_decay 0.01 -> 0.2",
        "episodes 3 -> 4",
    }
    groups = torch.load(run / "state.pt", weights_only=True)["optimizer"]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.2, 0.0, 0.2]
    adamw = TrainConfig(**config, muon_rate=0.0)
    with pytest.raises(CheckpointError, match=r"begun with muon_rate=2\.5"):
        train(store, run, preset="tiny", steps=4, resume=True, config=adamw, log=lambda line: None)


def test_matrices_of_blocks_take_orthogonal_steps_and_all_else_adamws():
    networks = torch.nn.ModuleDict({"blocks": torch.nn.Linear(16, 48), "out": torch.nn.Linear(16, 48)})
    optimizer = Optimizer(networks, rate=1e-3, decay=0.0, muon_rate=2.0)
    before = {name: value.detach().clone() for name, value in networks.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    for value in networks.parameters():
        value.grad = torch.randn(value.shape, generator=generator) * torch.logspace(-3, 0, value.shape[-1])
    optimizer.set_rate(5e-4)
    optimizer.step()
    moved = {name: value.detach() - before[name] for name, value in networks.named_parameters()}
    directions = torch.linalg.svdvals(moved["blocks.weight"])
    given = torch.linalg.svdvals(networks["blocks"].weight.grad)
    assert given.max() > 500 * given.min()
    assert directions.max() < 10 * directions.min()
    assert moved["blocks.weight"].square().mean().sqrt() == pytest.approx(2 * 0.2 * 5e-4, rel=0.3)
    for name in ("out.weight", "out.bias", "blocks.bias"):
        torch.testing.assert_close(moved[name].abs(), torch.full_like(moved[name], 5e-4), rtol=1e-3, atol=0)
    all_adamw = Optimizer(networks, rate=1e-3, decay=0.1, muon_rate=0.0, undecayed=("out",))
    assert [len(group["params"]) for group in all_adamw.param_groups] == [1, 3]
