"""What the networks are trained for: clean frames from noisy ones, reward and end of each step.

Rectified flow in clean-frame prediction: noisy = tau * frame + (1 - tau) * noise, one tau per frame, squared error
between the predicted and the true frame. Most frames have tau = 0, the level at which a step begins: what is
predicted there decides a rollout, and all that follows refines it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from worldsim.model.denoiser import MAX_AGE, Denoised
from worldsim.model.networks import Networks, from_pixels
from worldsim.train.bands import local_contrast
from worldsim.train.data import Batch
from worldsim.train.draws import Draws, Inputs
from worldsim.train.rollout_context import with_guide, with_own_frames

__all__ = ["Inputs", "Losses", "Objective", "balance", "losses", "make_inputs"]

_SHARE_PURE = 0.6  # frames at tau = 0
_TAU_MEAN, _TAU_STD = 1.0, 1.2  # of the logit of the other frames' tau
_MOST_BALANCE = 4.0  # weight of a window at most, and its inverse at least
_WEIGHT_REWARD, _WEIGHT_TERMINATE, _WEIGHT_FLOW = 0.05, 0.3, 0.03


class Losses(NamedTuple):
    """What a share of the windows gives; a tuple, because what wraps a module looks for tensors in tuples only.

    A pair is a sum and what to divide it by, so that shares can be pooled before the division.
    """

    total: torch.Tensor
    """() mean over the windows."""
    frames: torch.Tensor
    """(B, T, 3, H, W) predicted frames."""
    frame: torch.Tensor
    """(2,) squared error at tau = 0, frames in [-1, 1]."""
    refine: torch.Tensor
    """(2,) the same at the other noise levels."""
    contrast: torch.Tensor
    """() mean difference of local contrast; see `local_contrast`."""
    sharpness: torch.Tensor
    """(2,) gradient energy of predicted and of true frames where the context is imagined."""
    reward: torch.Tensor
    """() mean."""
    terminate: torch.Tensor
    """() mean."""
    flow: torch.Tensor
    """(2,) pixels between the flow behind own frames and its guide."""


def make_inputs(
    batch: Batch,
    text: torch.Tensor,
    draws: Draws,
    *,
    padding: int = 0,
    text_drop_share: float = 0.25,
    weight: torch.Tensor | None = None,
    pure: bool = False,
) -> Inputs:
    """Return the inputs of a batch: noise, noise levels, and true frames as context.

    Args:
        batch: Windows of T steps.
        text: (B, T, F) features of the captions.
        draws: Draws the noise.
        padding: In 0 to T - 1, how many frames are replaced by the first one behind them and marked, as
            `WorldModel.encode` does with a context that is too short.
        text_drop_share: Share of the windows without a prompt, of those before any change: nothing said is to mean that
            all stays as it is, and not that anything may come.
        weight: (B,) of the squared errors of each window; 1 if None.
        pure: Whether every tau is 0 and no prompt is dropped, as in an evaluation.
    """
    pixels = from_pixels(batch.frames)  # (B, T + 1, 3, H, W)
    real = torch.ones(batch.reward.shape)
    if padding:
        pixels[:, :padding] = pixels[:, padding : padding + 1]
        real[:, :padding] = 0
    target = pixels[:, 1:]
    before = torch.cat([pixels[:, :1], pixels[:, :-2]], dim=1)
    num_steps = target.shape[1]
    tau = torch.sigmoid(_TAU_MEAN + _TAU_STD * draws.normal(num_steps))  # (B, T)
    tau = tau * (draws.uniform(num_steps) >= (1.0 if pure else _SHARE_PURE))
    noise = draws.normal(*target.shape[1:])  # (B, T, 3, H, W)
    level = tau[:, :, None, None, None]
    keep = draws.uniform(2, 1, 1) >= (0.0 if pure else text_drop_share)  # (B, 2, 1, 1)
    keep |= batch.is_changed[:, None, None, None]
    weight = torch.ones(len(target)) if weight is None else weight
    return Inputs(
        target=target,
        noisy=level * target + (1 - level) * noise,
        tau=tau,
        previous=torch.stack([pixels[:, :-1], before], dim=2),
        action=batch.action * real[..., None],
        age=((1 - real) * (MAX_AGE + 1)).long(),
        text=text * keep[:, 0],
        factors=batch.factors * keep[:, 1],
        reward=batch.reward * real,
        terminated=batch.terminated * real,
        weight=weight[:, None].expand_as(tau),
        guide=torch.zeros(*target.shape[:2], 2, *target.shape[3:]),
    )


def balance(frames: torch.Tensor, mean_change: float, power: float) -> torch.Tensor:
    """Return (B,) weights with which windows count more if less moves in them, 1 at a mean change.

    Args:
        frames: (B, T + 1, H, W, 3) uint8.
        mean_change: Squared levels between two frames, mean of the data.
        power: 0 for a weight of 1, 1 to count windows alike whatever moves.
    """
    levels = frames.float()
    change = (levels[:, 1:] - levels[:, :-1]).square().flatten(1).mean(dim=1)
    return (mean_change / change.clamp_min(1e-6)).pow(power).clamp(1 / _MOST_BALANCE, _MOST_BALANCE)


def _gradient_energy(frames: torch.Tensor) -> torch.Tensor:
    """Return (N,) summed squared differences of neighbouring pixels."""
    across, down = frames[..., 1:] - frames[..., :-1], frames[..., 1:, :] - frames[..., :-1, :]
    return across.square().sum(dim=(1, 2, 3)) + down.square().sum(dim=(1, 2, 3))


def losses(networks: Networks, inputs: Inputs, contrast_weight: torch.Tensor, known_for: float = 4.0) -> Losses:
    """Return the loss of one batch and its parts.

    Args:
        networks: What is trained.
        inputs: The batch.
        contrast_weight: () weight of the difference of local contrast. A squared error alone is least for the mean of
            all possible frames, which is blurred, and a rollout blurs it again at every step.
        known_for: Imagined steps after which a squared error counts half: what is to come is known less and less.
    """
    condition = networks.condition(inputs.text, inputs.factors)
    out: Denoised = networks.denoiser(inputs.noisy, inputs.tau, inputs.previous, inputs.action, inputs.age, condition)
    error = (out.frame - inputs.target).square().mean(dim=(2, 3, 4))  # (B, T)
    pure = (inputs.tau == 0).float()
    reward = F.smooth_l1_loss(out.reward, inputs.reward, beta=0.1)
    terminate = F.binary_cross_entropy_with_logits(out.terminate, inputs.terminated)
    scale = 1.0 / networks.denoiser.config.residual_std**2
    own, true = out.frame.flatten(0, 1), inputs.target.flatten(0, 1)  # (B T, 3, H, W)
    pairs = zip(local_contrast(own), local_contrast(true), strict=True)
    contrast = torch.stack([(a - b).abs().mean() for a, b in pairs]).sum()
    imagined = ((inputs.age > 1) & (inputs.age <= MAX_AGE) & (inputs.tau == 0)).float().flatten()
    sharpness = torch.stack([(_gradient_energy(frames).detach() * imagined).sum() for frames in (own, true)])
    astray = F.smooth_l1_loss(out.flow, inputs.guide, reduction="none").mean(dim=(2, 3, 4)).flatten() * imagined
    heads = _WEIGHT_REWARD * reward + _WEIGHT_TERMINATE * terminate + _WEIGHT_FLOW * astray.mean()
    known = torch.where(inputs.age <= MAX_AGE, 1 / (1 + inputs.age / known_for), 1.0)  # (B, T); padding is no age
    total = scale * (inputs.weight * known * error).mean() + contrast_weight * contrast + heads
    return Losses(
        total=total,
        frames=out.frame,
        frame=torch.stack([(error * pure).sum(), pure.sum()]).detach(),
        refine=torch.stack([(error * (1 - pure)).sum(), (1 - pure).sum()]).detach(),
        contrast=contrast.detach(),
        sharpness=sharpness,
        reward=reward.detach(),
        terminate=terminate.detach(),
        flow=torch.stack([astray.sum(), imagined.sum()]).detach(),
    )


class Objective(nn.Module):
    """The loss of a share of the windows as one call, which is what several ranks wrap.

    Args:
        networks: What is trained.
        loss_of: `losses`, or a compiled one.
        known_for: As in `losses`.
    """

    def __init__(
        self,
        networks: Networks,
        loss_of: Callable[..., Losses] = losses,
        known_for: float = 4.0,
    ) -> None:
        super().__init__()
        self.networks = networks
        self.loss_of = loss_of
        self.known_for = known_for

    def forward(
        self,
        inputs: Inputs,
        contrast_weight: torch.Tensor,
        own_frames_from: int | None,
        lead: int,
        sampler_steps: int | None,
        draws: Draws,
    ) -> Losses:
        """Return the losses.

        Args:
            inputs: True windows.
            contrast_weight: As in `losses`.
            own_frames_from: From which frame on the context is the model's own; None for a true one.
            lead: Steps at the beginning that only make the context of the others.
            sampler_steps: By how many own frames are imagined; the networks' default if None.
            draws: Draws the sampler's noise.
        """
        if own_frames_from is not None:
            condition = self.networks.condition(inputs.text, inputs.factors).detach()
            inputs = with_guide(self.networks.denoiser, inputs, condition, lead)
            inputs = with_own_frames(
                self.networks.denoiser, inputs, condition, own_frames_from, draws, sampler_steps=sampler_steps
            )
        # A compiled loss is compiled anew for every layout of its inputs: there is one, of what holds nothing too.
        layout = torch.contiguous_format
        inputs = Inputs(
            **{f.name: getattr(inputs, f.name)[:, lead:].clone(memory_format=layout) for f in fields(Inputs)}
        )
        return self.loss_of(self.networks, inputs, contrast_weight, self.known_for)
