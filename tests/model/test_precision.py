"""The processor decides in which numbers a network computes, and what it computes is the same world in both."""

import copy

import numpy as np
import pytest
import torch

import worldsim
from tests.model.helpers import shaken_model, some_context
from worldsim.errors import WorldsimError
from worldsim.model import PRECISION_VARIABLE, WorldState, autocast, compute_dtype
from worldsim.train.optimizer import Optimizer

BOTH = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch):
    monkeypatch.delenv(PRECISION_VARIABLE, raising=False)


@pytest.mark.parametrize("has", [True, False])
def test_a_processor_without_the_instructions_computes_in_float32(monkeypatch, has):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    assert compute_dtype() == (torch.bfloat16 if has else torch.float32)
    with autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == compute_dtype()
    monkeypatch.setenv(PRECISION_VARIABLE, "float32" if has else "bfloat16")
    assert compute_dtype() == (torch.float32 if has else torch.bfloat16)


def test_an_unknown_precision_is_an_error_that_names_the_known_ones(monkeypatch):
    monkeypatch.setenv(PRECISION_VARIABLE, "half")
    with pytest.raises(WorldsimError, match="WORLDSIM_PRECISION is auto, float32 or bfloat16; got 'half'"):
        compute_dtype()


def test_both_imagine_the_same_drive_but_for_rounding(monkeypatch):
    start = worldsim.load("city-64").starts[0]
    actions = np.tile(np.float32([0.3, 0.4]), (1, 8, 1))
    frames = {}
    for name, dtype in BOTH.items():
        monkeypatch.setenv(PRECISION_VARIABLE, name)
        model = worldsim.load("city-64")
        assert model.dtype == dtype
        state = model.encode(start.frames[None], start.actions[None], prompts=[start.caption.en], seeds=[0])
        assert state.cache.dtype == dtype
        frames[name] = model.rollout(state, actions)[1].frames[0].astype(float)
    apart = np.abs(frames["bfloat16"] - frames["float32"]).mean(axis=(1, 2, 3))
    moved = np.abs(frames["float32"][-1] - start.frames[-1]).mean()
    assert apart[0] < 0.25  # levels
    assert apart.max() < 0.1 * moved


@pytest.mark.parametrize("name", BOTH)
def test_a_state_goes_on_where_another_precision_saved_it(monkeypatch, name):
    (other,) = set(BOTH) - {name}
    states = {}
    for which in (name, other):
        monkeypatch.setenv(PRECISION_VARIABLE, which)
        model = shaken_model()
        frames, actions = some_context(model.spec, 2, 4)
        states[which] = model.encode(frames, actions, prompts=[None] * 2, seeds=[0, 1])
    foreign = WorldState.from_bytes(states[name].to_bytes())
    results = [model.step(state, actions[:, 0])[1].pixels.numpy().astype(int) for state in (foreign, states[other])]
    assert np.abs(results[0] - results[1]).mean() < 1
    mixed = WorldState.cat([states[other].take([0]), foreign.take([1])])
    both = model.step(mixed, actions[:, 0])[1].pixels.numpy().astype(int)
    assert np.abs(both - results[1]).mean() < 1


@pytest.mark.parametrize("shape", [(24, 8), (8, 24)])
def test_muon_takes_the_same_step_in_float32_but_for_rounding(monkeypatch, shape):
    generator = torch.Generator().manual_seed(0)
    net = torch.nn.Module()
    net.blocks = torch.nn.ModuleList([torch.nn.Linear(*shape)])
    gradients = [torch.randn(shape[::-1], generator=generator) for _ in range(3)]
    after = {}
    for name in BOTH:
        monkeypatch.setenv(PRECISION_VARIABLE, name)
        trained = copy.deepcopy(net)
        weight = trained.blocks[0].weight
        optimizer = Optimizer(trained, rate=1e-2, decay=0.1, muon_rate=2.0)
        for gradient in gradients:
            weight.grad = gradient.clone()
            optimizer.step()
        after[name] = weight.detach() - net.blocks[0].weight.detach()
    step = after["float32"].abs().mean()
    assert step > 2e-3
    assert (after["bfloat16"] - after["float32"]).abs().mean() < 0.03 * step
