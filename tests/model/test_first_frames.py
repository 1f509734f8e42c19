"""A model imagines first frames from text alone."""

import numpy as np
import pytest

from tests.model.helpers import box_spec, shaken_model
from worldsim.errors import EnvError
from worldsim.model.world_model import MAX_GUIDANCE

PROMPTS = ["a rainy night", "晴朗的白天", None, "heavy traffic"]


@pytest.fixture(scope="module")
def model():
    model = shaken_model(box_spec(height=36, width=44))  # no whole number of patches
    model.meta = {"first_frames": True}
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
    model.meta = {"first_frames": True}
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
