"""Sizes of the world model: plain data, and one function per preset that returns it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["PRESETS", "ModelConfig", "base", "large", "small", "tiny"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Architecture of a denoiser and how it is sampled."""

    patch: int = 8
    """Side of a square patch in pixels; a frame of any size is padded to a multiple of it."""
    dim: int = 256
    """Width D of a token."""
    depth: int = 6
    """Number of blocks; even ones attend within a frame, odd ones over time at one place."""
    num_heads: int = 4
    mlp_dim: int = 864
    """Hidden width of a block's feed-forward layer."""
    num_context: int = 16
    """Frames the model starts from, and the temporal window of its attention."""
    pixel_dim: int = 14
    """Channels per pixel that the tokens hand to the painting convolutions."""
    paint_dim: int = 24
    """Hidden channels of the painting convolutions."""
    text_dim: int = 64
    """Width of a word embedding."""
    residual_std: float = 0.2
    """Typical size of the change between two frames, in units where a frame spans [-1, 1]."""
    sampler_steps: int = 1
    """Default number of denoiser calls per frame."""
    text_encoder: str = "words"
    """Reads prompts: ``words``, the built-in one, or ``sentence``, a pretrained one (extra ``text``)."""


def tiny() -> ModelConfig:
    """Return a model for tests: it trains in seconds and is good at nothing."""
    return ModelConfig(dim=32, depth=2, num_heads=2, mlp_dim=64, num_context=4, pixel_dim=6, paint_dim=8, text_dim=16)


def small() -> ModelConfig:
    """Return the default for 64-pixel worlds on a CPU: under 6 M parameters."""
    return ModelConfig()


def base() -> ModelConfig:
    """Return a model for 128-pixel worlds: `small` with patches of twice the size, so that it can begin as one."""
    return ModelConfig(patch=16)


def large() -> ModelConfig:
    """Return a model for a GPU."""
    return ModelConfig(dim=768, depth=12, num_heads=12, mlp_dim=3072, num_context=16, pixel_dim=24, paint_dim=64)


PRESETS: dict[str, Callable[[], ModelConfig]] = {"tiny": tiny, "small": small, "base": base, "large": large}
