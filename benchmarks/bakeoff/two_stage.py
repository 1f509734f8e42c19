"""Design 6: two stages, dynamics at half the size and an upsampler that sees the last sharp frame.

The shipped denoiser imagines the small frame and how pixels move. The upsampler moves the details of the last sharp
frame along, puts them on top of the small frame, and repairs the sum.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from convformer import ConvBlock
from design import Streams, World, begin_streams, channels_last, new_words, step_streams, zero
from torch import nn

from worldsim.errors import WorldsimError
from worldsim.model import ModelConfig
from worldsim.model.denoiser import Denoiser
from worldsim.model.warp import warp
from worldsim.train.data import Batch
from worldsim.train.draws import Draws, Inputs
from worldsim.train.objective import make_inputs

__all__ = ["TwoStage"]


class _Both(NamedTuple):
    """A small frame and the whole one, with the names of `Predicted`."""

    frame: torch.Tensor
    """(B, T, 3, H, W)."""
    cache: Any
    small: torch.Tensor
    """(B, T, 3, H / 2, W / 2)."""


class TwoStage(nn.Module):
    """Both stages learn at once; no gradient goes from the upsampler into the dynamics.

    Args:
        world: What it is built for.
        config: Sizes of the dynamics; its patch is halved, so that a frame has as many tokens as the prototype's.
        channels: Of the upsampler, a multiple of 16.

    Raises:
        WorldsimError: If the frame size cannot be halved.
    """

    stages = (1.0,)
    stage = 0

    def __init__(self, world: World, config: ModelConfig, *, channels: int = 48) -> None:
        super().__init__()
        spec = world.spec
        if spec.height % 2 or spec.width % 2:
            raise WorldsimError(f"frames must have an even height and width; got {spec.height}x{spec.width}")
        config = replace(config, patch=config.patch // 2)
        self.dynamics = Denoiser(
            config,
            height=spec.height // 2,
            width=spec.width // 2,
            action_dim=spec.action_dim,
            condition_dim=config.text_dim,
        )
        self.text = new_words(world, config)
        self.upsample = nn.Sequential(
            nn.Conv2d(36, channels, 3, padding=1),  # at half resolution: moved, sum and last frame, 4 pixels each
            ConvBlock(channels),
            ConvBlock(channels),
            nn.Conv2d(channels, 12, 3, padding=1),
        )
        zero(self.upsample[-1])
        channels_last(self)

    def imagine(
        self,
        noisy: torch.Tensor | None,
        tau: torch.Tensor,
        previous: torch.Tensor,
        action: torch.Tensor,
        age: torch.Tensor,
        text: torch.Tensor,
        cache: torch.Tensor | None = None,
    ) -> _Both:
        """Predict clean frames; called as `worldsim.model.denoiser.Denoiser`, but for small noisy frames."""
        out = self.dynamics(noisy, tau, _halved(previous), action, age, text, cache)
        small, flow = out.frame.detach().flatten(0, 1).float(), out.flow.detach().flatten(0, 1)
        last = previous[:, :, 0].flatten(0, 1)  # (B T, 3, H, W)
        moved = warp(last, 2 * _doubled(flow))
        total = _doubled(small) + moved - _doubled(F.avg_pool2d(moved, 2))  # (B T, 3, H, W)
        x = F.pixel_unshuffle(torch.cat([moved, total, last], dim=1), 2)
        x = self.upsample(x.contiguous(memory_format=torch.channels_last))
        frame = total + self.dynamics.config.residual_std * F.pixel_shuffle(x.float(), 2)
        return _Both(frame.unflatten(0, tau.shape), out.cache, out.frame)

    def prepare(self, batch: Batch, text: torch.Tensor, draws: Draws) -> tuple[Inputs, int]:
        """See `Design`."""
        inputs = make_inputs(batch, text, draws)
        # The mean of 4 pixels halves the noise; it is doubled again, so that tau means the same in both sizes.
        known = inputs.tau[:, :, None, None, None] * _halved(inputs.target)
        return replace(inputs, noisy=known + 2 * (_halved(inputs.noisy) - known)), inputs.tau.numel()

    def loss(self, inputs: Inputs) -> torch.Tensor:
        """Return the mean squared error of small and of whole frames, in units of a typical change.

        The upsampler learns where tau is 0 only: that is what it is given in a rollout.
        """
        text = self.text(inputs.text)
        out = self.imagine(inputs.noisy, inputs.tau, inputs.previous, inputs.action, inputs.age, text)
        small = (out.small - _halved(inputs.target)).square().mean()
        error = (out.frame - inputs.target).square().mean(dim=(2, 3, 4))  # (B, T)
        pure = (inputs.tau == 0).float()
        whole = (error * pure).sum() / pure.sum().clamp_min(1)
        return (small + whole) / self.dynamics.config.residual_std**2

    def begin(self, frames: torch.Tensor, action: torch.Tensor, text: torch.Tensor, seeds: torch.Tensor) -> Streams:
        """See `Design`; one sampler step from pure noise needs no noise."""
        return begin_streams(self.imagine, frames, action, self.text(text))

    def step(self, state: Streams, action: torch.Tensor) -> tuple[Streams, torch.Tensor]:
        """See `Design`."""
        return step_streams(self.imagine, state, action)


def _halved(frames: torch.Tensor) -> torch.Tensor:
    """Return (..., 3, H / 2, W / 2) means of 2x2 pixels."""
    flat = F.avg_pool2d(frames.flatten(0, -4), 2)
    return flat.unflatten(0, frames.shape[:-3])


def _doubled(frames: torch.Tensor) -> torch.Tensor:
    """Return (N, C, 2 H, 2 W), linear between pixels."""
    return F.interpolate(frames, scale_factor=2, mode="bilinear")
