"""A model imagines first frames from text alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.model.helpers import box_spec, shaken_first_frames, shaken_model
from worldsim.errors import CheckpointError, EnvError
from worldsim.model import FirstFrameConfig, encode_starts, load, save, save_first_frames, tiny_first_frames
from worldsim.model.first_frame import FirstFrameNet, PatchCodes, first_frame_config
from worldsim.model.networks import from_pixels
from worldsim.model.world_model import MAX_GUIDANCE

PROMPTS = ["a rainy night", "晴朗的白天", None, "heavy traffic"]


@pytest.fixture(scope="module")
def model():
    model = shaken_model(box_spec(height=36, width=44))  # no whole number of patches
    model.first_frame_net = shaken_first_frames(model)
    return model


def test_a_first_frame_is_the_same_alone_and_in_a_batch(model):
    prompts = PROMPTS * 5
    whole = model.first_frames(prompts, range(20), sampler_steps=8)
    assert whole.shape == (20, 36, 44, 3)
    assert whole.dtype == np.uint8
    alone = np.concatenate([model.first_frames([prompts[i]], [i], sampler_steps=8) for i in range(20)])
    assert np.abs(whole.astype(int) - alone).mean() < 1
    np.testing.assert_array_equal(whole, model.first_frames(prompts, range(20), sampler_steps=8))


def test_seed_prompt_steps_and_guidance_each_matter(model):
    base = model.first_frames(["a rainy night"], [0], sampler_steps=4, guidance=1.0)
    for other in (
        model.first_frames(["a rainy night"], [1], sampler_steps=4, guidance=1.0),
        model.first_frames(["a clear day"], [0], sampler_steps=4, guidance=1.0),
        model.first_frames(["a rainy night"], [0], sampler_steps=5, guidance=1.0),
        model.first_frames(["a rainy night"], [0], sampler_steps=4, guidance=9.0),
    ):
        assert (other != base).any()


def test_factors_condition_a_first_frame():
    model = shaken_model(box_spec(factor_names=("gravity",), factor_low=(1.0,), factor_high=(10.0,)))
    model.first_frame_net = shaken_first_frames(model)
    low, high = model.first_frames([None] * 2, [0, 0], factors=[{"gravity": 1.0}, {"gravity": 10.0}], sampler_steps=2)
    assert (low != high).any()
    with pytest.raises(EnvError, match="no factor 'wind'"):
        model.first_frames([None], [0], factors=[{"wind": 1.0}])


def test_what_cannot_be_drawn_is_one_clear_error(model):
    with pytest.raises(EnvError, match=r"untrained.*cannot begin from text alone"):
        shaken_model().first_frames(["a clear day"], [0])
    with pytest.raises(EnvError, match="2 prompts, 1 seeds"):
        model.first_frames(["a clear day"] * 2, [0])
    with pytest.raises(EnvError, match="at least one prompt"):
        model.first_frames([], [])
    with pytest.raises(EnvError, match="sampler_steps must be at least 1"):
        model.first_frames(["a clear day"], [0], sampler_steps=0)
    with pytest.raises(EnvError, match="guidance must be 0 to 10"):
        model.first_frames(["a clear day"], [0], guidance=MAX_GUIDANCE + 1)


def test_plain_words_are_which_words_a_text_holds_but_for_those_it_denies():
    text = shaken_model().networks.text
    plain = text.plain(
        text.features(["a rainy night, Night", "晴朗", None, "a clear day without heavy traffic", "zzz"])
    )
    held = [{text.vocabulary.tokens[i] for i in row.nonzero()[:, 0].tolist()} for row in plain]
    assert plain.shape == (5, text.plain_dim) and plain.max() == 1
    assert held == [{"a", "rainy", "night"}, {"晴朗", "晴", "朗"}, set(), {"a", "clear", "day"}, set()]


def test_a_prompt_of_any_length_is_heard_and_bounded():
    config = replace(tiny_first_frames(), words=True)
    net = FirstFrameNet(config, height=32, width=32, condition_dim=4, plain_dim=400)
    net.fit(torch.randint(256, (300, 32, 32, 3), dtype=torch.uint8), torch.randn(300, 404))
    told = torch.zeros(3, 404)
    told[1, :36], told[2, :400] = 1, 1
    heard = [row.norm() for row in net.heard(told)]
    assert heard[0] == 0 and float(heard[1]) == pytest.approx(float(heard[2]))


@pytest.mark.parametrize("size", [(32, 32), (36, 44)])
def test_codes_hold_smooth_frames_and_patches_overlap(size):
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(0, 256, (300, 3, 4, 4), generator=generator).float()
    pixels = torch.nn.functional.interpolate(small, size=size, mode="bicubic").clamp(0, 255)
    frames = pixels.round().to(torch.uint8).movedim(1, -1)
    codes = PatchCodes(FirstFrameConfig(patch=8, codes=48), *size)
    codes.fit(from_pixels(frames))
    found = codes.encode(from_pixels(frames))
    assert found.shape == (300, -(-size[0] // 8) * -(-size[1] // 8), 48)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(codes.shape), atol=1e-3, rtol=0)
    assert found.std(dim=0).max() < 1.01
    assert (codes.decode(found) - from_pixels(frames)).abs().mean() < 1 / 127.5
    changed = found.clone()
    changed[:, 0] += 1
    touched = ((codes.decode(changed) - codes.decode(found)).abs() > 1e-4).any(dim=0).any(dim=0)  # (H, W)
    assert touched[:8, :8].any()
    assert touched[8:12].any()  # four pixels of the patch below
    assert not touched[12:].any()


def test_frames_are_refined_only_where_a_checkpoint_says_so():
    sizes = {"height": 64, "width": 64, "condition_dim": 4}
    plain = FirstFrameNet(FirstFrameConfig(dim=32, depth=1), **sizes)
    assert plain.enlarger is None
    refined = FirstFrameNet(replace(plain.config, refine=True), **sizes)
    frames = torch.randint(256, (300, 64, 64, 3), dtype=torch.uint8)
    refined.fit(frames, torch.randn(300, 4))
    codes = refined.encode(frames[:2])
    assert refined.codes.decode(codes).std() > 0.1
    assert torch.equal(refined.codes.decode(codes).clamp(-1, 1), refined.decode(codes))  # untrained: as they were


@pytest.mark.parametrize(("size", "times"), [((64, 64), 1), ((128, 96), 2), ((70, 130), 3)])
def test_large_frames_are_drawn_small_and_enlarged(size, times):
    config = first_frame_config(*size)
    assert config.enlarge == times
    net = FirstFrameNet(replace(config, dim=32, depth=1), height=size[0], width=size[1], condition_dim=4)
    frames = torch.full((3, *size, 3), 50, dtype=torch.uint8)
    frames[:, : size[0] // 2] = 200
    assert net.small(frames).shape == (3, 3, -(-size[0] // times), -(-size[1] // times))
    assert net.codes.shape[0] <= 64
    net.fit(frames, torch.randn(3, 4))
    codes = net.encode(frames)
    assert net.decode(codes).shape == (3, 3, *size)
    away = (net.decode(codes) - from_pixels(frames)).abs().mean(dim=(0, 1, 3))  # (H,)
    assert away[: size[0] // 2 - 8].max() < 0.02  # an untrained network blurs the edge alone
    assert (
        net.draw(torch.randn(3, *codes.shape[1:]), torch.zeros(3, 4), num_steps=2, guidance=1.0).shape == frames.shape
    )


def test_a_checkpoint_keeps_what_draws_first_frames(model, checkpoint, tmp_path):
    frames = model.first_frames(["a rainy night"], [0], sampler_steps=4)
    sizes = {"config": model.config, "spec": model.spec, "card": {}, "metrics": {}, "meta": {}}
    save(tmp_path, model.networks, starts=encode_starts(load(checkpoint).starts), **sizes)
    assert not load(tmp_path).is_trained_for_first_frames
    save_first_frames(tmp_path, model.first_frame_net, metrics={}, meta={})
    loaded = load(tmp_path)
    assert np.abs(loaded.first_frames(["a rainy night"], [0], sampler_steps=4).astype(int) - frames).mean() < 3
    file = tmp_path / "first-frames" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="first-frames is damaged"):
        load(tmp_path)
