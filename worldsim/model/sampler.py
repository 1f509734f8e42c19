"""From noise to a frame: the list of noise levels, and what walks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch

from worldsim.model.denoiser import Denoised
from worldsim.model.frame import Frame

__all__ = ["euler_step", "sample_frame", "schedule"]

_SHIFT = 3.0

Guess = TypeVar("Guess", Denoised, Frame)


def schedule(num_steps: int) -> list[float]:
    """Return the noise levels at which the denoiser is called, from 0 (pure noise) upwards.

    They are shifted towards the data, where the noisy frame says more than the frames before it.
    """
    levels = [k / num_steps for k in range(num_steps)]
    return [_SHIFT * u / (1 + (_SHIFT - 1) * u) for u in levels]


def euler_step(z: torch.Tensor, frame: torch.Tensor, level: float, following: float) -> torch.Tensor:
    """Return z at the noise level ``following``: an Euler step of dz/dtau = (frame - z) / (1 - tau) from ``level``."""
    return z + (following - level) / (1 - level) * (frame.clamp(-1, 1) - z)


def sample_frame(
    denoiser: Callable[..., Guess],
    noise: torch.Tensor | None,
    *,
    num_steps: int,
    previous: torch.Tensor,
    action: torch.Tensor,
    age: torch.Tensor,
    text: torch.Tensor,
    cache: Any,
    guidance: float = 1.0,
    visit: Callable[[torch.Tensor], None] | None = None,
) -> Guess:
    """Return the next frame of each stream by Euler steps of the rectified flow dz/dtau = (frame - z) / (1 - tau).

    Args:
        denoiser: Predicts the clean frame: a `Denoiser`, or a `FrameDenoiser` with room in its memory as the cache.
        noise: (B, 1, 3, H, W) standard normal; None will do for a single step, which starts where noise says nothing.
        num_steps: Denoiser calls.
        previous, action, age, text, cache: As in `Denoiser.forward`, for one frame.
        guidance: Of the text and factors (classifier-free, Ho and Salimans 2022): each predicted frame is the one
            without them plus ``guidance`` times the difference they make. 1 is the text as it is, at half the work.
        visit: Receives the noisy frame (B, 1, 3, H, W) that is met at each noise level but the first.
    """
    levels = schedule(num_steps)
    z = noise
    out = None
    for k, level in enumerate(levels):
        tau = torch.full(action.shape[:2], level, device=action.device)
        noisy = None if k == 0 else z
        plain = None
        if guidance != 1:
            plain = denoiser(noisy, tau, previous, action, age, torch.zeros_like(text), cache).frame
        out = denoiser(noisy, tau, previous, action, age, text, cache)  # after the plain one: a room keeps the last
        if plain is not None:
            out = replace(out, frame=plain + guidance * (out.frame - plain))
        if k + 1 < num_steps:
            if z is None:
                raise ValueError(f"{num_steps} sampler steps need noise")
            z = euler_step(z, out.frame, level, levels[k + 1])
            if visit is not None:
                visit(z)
    assert out is not None
    return out
