"""First frames from text alone: single frames are denoised without anything before them, beside a step's windows.

Without a context the error is some thirty times that of a frame that continues another one, and it depends on the noise
level above all: in front of pure noise it is the spread of all pictures. So it is divided by what the least-squares
estimate of independent pixels would leave (the weighting of Karras et al. 2022).
"""

from __future__ import annotations

import torch

from worldsim.model.first_frame import FIRST_FRAME_STD, handed, no_past
from worldsim.model.networks import Networks, from_pixels
from worldsim.train.data import Batch
from worldsim.train.draws import Draws, Inputs

__all__ = ["first_frame_loss", "make_first_frames"]

_TAU_MEAN, _TAU_STD = 0.0, 1.2  # of the logit of tau
_SHARE_PURE = 0.03  # frames at tau = 0, where the sampler begins
_TEXT_DROP = 0.15  # share of frames without a prompt, for guidance
_LARGEST_WEIGHT = 100.0  # near tau = 1 the estimate leaves nothing


def make_first_frames(batch: Batch, text: torch.Tensor, draws: Draws) -> Inputs:
    """Return the inputs for the last frame of each window as a first frame.

    Args:
        batch: K windows of one step.
        text: (K, 1, F) features of the captions.
        draws: Draws the noise.
    """
    target = from_pixels(batch.frames[:, 1:])  # (K, 1, 3, H, W)
    tau = torch.sigmoid(_TAU_MEAN + _TAU_STD * draws.normal(1)) * (draws.uniform(1) >= _SHARE_PURE)  # (K, 1)
    level = tau[:, :, None, None, None]
    keep = draws.uniform(2, 1, 1) >= _TEXT_DROP  # (K, 2, 1, 1)
    past = no_past(target, batch.action.shape[2])
    return Inputs(
        target=target,
        noisy=level * target + (1 - level) * draws.normal(*target.shape[1:]),
        tau=tau,
        previous=past.previous,
        action=past.action,
        age=past.age,
        text=text * keep[:, 0],
        factors=batch.factors * keep[:, 1],
        reward=torch.zeros_like(tau),
        terminated=torch.zeros_like(tau),
        weight=torch.ones_like(tau),
        guide=torch.zeros(*target.shape[:2], 2, *target.shape[3:]),
    )


def first_frame_loss(networks: Networks, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the () loss of first frames, and (2,) the sum of their squared errors and their number.

    Args:
        networks: What is trained.
        inputs: From `make_first_frames`.
    """
    condition = networks.condition(inputs.text, inputs.factors)
    noisy = handed(inputs.noisy, inputs.tau, networks.denoiser.config.residual_std)
    out = networks.denoiser(noisy, inputs.tau, inputs.previous, inputs.action, inputs.age, condition)
    error = (out.frame - inputs.target).square().mean(dim=(2, 3, 4))  # (K, 1)
    noise = (1 - inputs.tau) ** 2
    left = noise * FIRST_FRAME_STD**2 / ((inputs.tau * FIRST_FRAME_STD) ** 2 + noise)
    weight = (1 / left).clamp_max(_LARGEST_WEIGHT)
    return (weight * error).mean(), torch.stack(
        [error.sum(), torch.tensor(float(error.numel()), device=error.device)]
    ).detach()
