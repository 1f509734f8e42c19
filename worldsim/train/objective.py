"""What the networks are trained for: clean frames from noisy ones, reward and end of each step.

Rectified flow in clean-frame prediction: noisy = tau * frame + (1 - tau) * noise, one tau per frame, squared error
between the predicted and the true frame. Most frames have tau = 0, the level at which a step begins: what is
predicted there decides a rollout, and all that follows refines it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from worldsim.model.denoiser import MAX_AGE, Denoised
from worldsim.model.world_model import Networks, from_pixels
from worldsim.train.data import Batch

__all__ = ["Inputs", "Losses", "losses", "make_inputs"]

_SHARE_PURE = 0.6  # frames at tau = 0
_TAU_MEAN, _TAU_STD = 1.0, 1.2  # of the logit of the other frames' tau
_TEXT_DROP = 0.25  # share of windows without a prompt: most starts have none, and guidance needs both
_BAND_SQUARES = (8, 4, 2)  # pixels of each band, which is half as fine as the one before
_WEIGHT_REWARD, _WEIGHT_TERMINATE = 0.05, 0.05


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything the loss of one batch depends on."""

    target: torch.Tensor
    """(B, T, 3, H, W) true frames in [-1, 1]."""
    noisy: torch.Tensor
    """(B, T, 3, H, W)."""
    tau: torch.Tensor
    """(B, T)."""
    previous: torch.Tensor
    """(B, T, 2, 3, H, W) the frame before and the one before that."""
    action: torch.Tensor
    """(B, T, A)."""
    age: torch.Tensor
    """(B, T) int64."""
    tokens: torch.Tensor
    """(B, T, words) int64."""
    reward: torch.Tensor
    """(B, T)."""
    terminated: torch.Tensor
    """(B, T)."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What one batch gives; scalars but for the frames."""

    total: torch.Tensor
    frames: torch.Tensor
    """(B, T, 3, H, W) predicted frames."""
    frame: torch.Tensor
    """Mean squared error at tau = 0, frames in [-1, 1]."""
    refine: torch.Tensor
    """The same at the other noise levels."""
    contrast: torch.Tensor
    """Mean difference of local contrast; see `local_contrast`."""
    sharpness: torch.Tensor
    """Gradient energy of predicted over true frames where the context is imagined; NaN if it is true everywhere."""
    reward: torch.Tensor
    terminate: torch.Tensor


def make_inputs(
    batch: Batch, tokens: torch.Tensor, generator: torch.Generator, *, padding: int = 0, pure: bool = False
) -> Inputs:
    """Return the inputs of a batch: noise, noise levels, and true frames as context.

    Args:
        batch: Windows of T steps.
        tokens: (B, T, words) tokens of the captions.
        generator: Draws the noise.
        padding: In 0 to T - 1, how many frames are replaced by the first one behind them and marked, as
            `WorldModel.encode` does with a context that is too short.
        pure: Whether every tau is 0 and no prompt is dropped, as in an evaluation.
    """
    pixels = from_pixels(batch.frames)  # (B, T + 1, 3, H, W)
    real = torch.ones(batch.reward.shape)
    if padding:
        pixels[:, :padding] = pixels[:, padding : padding + 1]
        real[:, :padding] = 0
    target = pixels[:, 1:]
    before = torch.cat([pixels[:, :1], pixels[:, :-2]], dim=1)
    shape = target.shape[:2]
    tau = torch.sigmoid(_TAU_MEAN + _TAU_STD * torch.randn(shape, generator=generator))
    tau = tau * (torch.rand(shape, generator=generator) >= (1.0 if pure else _SHARE_PURE))
    noise = torch.randn(target.shape, generator=generator)
    level = tau[:, :, None, None, None]
    keep = torch.rand((shape[0], 1, 1), generator=generator) >= (0.0 if pure else _TEXT_DROP)
    return Inputs(
        target=target,
        noisy=level * target + (1 - level) * noise,
        tau=tau,
        previous=torch.stack([pixels[:, :-1], before], dim=2),
        action=batch.action * real[..., None],
        age=((1 - real) * (MAX_AGE + 1)).long(),
        tokens=tokens * keep,
        reward=batch.reward * real,
        terminated=batch.terminated * real,
    )


def local_contrast(frames: torch.Tensor) -> list[torch.Tensor]:
    """Return how strong the details of each size are in each square of a frame.

    The bands are those of a Laplacian pyramid (Burt and Adelson 1983); each is given as its root mean square in squares
    of 8 pixels of the frame.

    Args:
        frames: (N, 3, H, W).

    Returns:
        One (N, 3, h, w) per band, fine to coarse.
    """
    bands = []
    for side in _BAND_SQUARES:
        band = frames - _smooth(frames)
        bands.append((F.avg_pool2d(band.square(), side, ceil_mode=True) + 1e-5).sqrt())
        frames = F.avg_pool2d(frames, 2)
    return bands


def _smooth(frames: torch.Tensor) -> torch.Tensor:
    """Return frames under the kernel [1, 2, 1] / 4 across and down, the edge repeated."""
    padded = F.pad(frames, (1, 1, 1, 1), mode="replicate")
    across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]) / 16


def _gradient_energy(frames: torch.Tensor) -> torch.Tensor:
    """Return (N,) summed squared differences of neighbouring pixels."""
    across, down = frames[..., 1:] - frames[..., :-1], frames[..., 1:, :] - frames[..., :-1, :]
    return across.square().sum(dim=(1, 2, 3)) + down.square().sum(dim=(1, 2, 3))


def losses(networks: Networks, inputs: Inputs, contrast_weight: torch.Tensor) -> Losses:
    """Return the loss of one batch and its parts.

    Args:
        networks: What is trained.
        inputs: The batch.
        contrast_weight: () weight of the difference of local contrast. A squared error alone is least for the mean of
            all possible frames, which is blurred, and a rollout blurs it again at every step.
    """
    out: Denoised = networks.denoiser(
        inputs.noisy, inputs.tau, inputs.previous, inputs.action, inputs.age, networks.text(inputs.tokens)
    )
    error = (out.frame - inputs.target).square().mean(dim=(2, 3, 4))  # (B, T)
    pure = (inputs.tau == 0).float()
    reward = F.smooth_l1_loss(out.reward, inputs.reward, beta=0.1)
    terminate = F.binary_cross_entropy_with_logits(out.terminate, inputs.terminated)
    scale = 1.0 / networks.denoiser.config.residual_std**2
    own, true = out.frame.flatten(0, 1), inputs.target.flatten(0, 1)  # (B T, 3, H, W)
    pairs = zip(local_contrast(own), local_contrast(true), strict=True)
    contrast = torch.stack([(a - b).abs().mean() for a, b in pairs]).sum()
    imagined = ((inputs.age > 1) & (inputs.age <= MAX_AGE) & (inputs.tau == 0)).float().flatten()
    sharpness = (_gradient_energy(own).detach() * imagined).sum() / (_gradient_energy(true) * imagined).sum()
    total = scale * error.mean() + contrast_weight * contrast + _WEIGHT_REWARD * reward + _WEIGHT_TERMINATE * terminate
    return Losses(
        total=total,
        frames=out.frame,
        frame=(error * pure).sum().detach() / pure.sum().clamp_min(1),
        refine=(error * (1 - pure)).sum().detach() / (1 - pure).sum().clamp_min(1),
        contrast=contrast.detach(),
        sharpness=sharpness,
        reward=reward.detach(),
        terminate=terminate.detach(),
    )
