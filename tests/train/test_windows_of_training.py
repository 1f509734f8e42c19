from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.model.helpers import box_spec, shaken_model
from worldsim.errors import CheckpointError
from worldsim.model import Networks, Vocabulary, autocast
from worldsim.model.denoiser import MAX_AGE
from worldsim.model.presets import tiny
from worldsim.train.config import TrainConfig
from worldsim.train.data import Batch, Dataset, mirrored
from worldsim.train.draws import Draws
from worldsim.train.inherit import inherit
from worldsim.train.objective import Objective, balance, losses, make_inputs
from worldsim.train.plan import make_plan


def _batch(windows=3, steps=6):
    generator = torch.Generator().manual_seed(0)
    return Batch(
        frames=torch.randint(0, 256, (windows, steps + 1, 32, 40, 3), dtype=torch.uint8, generator=generator),
        action=torch.rand((windows, steps, box_spec().action_dim), generator=generator) * 0.8 + 0.1,
        reward=torch.ones((windows, steps)),
        terminated=torch.ones((windows, steps)),
        caption=torch.zeros((windows, steps), dtype=torch.long),
        is_changed=torch.zeros(windows, dtype=torch.bool),
        factors=torch.zeros((windows, steps, 0)),
    )


def test_padding_in_training_is_what_encode_does_with_a_short_context():
    model = shaken_model()
    batch, window = _batch(steps=tiny().num_context + 1), tiny().num_context
    tokens = torch.zeros(3, window + 1, 1, dtype=torch.long)
    inputs = make_inputs(batch, tokens, Draws([0, 1, 2]), padding=2, pure=True)
    assert inputs.age[0].tolist() == [MAX_AGE + 1, MAX_AGE + 1, 0, 0, 0]
    assert not inputs.action[:, :2].any()
    assert not inputs.reward[:, :2].any()
    given = batch.frames[:, 2:window].numpy()  # the model's context without the padding
    actions = batch.action[:, 2 : window - 1].numpy()  # the space is [-1, 1]: encoded as it is
    state = model.encode(given, actions, prompts=[None] * 3, seeds=[0] * 3)
    with torch.no_grad(), autocast():
        whole = model.networks.denoiser(
            None,
            *(value[:, : window - 1] for value in (inputs.tau, inputs.previous, inputs.action, inputs.age)),
            torch.zeros(3, window - 1, model.config.text_dim),
        )
    torch.testing.assert_close(state.cache, whole.cache.to(model.dtype))


def test_windows_in_which_little_moves_count_more_if_asked():
    frames = torch.zeros(4, 3, 8, 8, 3, dtype=torch.uint8)
    for window, levels in enumerate((2, 20, 200, 0)):
        frames[window, 1] = levels  # up and down again
    assert balance(frames, 400.0, 0.5).tolist() == pytest.approx([4.0, 1.0, 0.25, 4.0])  # 10 and .1 without a limit
    assert balance(frames, 400.0, 0.2).tolist()[:3] == pytest.approx([100**0.2, 1.0, 100**-0.2])


def test_a_windows_weight_is_that_of_its_squared_error():
    model, contrast, results = shaken_model(), torch.zeros(()), {}
    tokens = torch.zeros(3, 6, 1, dtype=torch.long)
    for weight in (None, torch.tensor([1.0, 3.0, 1.0])):
        inputs = make_inputs(_batch(), tokens, Draws([0, 1, 2]), weight=weight)
        with autocast():
            results[weight is None] = losses(model.networks, inputs, contrast)
    plain, weighted = results[True], results[False]
    error = (plain.frames - inputs.target)[1].square().mean() / model.config.residual_std**2
    assert float(weighted.total - plain.total) == pytest.approx(float(2 * error / 3), rel=1e-3)
    torch.testing.assert_close(weighted.frame, plain.frame)  # what is reported has no weights


def test_a_mirrored_window_shows_the_other_side_and_turns_the_named_action_only():
    batch = _batch()
    turned = mirrored(batch, np.array([True, False, True]), (1,))
    assert torch.equal(turned.frames[0, :, :, 0], batch.frames[0, :, :, -1])
    assert torch.equal(turned.frames[1], batch.frames[1])
    assert torch.equal(turned.action[0, :, 1], -batch.action[0, :, 1])
    assert torch.equal(turned.action[0, :, 0], batch.action[0, :, 0])
    assert torch.equal(turned.action[1], batch.action[1])


def test_windows_that_hold_an_end_are_found():
    data = object.__new__(Dataset)
    data.terminated = torch.tensor([0, 0, 0, 1, 0, 0, 0, 0, 0.0])
    assert data.ends(np.array([0, 1, 2, 3, 4]), 3).tolist() == [False, True, True, True, False]


def test_windows_in_which_the_caption_changes_are_found_and_chosen_as_often_as_asked():
    data = object.__new__(Dataset)
    data.caption = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2])
    rows = np.arange(8)
    seen = [data.caption[row + 1 : row + 4].tolist() for row in rows]  # of the frames that three steps lead to
    assert data.changes(rows, 3).tolist() == [len(set(captions)) > 1 for captions in seen]
    settings = TrainConfig(batch=1000, prompts_share=0.5, length=3)
    none = np.zeros(0, np.int64)
    plan = make_plan(
        settings,
        0,
        rows=rows,
        end_rows=none,
        prompt_rows=np.array([100]),
        deep_rows=none,
        num_context=4,
        is_late=False,
    )
    assert 0.45 < (plan.rows == 100).mean() < 0.55


def test_several_sampler_steps_are_taken_as_often_as_asked_and_only_behind_own_frames():
    settings, none, rows = TrainConfig(several_steps_share=0.5, deep_share=0.25), np.zeros(0, np.int64), np.arange(8)
    few = {"rows": rows, "end_rows": none, "prompt_rows": none, "deep_rows": rows, "num_context": 4}
    plans = [make_plan(settings, step, **few, is_late=True) for step in range(800)]
    own = [plan for plan in plans if plan.own_frames_from is not None and not plan.lead]
    others = [plan for plan in plans if plan.own_frames_from is None or plan.lead]
    assert own and others and {plan.sampler_steps for plan in others} == {None}
    for num_steps, share in ((None, 0.5), (2, 0.25), (4, 0.25)):
        assert np.mean([plan.sampler_steps == num_steps for plan in own]) == pytest.approx(share, abs=0.06)
    early = [make_plan(settings, step, **few, is_late=False) for step in range(50)]
    assert {plan.sampler_steps for plan in early} == {None}


def test_a_prompt_is_left_out_only_before_anything_has_changed():
    batch = _batch(windows=64)
    batch.is_changed[::2] = True
    tokens = torch.full((64, 6, 1), 7)
    text = make_inputs(batch, tokens, Draws(range(64)), text_drop_share=0.4).text[..., 0]  # (B, T)
    assert (text[::2] == 7).all()
    assert 0.2 < (text[1::2] == 0).all(dim=1).float().mean() < 0.6
    assert (make_inputs(batch, tokens, Draws(range(64)), pure=True).text == 7).all()


def test_a_child_with_new_words_and_a_longer_memory_starts_as_its_parent():
    parent = shaken_model()
    parent.networks.float()
    words = Vocabulary([*parent.networks.text.vocabulary.tokens, "zeppelin", "aardvark"])
    config = replace(parent.config, num_context=parent.config.num_context + 2)
    child = Networks(config, parent.spec, words)
    inherit(child, config, parent)
    token = parent.networks.text.vocabulary.tokens[0]
    theirs, own = (n.text(torch.tensor([n.text.vocabulary.encode(token)])) for n in (parent.networks, child))
    torch.testing.assert_close(own, theirs)
    short = [name for name in child.state_dict() if name.endswith("distance_bias")]
    assert short
    for name in short:
        assert torch.equal(child.state_dict()[name][:, -1], child.state_dict()[name][:, -3])
    with pytest.raises(CheckpointError, match="another architecture"):
        inherit(Networks(replace(config, dim=64), parent.spec, words), replace(config, dim=64), parent)


def test_a_child_with_other_actions_learns_them_anew_and_keeps_the_rest():
    parent = shaken_model()
    parent.networks.float()
    low, high = parent.spec.action_low, parent.spec.action_high
    shape = (len(low) + 1,)
    spec = replace(parent.spec, action_low=(*low, low[0]), action_high=(*high, high[0]), action_shape=shape)
    child = Networks(parent.config, spec, Vocabulary(parent.networks.text.vocabulary.tokens))
    own = {name: value.clone() for name, value in child.state_dict().items()}
    inherit(child, parent.config, parent)
    theirs = parent.networks.state_dict()
    for name, value in child.denoiser.state_dict(prefix="denoiser.").items():
        assert torch.equal(value, own[name] if "embed_action" in name else theirs[name])


def test_a_child_of_twice_the_size_moves_what_it_sees_as_its_parent_does():
    parent = shaken_model()
    parent.networks.float()
    config = replace(parent.config, patch=2 * parent.config.patch)
    spec = replace(parent.spec, height=2 * parent.spec.height, width=2 * parent.spec.width)
    words = Vocabulary(parent.networks.text.vocabulary.tokens)
    child = Networks(config, spec, words)
    inherit(child, config, parent)
    tokens = torch.zeros(3, 6, 1, dtype=torch.long)
    inputs = make_inputs(_batch(), tokens, Draws([0, 1, 2]))

    def enlarged(frames):
        return frames.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)

    given = inputs.tau, inputs.previous, inputs.action, inputs.age, torch.rand(3, 6, config.text_dim)
    with torch.no_grad():
        small = parent.networks.denoiser(inputs.noisy, *given)
        large = child.denoiser(enlarged(inputs.noisy), given[0], enlarged(given[1]), *given[2:])
    torch.testing.assert_close(large.flow, 2 * enlarged(small.flow), atol=1e-4, rtol=1e-4)  # twice as many pixels
    for name in ("reward", "terminate", "cache"):
        torch.testing.assert_close(getattr(large, name), getattr(small, name), atol=1e-4, rtol=1e-4)
    assert small.flow.abs().max() > 0.01
    for other in (replace(spec, width=3 * parent.spec.width), replace(spec, height=parent.spec.height)):
        with pytest.raises(CheckpointError, match="another architecture or frame size"):
            inherit(Networks(config, other, words), config, parent)


def test_a_window_deep_in_a_rollout_has_own_frames_as_context_and_true_ones_as_target():
    model, seen = shaken_model(), []
    window, lead, context = 6, tiny().num_context + 5, tiny().num_context
    batch = _batch(steps=lead + window)
    inputs = make_inputs(batch, torch.zeros(3, lead + window, 1, dtype=torch.long), Draws([0, 1, 2]))

    def loss_of(networks, given, contrast_weight, known_for):
        seen.append(given)

    with autocast():
        Objective(model.networks, loss_of)(inputs, torch.zeros(()), context, lead, None, Draws([3, 4, 5]))
    (given,) = seen
    assert torch.equal(given.target, inputs.target[:, lead:])
    assert given.age[0].tolist() == [min(lead + k - context, MAX_AGE) for k in range(window)]
    true = inputs.previous[:, lead:]
    assert (given.previous != true).flatten(2).any(dim=2).all()  # every frame that it looks back on is imagined
