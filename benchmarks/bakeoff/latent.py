"""Design 3: latents of a small autoencoder, learned first, and a transformer that predicts them.

The autoencoder is the principal components of 8x8 patches of the data, corrected by convolutions on both sides; so it
is good from the first step, and codes keep about the scale of pixels. Codes are fed back as they are:
frames are decoded to be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from convformer import ConvBlock
from design import World, channels_last, new_words, zero
from einops import rearrange
from torch import nn
from trunk import Trunk

from worldsim.errors import WorldsimError
from worldsim.model import ModelConfig
from worldsim.model.denoiser import estimated_change
from worldsim.model.networks import from_pixels, to_pixels
from worldsim.train.data import Batch
from worldsim.train.draws import Draws
from worldsim.train.objective import make_inputs

__all__ = ["Latent"]

_SIDE = 8  # pixels of a patch
_CORRECTION = 0.1  # scale of the convolutions, lest the first steps of training drown what is there
_FRAMES_PER_WINDOW = 8  # that the autoencoder learns from: neighbours hardly differ


class _Inputs(NamedTuple):
    """Of the loss of the second stage."""

    target: torch.Tensor
    """(B, T, N, C) true codes."""
    noisy: torch.Tensor
    tau: torch.Tensor
    """(B, T)."""
    previous: torch.Tensor
    """(B, T, 2, N, C) codes of the frame before and the one before that."""
    action: torch.Tensor
    """(B, T, A)."""
    text: torch.Tensor
    """(B, T, F)."""


@dataclass(frozen=True, kw_only=True)
class _State:
    cache: Any
    codes: torch.Tensor
    """(N, 2, patches, C) of the last frame and the one before it."""
    text: torch.Tensor


class Latent(nn.Module):
    """An autoencoder and a denoiser of its codes, one code per 8x8 pixels.

    Args:
        world: What it is built for.
        config: Sizes of the transformer; ``patch`` means nothing here.
        code_dim: Numbers C per code.
        width: Channels of the autoencoder's convolutions, a multiple of 16.
        share: Of the minutes, for the autoencoder.

    Raises:
        WorldsimError: If the frame size does not divide into patches.
    """

    stage = 0
    mean: torch.Tensor
    components: torch.Tensor

    def __init__(
        self, world: World, config: ModelConfig, *, code_dim: int = 32, width: int = 64, share: float = 0.2
    ) -> None:
        super().__init__()
        spec = world.spec
        if spec.height % _SIDE or spec.width % _SIDE:
            raise WorldsimError(f"frames must be multiples of {_SIDE} pixels; got {spec.height}x{spec.width}")
        self.stages = (share, 1 - share)
        self.config = config
        self.grid = (spec.height // _SIDE, spec.width // _SIDE)
        num_values = 3 * _SIDE**2
        self.loudness = (num_values / code_dim) ** 0.5  # of codes over pixels, if a code keeps its patch's energy
        self.code_std = self.loudness * config.residual_std  # of a change
        mean, components = _principal_components(world.frames, code_dim)
        self.register_buffer("mean", mean)  # (values,)
        self.register_buffer("components", components)  # (values, C)
        self.encoder = nn.Sequential(
            nn.Conv2d(48, width, 3, padding=1),  # at a quarter of the resolution
            ConvBlock(width),
            nn.Conv2d(width, 2 * width, 2, stride=2),
            ConvBlock(2 * width),
            nn.Conv2d(2 * width, code_dim, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(code_dim, 2 * width, 3, padding=1),
            ConvBlock(2 * width),
            nn.ConvTranspose2d(2 * width, width, 2, stride=2),
            ConvBlock(width),
            ConvBlock(width),
            nn.Conv2d(width, 48, 3, padding=1),
        )
        self.embed = nn.Linear(3 * code_dim, config.dim)
        num_codes = self.grid[0] * self.grid[1]
        self.trunk = Trunk(config, num_tokens=num_codes, action_dim=spec.action_dim)
        self.to_change = nn.Linear(config.dim, code_dim)
        self.text = new_words(world, config)
        for layer in (self.encoder[-1], self.decoder[-1], self.to_change):
            zero(layer)
        channels_last(self)

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """Return codes (M, N, C) of frames (M, 3, H, W) in [-1, 1]."""
        patches = rearrange(frames, "m c (y p) (x q) -> m (y x) (c p q)", p=_SIDE, q=_SIDE)
        x = self.encoder(F.pixel_unshuffle(frames, 4).contiguous(memory_format=torch.channels_last))
        return (patches - self.mean) @ self.components + _CORRECTION * x.flatten(2).movedim(1, 2)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return frames (M, 3, H, W) of codes (M, N, C)."""
        patches = codes @ self.components.T + self.mean
        frames = rearrange(patches, "m (y x) (c p q) -> m c (y p) (x q)", p=_SIDE, q=_SIDE, y=self.grid[0])
        image = codes.movedim(1, 2).unflatten(2, self.grid)
        x = self.decoder(image.contiguous(memory_format=torch.channels_last))
        return frames + _CORRECTION * F.pixel_shuffle(x, 4)

    def round_trip(self, frames: torch.Tensor) -> torch.Tensor:
        """See `Codec`."""
        return to_pixels(self.decode(self.encode(from_pixels(frames))).float())

    def prepare(self, batch: Batch, text: torch.Tensor, draws: Draws) -> tuple[Any, int]:
        """See `Design`: first frames (M, 3, H, W), then codes."""
        if self.stage == 0:
            every = -(-batch.frames.shape[1] // _FRAMES_PER_WINDOW)
            frames = from_pixels(batch.frames[:, ::every]).flatten(0, 1)
            return frames, len(frames)
        inputs = make_inputs(batch, text, draws)
        pixels = torch.cat([inputs.previous[:, :1, 0], inputs.target], dim=1)  # (B, T + 1, 3, H, W)
        with torch.no_grad():
            codes = self.encode(pixels.flatten(0, 1)).float().unflatten(0, pixels.shape[:2])  # (B, T + 1, N, C)
        target, level = codes[:, 1:], inputs.tau[:, :, None, None]
        noise = self.loudness * draws.normal(*target.shape[1:])
        made = _Inputs(
            target=target,
            noisy=level * target + (1 - level) * noise,
            tau=inputs.tau,
            previous=_with_before(codes[:, :-1]),
            action=inputs.action,
            text=inputs.text,
        )
        return made, inputs.tau.numel()

    def predict(
        self,
        noisy: torch.Tensor | None,
        tau: torch.Tensor,
        previous: torch.Tensor,
        action: torch.Tensor,
        text: torch.Tensor,
        cache: Any = None,
    ) -> tuple[torch.Tensor, Any]:
        """Return clean codes (B, T, N, C) and the cache."""
        last = previous[:, :, 0]
        # Noise is as much louder than pixels' noise as codes are than pixels, so the gain is that of pixels.
        change = estimated_change(noisy, tau, last, self.config.residual_std)
        x = self.embed(torch.cat([change, last, last - previous[:, :, 1]], dim=-1) / self.code_std)
        x, cache = self.trunk(x, tau, action, text, cache)
        return last + self.code_std * self.to_change(x).float(), cache

    def loss(self, inputs: Any) -> torch.Tensor:
        """Return the mean squared error of the stage, in units of a typical change."""
        if isinstance(inputs, torch.Tensor):
            error = self.decode(self.encode(inputs)) - inputs
            return error.square().mean() / self.config.residual_std**2
        text = self.text(inputs.text)
        codes, _ = self.predict(inputs.noisy, inputs.tau, inputs.previous, inputs.action, text)
        return (codes - inputs.target).square().mean() / self.code_std**2

    def begin(self, frames: torch.Tensor, action: torch.Tensor, text: torch.Tensor, seeds: torch.Tensor) -> _State:
        """See `Design`; one sampler step from pure noise needs no noise."""
        codes = self.encode(from_pixels(frames).flatten(0, 1)).float().unflatten(0, frames.shape[:2])  # (N, C, ...)
        told = self.text(text)
        known = told[:, None].expand(-1, action.shape[1], -1)
        _, cache = self.predict(None, torch.zeros(action.shape[:2]), _with_before(codes[:, :-1]), action, known)
        return _State(cache=cache, codes=codes[:, [-1, -2]], text=told)

    def step(self, state: _State, action: torch.Tensor) -> tuple[_State, torch.Tensor]:
        """See `Design`."""
        none = torch.zeros(len(action), 1)
        codes, cache = self.predict(None, none, state.codes[:, None], action[:, None], state.text[:, None], state.cache)
        new = replace(state, cache=cache, codes=torch.stack([codes[:, 0], state.codes[:, 0]], dim=1))
        return new, to_pixels(self.decode(codes[:, 0]).float())


def _with_before(codes: torch.Tensor) -> torch.Tensor:
    """Return (B, T, 2, N, C): each code beside the one before it; the first stands beside itself."""
    return torch.stack([codes, torch.cat([codes[:, :1], codes[:, :-1]], dim=1)], dim=2)


def _principal_components(frames: torch.Tensor, num: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean (values,) and the first components (values, num) of the patches of uint8 frames."""
    patches = rearrange(from_pixels(frames), "m c (y p) (x q) -> (m y x) (c p q)", p=_SIDE, q=_SIDE)
    mean = patches.mean(dim=0)
    centred = patches - mean
    _, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))  # by rising variance
    return mean, vectors.flip(1)[:, :num].contiguous()
