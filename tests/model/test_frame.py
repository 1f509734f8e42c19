"""The denoiser for one frame computes what the forward pass of training does."""

import threading
import time

import numpy as np
import pytest
import torch
from einops import repeat
from torch import nn

from tests.model.helpers import box_spec, shaken_model
from worldsim.model import autocast
from worldsim.model.frame import FrameDenoiser
from worldsim.model.memory import Memory
from worldsim.model.parts import LARGEST, in_parts


def _inputs(model, batch, seed=0):
    generator, spec = torch.Generator().manual_seed(seed), model.spec
    size = (3, spec.height, spec.width)
    return {
        "noisy": torch.randn((batch, 1, *size), generator=generator),
        "tau": torch.full((batch, 1), 0.6),
        "previous": torch.rand((batch, 1, 2, *size), generator=generator) * 2 - 1,
        "action": torch.rand((batch, 1, spec.action_dim), generator=generator) * 2 - 1,
        "age": torch.arange(batch)[:, None] % 5,
        "text": torch.randn((batch, 1, model.config.text_dim), generator=generator),
    }


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(32, 40), (50, 37)])
@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_it_gives_the_frame_the_scalars_and_the_memory_of_the_forward_pass(height, width, noisy, dtype):
    model = shaken_model(box_spec(height=height, width=width))
    inputs = _inputs(model, 3)
    if not noisy:
        inputs |= {"noisy": None, "tau": torch.zeros(3, 1)}
    whole = model.networks.float().denoiser
    num_patches = whole.grid[0] * whole.grid[1]
    shape = (3, 1, 2, num_patches, model.config.num_heads, model.config.num_context - 1)
    cache = torch.randn(*shape, model.config.dim // model.config.num_heads, generator=torch.Generator().manual_seed(1))
    expected = whole(**inputs, cache=cache)
    with autocast("cpu", dtype):
        rounded = whole(**inputs, cache=cache)
    for module in whole.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.to(dtype)
    room, memory = Memory.of(cache.to(dtype)).room()
    found = FrameDenoiser(whole)(**inputs, cache=room)
    values = {**vars(found), "cache": memory.cache}
    assert set(values) == {"frame", "reward", "terminate", "cache"}
    for name, value in values.items():
        exact = getattr(expected, name)
        assert value.shape == exact.shape
        apart, allowed = (value - exact).abs().mean(), (getattr(rounded, name) - exact).abs().mean()
        assert apart <= 1.5 * allowed + (1e-3 if dtype == torch.bfloat16 else 1e-5), name


def test_a_large_batch_is_the_same_on_one_thread_and_on_two():
    model, num = shaken_model(), LARGEST + 3
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (num, 4, 32, 40, 3), dtype=np.uint8)
    actions = rng.uniform(-1, 1, (num, 6, 2)).astype(np.float32)
    state = model.encode(frames, actions[:, :3], prompts=[None] * num, seeds=range(num))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            results.append(model.rollout(state, actions, sampler_steps=2)[1])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(other.frames, results[0].frames)
        np.testing.assert_array_equal(other.reward, results[0].reward)


@pytest.mark.parametrize(("num", "parts"), [(1, 1), (8, 1), (9, 2), (16, 2), (30, 4), (64, 4), (100, 7)])
def test_parts_are_equal_in_size_and_cover_every_row(num, parts):
    seen = []
    in_parts(seen.append, num)
    assert len({rows.stop - rows.start for rows in seen}) == 1
    assert len(seen) == parts
    assert max(rows.stop - rows.start for rows in seen) <= LARGEST
    assert {i for rows in seen for i in range(rows.start, rows.stop)} == set(range(num))


def test_no_row_is_in_two_hands_at_once():
    busy, lock, before = np.zeros(19, int), threading.Lock(), torch.get_num_threads()

    def work(rows):
        with lock:
            busy[rows] += 1
            assert busy.max() == 1
        time.sleep(0.01)
        with lock:
            busy[rows] -= 1

    try:
        torch.set_num_threads(3)
        in_parts(work, 19)  # three parts of seven rows, so that the last two share two
    finally:
        torch.set_num_threads(before)


def test_what_goes_wrong_in_a_part_reaches_the_caller():
    def fails(rows):
        raise ZeroDivisionError(rows.start)

    before = torch.get_num_threads()
    for threads in (1, 2):
        try:
            torch.set_num_threads(threads)
            with pytest.raises(ZeroDivisionError):
                in_parts(fails, 3 * LARGEST)
        finally:
            torch.set_num_threads(before)


def test_the_weights_of_a_moved_model_are_read_anew():
    model = shaken_model()
    frames = repeat(np.arange(32, dtype=np.uint8), "h -> 1 1 h w c", w=40, c=3)
    state = model.encode(frames, np.zeros((1, 0, 2), np.float32), prompts=[None], seeds=[0])
    action = np.zeros((1, 2), np.float32)
    first = model.step(state, action)[1].frames
    with torch.inference_mode():
        model.networks.denoiser.to_pixels.bias += 1
    assert (model.to("cpu").step(state, action)[1].frames != first).any()
