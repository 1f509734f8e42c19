"""From noise to a frame: the list of noise levels, and what walks it."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from worldsim.model.denoiser import Denoised, Denoiser

__all__ = ["sample_frame", "schedule", "sharpen", "smooth"]

_SHIFT = 3.0


def schedule(num_steps: int) -> list[float]:
    """Return the noise levels at which the denoiser is called, from 0 (pure noise) upwards.

    They are shifted towards the data, where the noisy frame says more than the frames before it.
    """
    levels = [k / num_steps for k in range(num_steps)]
    return [_SHIFT * u / (1 + (_SHIFT - 1) * u) for u in levels]


def sample_frame(
    denoiser: Denoiser,
    noise: torch.Tensor | None,
    *,
    num_steps: int,
    previous: torch.Tensor,
    action: torch.Tensor,
    age: torch.Tensor,
    text: torch.Tensor,
    cache: torch.Tensor | None,
) -> Denoised:
    """Return the next frame of each stream by Euler steps of the rectified flow dz/dtau = (frame - z) / (1 - tau).

    Args:
        denoiser: Predicts the clean frame.
        noise: (B, 1, 3, H, W) standard normal; None will do for a single step, which starts where noise says nothing.
        num_steps: Denoiser calls.
        previous, action, age, text, cache: As in `Denoiser.forward`, for one frame.
    """
    levels = schedule(num_steps)
    z = noise
    out = None
    for k, level in enumerate(levels):
        tau = torch.full(action.shape[:2], level, device=action.device)
        out = denoiser(None if k == 0 else z, tau, previous, action, age, text, cache)
        if k + 1 < num_steps:
            if z is None:
                raise ValueError(f"{num_steps} sampler steps need noise")
            z = z + (levels[k + 1] - level) / (1 - level) * (out.frame.clamp(-1, 1) - z)
    assert out is not None
    return out


def smooth(frames: torch.Tensor) -> torch.Tensor:
    """Return (N, C, H, W) frames under the kernel [1, 2, 1] / 4 across and down, the edge repeated."""
    padded = F.pad(frames, (1, 1, 1, 1), mode="replicate")
    across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]) / 16


def sharpen(frames: torch.Tensor, amount: float) -> torch.Tensor:
    """Return (N, 3, H, W) frames with ``amount`` times the medium detail of their brightness added.

    Single pixels and colours are left alone, so that neither hatching nor a cast grows from step to step.
    """
    light = smooth(frames.mean(dim=1, keepdim=True))
    return frames + amount * (light - smooth(smooth(light)))
