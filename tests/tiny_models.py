"""An untrained world model of a small City, written as a checkpoint in a moment."""

import numpy as np
import torch

from worldsim.model import ModelSpec, Start, encode_starts, new_model, save
from worldsim.model.presets import tiny
from worldsim.rollout import ActionDim, Caption

SIZE = 36  # pixels; the smallest that stable-baselines3 takes as an image
CAPTIONS = [
    ("a rainy evening", "雨天黄昏"),
    ("a clear day", "晴朗的白天"),
    ("a foggy night", "雾夜"),
    ("rain in heavy traffic", "雨中车流密集"),
]


def make_spec(**fields):
    values = {
        "height": SIZE,
        "width": SIZE,
        "action_kind": "box",
        "action_shape": (2,),
        "action_low": (-1.0, -1.0),
        "action_high": (1.0, 1.0),
        "action_spec": (
            ActionDim(name="steer", unit="rad", low=-0.5, high=0.5),
            ActionDim(name="throttle", unit="m/s2", low=-6.0, high=3.0),
        ),
        "env_id": "worldsim/City-v0",
        "env_kwargs": {"height": SIZE, "width": SIZE},
        "max_steps": 50,
    }
    return ModelSpec(**{**values, **fields})


def make_starts(spec, num_context):
    rng = np.random.default_rng(0)
    _, space = spec.spaces()
    space.seed(0)
    return tuple(
        Start(
            frames=rng.integers(0, 256, (num_context, spec.height, spec.width, 3), dtype=np.uint8),
            actions=np.stack([space.sample() for _ in range(num_context - 1)]),
            caption=Caption(0, en, zh),
        )
        for en, zh in CAPTIONS
    )


def write_checkpoint(path, spec, *, seed=0, end_logit=-20.0):
    """Write an untrained model without the zeros that layers start as, so that actions, prompts and noise show.

    With weights much larger it is chaotic: a last bit that a product of another size rounds otherwise is levels later.
    """
    config = tiny()
    model = new_model(config, spec, captions=[text for pair in CAPTIONS for text in pair], seed=seed)
    torch.manual_seed(seed)
    for parameter in model.networks.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    model.networks.denoiser.to_scalars[-1].bias[1] = end_logit
    save(
        path,
        model.networks,
        config=config,
        spec=spec,
        starts=encode_starts(make_starts(spec, config.num_context)),
        card={},
        metrics={},
        meta={},
    )
    return path
