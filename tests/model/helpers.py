"""A tiny untrained model whose networks are shaken, so that no output is trivially zero."""

import numpy as np
import torch

from worldsim.model import ModelSpec, new_first_frames, new_model, tiny_first_frames
from worldsim.model.presets import tiny
from worldsim.rollout import ActionDim

CAPTIONS = (
    "a rainy night with heavy traffic",
    "雨夜,车流密集",
    "a clear day on a quiet street",
    "晴朗的白天,安静的街道",
)


def box_spec(**changes):
    fields = {
        "height": 32,
        "width": 40,
        "action_kind": "box",
        "action_shape": (2,),
        "action_low": (-1.0, -1.0),
        "action_high": (1.0, 1.0),
        "action_spec": (ActionDim(name="a", unit="m", low=0, high=1), ActionDim(name="b", unit="m", low=0, high=1)),
        "env_id": "tests/None-v0",
    }
    return ModelSpec(**{**fields, **changes})


def shaken_model(spec=None, config=None, seed=0):
    model = new_model(config or tiny(), spec or box_spec(), captions=CAPTIONS, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.networks.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def shaken_first_frames(model, seed=0):
    """Return what draws first frames for a model, untrained and shaken."""
    spec, net = model.spec, new_first_frames(model.networks, tiny_first_frames())
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (64, spec.height, spec.width, 3), dtype=torch.uint8, generator=generator)
    net.fit(frames, torch.randn(64, net.tell.in_features, generator=generator))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return net.eval().requires_grad_(False)


def some_context(spec, batch, num_frames, seed=0):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (batch, num_frames, spec.height, spec.width, 3), dtype=np.uint8)
    actions = rng.uniform(-1, 1, (batch, num_frames - 1, *spec.action_shape)).astype(np.float32)
    return frames, actions
