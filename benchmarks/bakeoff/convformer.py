"""Design 5: convolutions outside, a transformer inside.

A stem at half resolution, two steps down to 8x8 tokens for the shipped transformer, and the way back with skips: pixels
see their neighbours across what would be a patch border, and tokens are made of more than one patch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from design import FrameDesign, Predicted, World, zero
from einops import rearrange
from torch import nn
from trunk import Trunk

from worldsim.errors import WorldsimError
from worldsim.model import ModelConfig
from worldsim.model.denoiser import FLOW_SCALE, estimated_change
from worldsim.model.warp import warp

__all__ = ["ConvBlock", "convformer"]

_TOKEN_SIDE = 8  # pixels
_MASK_BIAS = -5.0  # of the head that warps: it starts as "copy the last frame"


class ConvBlock(nn.Module):
    """Two 3x3 convolutions beside a skip; the identity at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(channels // 16, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, channels, H, W) of the same shape."""
        return x + self.second(F.silu(self.first(F.silu(self.norm(x)))))


class _Denoiser(nn.Module):
    """Called as `worldsim.model.denoiser.Denoiser`."""

    def __init__(self, world: World, config: ModelConfig, widths: tuple[int, int], warps: bool) -> None:
        super().__init__()
        spec = world.spec
        if spec.height % _TOKEN_SIDE or spec.width % _TOKEN_SIDE:
            raise WorldsimError(f"frames must be multiples of {_TOKEN_SIDE} pixels; got {spec.height}x{spec.width}")
        self.grid = (spec.height // _TOKEN_SIDE, spec.width // _TOKEN_SIDE)
        self.config, self.warps = config, warps
        half, quarter = widths
        self.stem = nn.Sequential(nn.Conv2d(36, half, 3, padding=1), ConvBlock(half))
        self.down = nn.Sequential(nn.Conv2d(half, quarter, 3, stride=2, padding=1), ConvBlock(quarter))
        self.to_tokens = nn.Conv2d(quarter, config.dim, 2, stride=2)
        num_tokens = self.grid[0] * self.grid[1]
        self.trunk = Trunk(config, num_tokens=num_tokens, action_dim=spec.action_dim)
        self.from_tokens = nn.ConvTranspose2d(config.dim, quarter, 2, stride=2)
        self.up = nn.Sequential(ConvBlock(quarter), nn.ConvTranspose2d(quarter, half, 2, stride=2))
        self.head = nn.Sequential(ConvBlock(half), nn.SiLU())
        self.to_pixels = nn.Conv2d(half, 4 * (6 if warps else 3), 3, padding=1)
        zero(self.to_pixels)

    def forward(
        self,
        noisy: torch.Tensor | None,
        tau: torch.Tensor,
        previous: torch.Tensor,
        action: torch.Tensor,
        age: torch.Tensor,
        text: torch.Tensor,
        cache: Any = None,
    ) -> Predicted:
        batch, frames = tau.shape
        last = previous[:, :, 0]  # (B, T, 3, H, W)
        change = estimated_change(noisy, tau, last, self.config.residual_std) / self.config.residual_std
        pixels = torch.cat([change, last, last - previous[:, :, 1]], dim=2).flatten(0, 1)  # (B T, 9, H, W)
        x = F.pixel_unshuffle(pixels, 2).contiguous(memory_format=torch.channels_last)
        half = self.stem(x)  # (B T, half, H / 2, W / 2)
        quarter = self.down(half)  # (B T, quarter, H / 4, W / 4)
        tokens = rearrange(self.to_tokens(quarter), "(b t) d y x -> b t (y x) d", b=batch)  # (B, T, N, D)
        tokens, cache = self.trunk(tokens, tau, action, text, cache)
        x = rearrange(tokens, "b t (y x) d -> (b t) d y x", y=self.grid[0])
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.head(self.up(self.from_tokens(x) + quarter) + half)
        out = F.pixel_shuffle(self.to_pixels(x).float(), 2)  # (B T, 3 or 6, H, W)
        last = last.flatten(0, 1)
        if self.warps:
            moved = warp(last, FLOW_SCALE * out[:, :2])
            mask = (out[:, 2:3] + _MASK_BIAS).sigmoid()
            frame = moved + mask * (out[:, 3:] - moved)
        else:
            frame = last + self.config.residual_std * out
        return Predicted(frame.unflatten(0, (batch, frames)), cache)


def convformer(
    world: World, config: ModelConfig, *, widths: tuple[int, int] = (48, 96), warps: bool = False
) -> FrameDesign:
    """Return the design: memory and objective of the prototype, another way from pixels to tokens and back.

    Args:
        world: What it is built for.
        config: Sizes of the transformer; ``patch`` means nothing here.
        widths: Channels at half and at quarter resolution, multiples of 16.
        warps: Whether the head moves the last frame and paints over it, or adds a change to it.

    Raises:
        WorldsimError: If the frame size does not divide into tokens.
    """
    return FrameDesign(world, config, _Denoiser(world, config, widths, warps))
