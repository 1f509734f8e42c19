"""The first frame of a world from text alone: the denoiser draws it as it draws every other, with nothing before it.

Such a frame is told by two mid-grey frames as its past, an action of zeros, and the age of a padded context. Nothing
but noise leads to it, so it takes many more steps of the sampler than a frame that continues another one.

The denoiser reads a noisy frame as the change of the frame before it, which is typically ``residual_std``. Here the
change is the whole picture. What it is handed is scaled, so that it comes to the least-squares estimate all the same:
no weight, and no line of the denoiser, is for first frames only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from worldsim.model.denoiser import MAX_AGE, Denoised, Denoiser
from worldsim.model.sampler import sample_frame

__all__ = ["FIRST_FRAME_STD", "FIRST_FRAME_STEPS", "NoPast", "draw_first_frame", "handed", "no_past"]

FIRST_FRAME_STD = 0.5
"""Typical distance of a pixel from mid grey, in units where a frame spans [-1, 1]."""
FIRST_FRAME_STEPS = 24
"""Denoiser calls for a first frame."""


@dataclass(frozen=True, kw_only=True)
class NoPast:
    """What a denoiser is told of the past of B frames that have none, as in `Denoiser.forward` with T = 1."""

    previous: torch.Tensor
    """(B, 1, 2, 3, H, W) zeros, which is mid grey."""
    action: torch.Tensor
    """(B, 1, A) zeros."""
    age: torch.Tensor
    """(B, 1) int64, that of padding."""


def no_past(frames: torch.Tensor, action_dim: int) -> NoPast:
    """Return the past of frames (B, 1, 3, H, W) with ``action_dim`` numbers per encoded action."""
    batch, device = len(frames), frames.device
    return NoPast(
        previous=torch.zeros(batch, 1, 2, *frames.shape[2:], device=device),
        action=torch.zeros(batch, 1, action_dim, device=device),
        age=torch.full((batch, 1), MAX_AGE + 1, device=device),
    )


def handed(noisy: torch.Tensor, tau: torch.Tensor, residual_std: float) -> torch.Tensor:
    """Return what the denoiser is handed in place of noisy frames without a past, both (B, 1, 3, H, W).

    Args:
        noisy: tau * frame + (1 - tau) * noise.
        tau: (B, 1) in [0, 1).
        residual_std: That the denoiser supposes of a change.
    """
    signal = FIRST_FRAME_STD**2 / residual_std**2  # of wiener(tau, FIRST_FRAME_STD) over wiener(tau, residual_std)
    noise = (1 - tau) ** 2
    ratio = signal * ((tau * residual_std) ** 2 + noise) / ((tau * FIRST_FRAME_STD) ** 2 + noise)
    return noisy * ratio[:, :, None, None, None]


def draw_first_frame(
    denoiser: Denoiser, noise: torch.Tensor, text: torch.Tensor, *, action_dim: int, num_steps: int, guidance: float
) -> torch.Tensor:
    """Return (B, 3, H, W) first frames in [-1, 1] (not clamped).

    Args:
        denoiser: Trained for it.
        noise: (B, 1, 3, H, W) standard normal.
        text: (B, 1, C) encoded prompts, followed by encoded factors where the model knows any.
        action_dim: Length A of an encoded action.
        num_steps: Denoiser calls.
        guidance: As in `sample_frame`.
    """

    def scaled(noisy: torch.Tensor | None, tau: torch.Tensor, *rest: torch.Tensor) -> Denoised:
        given = None if noisy is None else handed(noisy, tau, denoiser.config.residual_std)
        return denoiser(given, tau, *rest)

    past = no_past(noise, action_dim)
    out = sample_frame(
        scaled,
        noise,
        num_steps=num_steps,
        previous=past.previous,
        action=past.action,
        age=past.age,
        text=text,
        cache=None,
        guidance=guidance,
    )
    return out.frame[:, 0]
