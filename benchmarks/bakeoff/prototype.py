"""Designs 1 and 2: what the project ships, with patches of 8 or of 16 pixels."""

from __future__ import annotations

import torch
from design import FrameDesign, World

from worldsim.model import ModelConfig
from worldsim.model.denoiser import Denoiser

__all__ = ["prototype"]


def prototype(world: World, config: ModelConfig, *, warps: bool = True) -> FrameDesign:
    """Return the shipped denoiser as a design.

    Args:
        world: What it is built for.
        config: Sizes.
        warps: Whether the last frame is moved; else every offset is held at zero.
    """
    spec = world.spec
    denoiser = Denoiser(
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
