"""The flow behind own frames is led by the flow behind true ones."""

from dataclasses import replace

import pytest
import torch

from tests.model.helpers import shaken_model
from tests.train.test_windows_of_training import _batch
from worldsim.model.denoiser import MAX_AGE
from worldsim.train.draws import Draws
from worldsim.train.objective import Objective, losses, make_inputs
from worldsim.train.rollout_context import with_guide, with_own_frames


def _setup(steps=6):
    networks = shaken_model().networks.float()
    for parameter in networks.parameters():
        parameter.requires_grad_(True)
    tokens = torch.zeros(3, steps, 1, dtype=torch.long)
    inputs = make_inputs(_batch(steps=steps), tokens, Draws([0, 1, 2]), pure=True)
    return networks, inputs, networks.condition(inputs.text, inputs.factors).detach()


def test_the_guide_is_the_flow_behind_true_frames():
    networks, inputs, text = _setup()
    guided = with_guide(networks.denoiser, inputs, text, 2)
    rest = slice(2, None)
    with torch.no_grad():
        seen = networks.denoiser(
            None,
            inputs.tau[:, rest],
            inputs.previous[:, rest],
            inputs.action[:, rest],
            inputs.age[:, rest],
            text[:, rest],
        )
    assert seen.flow.abs().mean() > 0.01
    torch.testing.assert_close(guided.guide[:, rest], seen.flow)
    assert not guided.guide[:, :2].any() and not guided.guide.requires_grad
    unguided = {name: value for name, value in vars(guided).items() if name != "guide"}
    assert all(value is getattr(inputs, name) for name, value in unguided.items())


def test_only_flows_behind_own_frames_are_led():
    networks, inputs, _ = _setup()
    objective, weight, draws = Objective(networks), torch.zeros(()), Draws([0, 1, 2])
    true = objective(inputs, weight, None, 0, None, draws)
    assert true.flow.tolist() == [0.0, 0.0]
    own = objective(inputs, weight, 1, 0, None, Draws([0, 1, 2]))
    assert own.flow[1] == 3 * 3  # in three windows the frames behind at least two own ones
    assert own.flow[0] > 0


def test_nothing_tells_of_the_true_frames_behind_own_ones():
    networks, _, text = _setup()
    tokens = torch.zeros(3, 6, 1, dtype=torch.long)
    batch = _batch(steps=6)
    other = replace(batch, frames=batch.frames.clone())
    other.frames[:, 3:] = 255 - other.frames[:, 3:]
    seen = []
    for one in (batch, other):
        inputs = make_inputs(one, tokens, Draws([0, 1, 2]))  # with noisy frames, which the memory keeps
        assert (inputs.tau > 0).any()
        inputs = with_own_frames(networks.denoiser, inputs, text, 2, Draws([0, 1, 2]))
        with torch.no_grad():
            seen.append(
                networks.denoiser(inputs.noisy, inputs.tau, inputs.previous, inputs.action, inputs.age, text).frame
            )
    torch.testing.assert_close(seen[0], seen[1], atol=1e-4, rtol=0)


def test_the_loss_is_least_where_the_flow_is_its_guide():
    networks, inputs, text = _setup()
    inputs = with_own_frames(networks.denoiser, inputs, text, 1, Draws([0, 1, 2]))
    own = networks.denoiser(None, inputs.tau, inputs.previous, inputs.action, inputs.age, text).flow.detach()
    totals, pulls = [], []
    for beside in (0.0, 2.0, -2.0):
        result = losses(networks, replace(inputs, guide=own + beside), torch.zeros(()))
        (pull,) = torch.autograd.grad(result.total, [networks.denoiser.to_pixels.bias])
        totals.append(float(result.total.detach()))
        pulls.append(pull[: 2 * 64].sum())  # of the two offsets of 64 pixels
        assert float(result.flow[0] / result.flow[1]) == pytest.approx(max(abs(beside) - 0.5, 0), abs=1e-4)
    assert totals[0] < min(totals[1:])
    assert pulls[1] < pulls[0] < pulls[2]  # a larger guide pulls flows up


@pytest.mark.parametrize(
    ("age", "known_for", "share"),
    [(0, 4.0, 1.0), (4, 4.0, 0.5), (MAX_AGE, 4.0, 1 / 3), (MAX_AGE, 8.0, 0.5), (MAX_AGE + 1, 4.0, 1.0)],
)
def test_a_squared_error_counts_less_the_deeper_a_frame_is_in_imagination(age, known_for, share):
    networks, inputs, _ = _setup()
    networks.denoiser.config = replace(networks.denoiser.config, residual_std=1e-3)  # which drowns the others
    inputs = replace(inputs, age=torch.full_like(inputs.age, age))
    with torch.no_grad():
        result = losses(networks, inputs, torch.zeros(()), known_for)
    whole = (result.frames - inputs.target).square().mean() / 1e-3**2
    assert float(result.total / whole) == pytest.approx(share, rel=1e-3)
