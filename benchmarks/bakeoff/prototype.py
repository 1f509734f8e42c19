"""Designs 1 and 2: what the project ships, with patches of 8 or of 16 pixels, and variants of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from design import FrameDesign, World
from torch import nn

from worldsim.model import ModelConfig
from worldsim.model.denoiser import Denoised, Denoiser

__all__ = ["OneFrame", "OwnModulations", "deep", "prototype", "wide"]


def wide(config: ModelConfig) -> ModelConfig:
    """Return a network of about as many operations with blocks fewer and wider: 4 of 320 for 6 of 256."""
    depth = max(2, config.depth * 2 // 3)
    return replace(config, dim=config.dim * 5 // 4, depth=depth, mlp_dim=config.mlp_dim * 10 // 9)


def deep(config: ModelConfig) -> ModelConfig:
    """Return a network of about as many operations with blocks more and narrower: 10 of 192 for 6 of 256."""
    heads = max(1, config.num_heads * 3 // 4)
    dim, depth, mlp_dim = config.dim * 3 // 4, config.depth * 5 // 3, config.mlp_dim * 3 // 4
    return replace(config, dim=dim, depth=depth, mlp_dim=mlp_dim, num_heads=heads)


class OneFrame(Denoiser):
    """Sees the last frame and not the one before it: how things move it knows from its memory alone."""

    def forward(
        self, noisy: torch.Tensor | None, tau: torch.Tensor, previous: torch.Tensor, *rest: Any, **more: Any
    ) -> Denoised:
        """As of `Denoiser`."""
        return super().forward(noisy, tau, previous[:, :, :1].expand_as(previous), *rest, **more)


class OwnModulations(Denoiser):
    """Every block turns the conditioning into its own modulation, where the shipped blocks of a kind share one."""

    def __init__(self, config: ModelConfig, **sizes: int) -> None:
        super().__init__(config, **sizes)
        self.blocks = nn.ModuleList(_OwnModulation(block, config.dim) for block in self.blocks)
        self.modulate_space = self.modulate_time = nn.Identity()  # so that a block is handed the conditioning


class _OwnModulation(nn.Module):
    def __init__(self, block: nn.Module, dim: int) -> None:
        super().__init__()
        self.block, self.modulate = block, nn.Linear(dim, 6 * dim)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: torch.Tensor, conditioning: torch.Tensor, *memory: Any) -> Any:
        return self.block(x, self.modulate(conditioning), *memory)


def prototype(
    world: World, config: ModelConfig, *, warps: bool = True, network: type[Denoiser] = Denoiser
) -> FrameDesign:
    """Return the shipped denoiser as a design.

    Args:
        world: What it is built for.
        config: Sizes.
        warps: Whether the last frame is moved; else every offset is held at zero.
        network: A variant of the shipped one.
    """
    spec = world.spec
    denoiser = network(
        config, height=spec.height, width=spec.width, action_dim=spec.action_dim, condition_dim=config.text_dim
    )
    if not warps:  # the offsets begin at zero, and without a gradient they stay there
        num_offsets = 2 * config.patch**2
        for parameter in denoiser.to_pixels.parameters():
            parameter.register_hook(lambda gradient: _without_first(gradient, num_offsets))
    return FrameDesign(world, config, denoiser)


def _without_first(gradient: torch.Tensor, num_rows: int) -> torch.Tensor:
    gradient = gradient.clone()
    gradient[:num_rows] = 0
    return gradient
