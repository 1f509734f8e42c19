import pytest
import torch

from tests.model.helpers import box_spec, shaken_model
from worldsim.model import Networks, Vocabulary
from worldsim.model.presets import PRESETS, tiny


def _inputs(spec, batch=2, frames=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    size = (3, spec.height, spec.width)
    return {
        "noisy": torch.randn((batch, frames, *size), generator=g),
        "tau": torch.rand((batch, frames), generator=g),
        "previous": torch.rand((batch, frames, 2, *size), generator=g) * 2 - 1,
        "action": torch.rand((batch, frames, spec.action_dim), generator=g) * 2 - 1,
        "age": torch.zeros((batch, frames), dtype=torch.long),
        "text": torch.randn((batch, frames, tiny().text_dim), generator=g),
    }


def _slice(inputs, span):
    return {name: value[:, span] for name, value in inputs.items()}


@pytest.fixture(scope="module")
def denoiser():
    return shaken_model().networks.float().denoiser


@torch.no_grad()
def test_an_action_changes_its_own_frame_and_later_ones_but_none_before(denoiser):
    inputs = _inputs(box_spec())
    other = {**inputs, "action": inputs["action"].clone()}
    other["action"][:, 3] *= -1
    a, b = denoiser(**inputs).frame, denoiser(**other).frame
    assert torch.equal(a[:, :3], b[:, :3])
    assert (a[:, 3] - b[:, 3]).abs().max() > 1e-4
    assert (a[:, 4] - b[:, 4]).abs().max() > 1e-6


@torch.no_grad()
def test_streaming_with_a_cache_equals_the_whole_sequence(denoiser):
    inputs = _inputs(box_spec(), frames=9)  # longer than the window of 4
    whole = denoiser(**inputs)
    cache, frames = None, []
    for i in range(9):
        out = denoiser(**_slice(inputs, slice(i, i + 1)), cache=cache)
        cache = out.cache
        frames.append(out.frame)
    assert cache.shape[-2] == tiny().num_context - 1
    torch.testing.assert_close(torch.cat(frames, dim=1), whole.frame, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_known_frames_are_remembered_as_a_call_at_pure_noise_would(denoiser):
    inputs = _inputs(box_spec(), frames=3)
    known = {name: inputs[name] for name in ("previous", "action", "age", "text")}
    cache = denoiser.remember(**known)
    assert torch.equal(cache, denoiser(noisy=None, tau=torch.zeros(2, 3), **known).cache)
    assert cache.shape == denoiser.cache_shape(2, 3)


@torch.no_grad()
def test_at_pure_noise_the_noise_is_not_seen(denoiser):
    inputs = _inputs(box_spec())
    inputs["tau"] = torch.zeros_like(inputs["tau"])
    torch.testing.assert_close(denoiser(**inputs).frame, denoiser(**{**inputs, "noisy": None}).frame)


@torch.no_grad()
def test_near_the_data_the_noisy_frame_is_seen(denoiser):
    inputs = _inputs(box_spec())
    inputs["tau"] = torch.full_like(inputs["tau"], 0.95)
    other = {**inputs, "noisy": inputs["noisy"] + 0.5}
    assert (denoiser(**inputs).frame - denoiser(**other).frame).abs().max() > 1e-3


@torch.no_grad()
def test_an_untrained_model_copies_the_last_frame():
    networks = Networks(tiny(), box_spec(), Vocabulary(()))
    inputs = _inputs(box_spec())
    frame = networks.denoiser(**inputs).frame
    assert (frame - inputs["previous"][:, :, 0]).abs().mean() < 0.02


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 96), (50, 70), (32, 256)])
def test_any_frame_size_comes_back_as_it_went_in(height, width):
    spec = box_spec(height=height, width=width)
    networks = Networks(tiny(), spec, Vocabulary(()))
    assert networks.denoiser(**_inputs(spec, 1, 2)).frame.shape == (1, 2, 3, height, width)


@pytest.mark.parametrize(
    ("preset", "size", "least", "most"),
    [("tiny", 64, 0, 0.2e6), ("small", 64, 5e6, 6.05e6), ("base", 128, 6.5e6, 12e6), ("large", 256, 50e6, 200e6)],
)
def test_presets_keep_to_their_number_of_parameters(preset, size, least, most):
    vocabulary = Vocabulary([str(i) for i in range(600)])
    with torch.device("meta"):
        networks = Networks(PRESETS[preset](), box_spec(height=size, width=size), vocabulary)
    assert least <= sum(p.numel() for p in networks.parameters()) <= most
