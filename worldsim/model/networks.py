"""All that is trained, and how frames become the numbers that it computes with."""

from __future__ import annotations

import torch
from torch import nn

from worldsim.model.denoiser import Denoiser
from worldsim.model.presets import ModelConfig
from worldsim.model.spec import ModelSpec
from worldsim.model.text import TEXT_ENCODERS, Vocabulary

__all__ = ["Networks", "from_pixels", "to_pixels"]


class Networks(nn.Module):
    """All that is trained: the denoiser with its heads, and the text encoder."""

    def __init__(self, config: ModelConfig, spec: ModelSpec, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.denoiser = Denoiser(
            config,
            height=spec.height,
            width=spec.width,
            action_dim=spec.action_dim,
            condition_dim=config.text_dim + 2 * len(spec.factor_names),
        )
        self.text = TEXT_ENCODERS[config.text_encoder](vocabulary, config.text_dim)

    def condition(self, text: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        """Return (..., C) what the denoiser is told.

        Args:
            text: (..., F) features of captions.
            factors: (..., 2 K) encoded factors.
        """
        encoded = self.text(text)
        return torch.cat([encoded, factors.to(encoded.dtype)], dim=-1) if factors.shape[-1] else encoded


def from_pixels(frames: torch.Tensor) -> torch.Tensor:
    """Return (..., 3, H, W) float32 in [-1, 1] for (..., H, W, 3) uint8."""
    return frames.movedim(-1, -3).to(torch.float32) / 127.5 - 1


def to_pixels(frames: torch.Tensor) -> torch.Tensor:
    """Return (..., H, W, 3) uint8 for (..., 3, H, W) in [-1, 1]; values outside are clamped."""
    return ((frames.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-3, -1)
