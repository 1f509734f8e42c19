"""Design 4, the reference: a convolutional U-Net over stacked frames, in the settings that DIAMOND published for 64x64.

Alonso et al. 2024, "Diffusion for World Modeling: Visual Details Matter in Atari": four stages of 64 channels with two
blocks each, 4 past frames and actions, preconditioning and noise levels of Karras et al. 2022 (EDM), 3 Euler steps,
frames quantised to uint8. Written anew from the two papers and the published settings. What differs: the action is a
vector and not a choice, the caption is told as to the other designs, and the loss has no self-rollout in it, since
this round compares designs on true contexts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from design import World, channels_last, new_words
from torch import nn

from worldsim.errors import WorldsimError
from worldsim.model import ModelConfig
from worldsim.model.networks import from_pixels, to_pixels
from worldsim.model.noise import keyed_noise
from worldsim.train.data import Batch
from worldsim.train.draws import Draws

__all__ = ["UNet"]

_PAST = 4  # frames
_SIGMA_DATA, _SIGMA_OFFSET = 0.5, 0.3
_SIGMA_MEAN, _SIGMA_STD = -0.4, 1.2  # of the logarithm, in training
_SIGMA_RANGE = (2e-3, 20.0)  # in training
_SIGMA_LEAST, _SIGMA_MOST, _RHO, _NUM_STEPS = 2e-3, 5.0, 7, 3  # of the sampler
_HEAD_DIM = 8
_TARGETS_PER_WINDOW = 8  # 32 targets a step, the published batch, from 4 windows


class _Norm(nn.Module):
    """Group norm whose scale and shift are told by the conditioning."""

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.groups = max(1, channels // 32)
        self.told = nn.Linear(condition_dim, 2 * channels)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        scale, shift = self.told(condition)[:, :, None, None].chunk(2, dim=1)
        return F.group_norm(x, self.groups) * (1 + scale) + shift


class _Attention(nn.Module):
    """Attention among all places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_heads = max(1, channels // _HEAD_DIM)
        self.norm = nn.GroupNorm(max(1, channels // 32), channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.num_heads, -1))  # (M, 3, heads, d, places)
        q, k, v = qkv.transpose(-1, -2).unbind(1)  # (M, heads, places, d)
        weight = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(dim=-1)
        mixed = (weight.to(v.dtype) @ v).transpose(-1, -2).reshape(x.shape)
        return x + self.out(mixed)


class _Block(nn.Module):
    """Two convolutions behind conditioned norms, a skip beside them, and attention where asked for."""

    def __init__(self, channels_in: int, channels: int, condition_dim: int, *, attends: bool = False) -> None:
        super().__init__()
        self.skip = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else nn.Identity()
        self.norm1, self.norm2 = _Norm(channels_in, condition_dim), _Norm(channels, condition_dim)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.attention = _Attention(channels) if attends else nn.Identity()
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        y = self.conv1(F.silu(self.norm1(x, condition)))
        y = self.conv2(F.silu(self.norm2(y, condition)))
        return self.attention(self.skip(x) + y)


class _Network(nn.Module):
    """Down and up through the stages; every output on the way down is an input on the way up."""

    def __init__(self, channels: int, num_stages: int, num_blocks: int, condition_dim: int) -> None:
        super().__init__()
        c, told = channels, condition_dim
        self.stem = nn.Conv2d(3 * (_PAST + 1), c, 3, padding=1)
        self.shrink = nn.ModuleList([nn.Conv2d(c, c, 3, stride=2, padding=1) for _ in range(num_stages - 1)])
        self.grow = nn.ModuleList([nn.Conv2d(c, c, 3, padding=1) for _ in range(num_stages - 1)])
        self.down = nn.ModuleList(
            [nn.ModuleList([_Block(c, c, told) for _ in range(num_blocks)]) for _ in range(num_stages)]
        )
        self.middle = nn.ModuleList([_Block(c, c, told, attends=True) for _ in range(2)])
        self.up = nn.ModuleList(
            [nn.ModuleList([_Block(2 * c, c, told) for _ in range(num_blocks + 1)]) for _ in range(num_stages)]
        )
        self.norm = nn.GroupNorm(max(1, c // 32), c)
        self.head = nn.Conv2d(c, 3, 3, padding=1)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        kept = []
        for i, blocks in enumerate(self.down):
            assert isinstance(blocks, nn.ModuleList)
            x = self.shrink[i - 1](x) if i else x
            kept.append(x)
            for block in blocks:
                x = block(x, condition)
                kept.append(x)
        for block in self.middle:
            x = block(x, condition)
        for i, blocks in enumerate(self.up):
            assert isinstance(blocks, nn.ModuleList)
            x = self.grow[i - 1](F.interpolate(x, scale_factor=2, mode="nearest")) if i else x
            for block in blocks:
                x = block(torch.cat([x, kept.pop()], dim=1), condition)
        return self.head(F.silu(self.norm(x)))


class _Inputs(NamedTuple):
    noise: torch.Tensor
    """(M, 3, H, W) standard normal, and the offset of a whole colour in it."""
    sigma: torch.Tensor
    """(M,)."""
    target: torch.Tensor
    """(M, 3, H, W) in [-1, 1]."""
    past: torch.Tensor
    """(M, 4, 3, H, W)."""
    action: torch.Tensor
    """(M, 4, A); the last one leads into the target."""
    text: torch.Tensor
    """(M, F)."""


@dataclass(frozen=True, kw_only=True)
class _State:
    frames: torch.Tensor
    """(N, 4, H, W, 3) uint8."""
    action: torch.Tensor
    """(N, 3, A) between them."""
    text: torch.Tensor
    """(N, D) encoded captions."""
    seeds: torch.Tensor
    step_count: int = 0


class UNet(nn.Module):
    """One target frame behind four past ones.

    Args:
        world: What it is built for.
        config: Of the captions' encoder.
        channels: Of every stage.
        num_stages: Resolutions, each half of the one before.
        condition_dim: Width of the conditioning.

    Raises:
        WorldsimError: If the frame size cannot be halved often enough.
    """

    stages = (1.0,)
    stage = 0
    frequencies: torch.Tensor
    """(D / 2,) of the waves that tell the noise level."""

    def __init__(
        self, world: World, config: ModelConfig, *, channels: int = 64, num_stages: int = 4, condition_dim: int = 256
    ) -> None:
        super().__init__()
        spec, least = world.spec, 2 ** (num_stages - 1)
        if spec.height % least or spec.width % least:
            raise WorldsimError(f"frames must be multiples of {least} pixels; got {spec.height}x{spec.width}")
        self.text = new_words(world, config)
        self.register_buffer("frequencies", torch.randn(condition_dim // 2))
        self.embed_action = nn.Linear(spec.action_dim, condition_dim // _PAST)
        self.embed_text = nn.Linear(config.text_dim, condition_dim)
        self.condition = nn.Sequential(
            nn.Linear(condition_dim, condition_dim), nn.SiLU(), nn.Linear(condition_dim, condition_dim)
        )
        self.network = _Network(channels, num_stages, num_blocks=2, condition_dim=condition_dim)
        nn.init.zeros_(self.embed_text.weight)
        channels_last(self)

    def prepare(self, batch: Batch, text: torch.Tensor, draws: Draws) -> tuple[_Inputs, int]:
        """See `Design`; the targets of a window are drawn among its frames with four before them."""
        num_windows, num_steps = batch.action.shape[:2]
        num_targets = min(_TARGETS_PER_WINDOW, num_steps - _PAST + 1)
        place = _PAST + draws.uniform(num_steps - _PAST + 1).argsort(dim=1)[:, :num_targets]  # (B, K)
        window = torch.arange(num_windows)[:, None]
        before = place[..., None] - torch.arange(_PAST, 0, -1)  # (B, K, 4)
        pixels = from_pixels(batch.frames)  # (B, T + 1, 3, H, W)
        size = (num_targets, *pixels.shape[2:])
        sigma = (_SIGMA_MEAN + _SIGMA_STD * draws.normal(num_targets)).exp().clamp(*_SIGMA_RANGE)  # (B, K)
        noise = draws.normal(*size) * sigma[..., None, None, None]
        noise = noise + _SIGMA_OFFSET * draws.normal(num_targets, 3, 1, 1)
        return _Inputs(
            noise=noise.flatten(0, 1),
            sigma=sigma.flatten(),
            target=pixels[window, place].flatten(0, 1),
            past=pixels[window[..., None], before].flatten(0, 1),
            action=batch.action[window[..., None], before].flatten(0, 1),
            text=text[window, place - 1].flatten(0, 1),
        ), place.numel()

    def loss(self, inputs: _Inputs) -> torch.Tensor:
        """Return the mean squared error of the network's own output, whose target has unit variance."""
        noisy = inputs.target + inputs.noise
        condition = self._conditioning(inputs.sigma, inputs.action, self.text(inputs.text))
        scale_in, scale_skip, scale_out = _preconditioning(inputs.sigma)
        out = self._network(noisy * scale_in, inputs.past, condition)
        return (out - (inputs.target - scale_skip * noisy) / scale_out).square().mean()

    def begin(self, frames: torch.Tensor, action: torch.Tensor, text: torch.Tensor, seeds: torch.Tensor) -> _State:
        """See `Design`."""
        return _State(frames=frames[:, -_PAST:], action=action[:, 1 - _PAST :], text=self.text(text), seeds=seeds)

    def step(self, state: _State, action: torch.Tensor) -> tuple[_State, torch.Tensor]:
        """See `Design`: Euler steps down the noise levels, every clean estimate quantised."""
        actions = torch.cat([state.action, action[:, None]], dim=1)  # (N, 4, A)
        past = from_pixels(state.frames)  # (N, 4, 3, H, W)
        sigmas = _sigmas()
        steps = torch.full((len(action),), state.step_count)
        noise = keyed_noise(state.seeds.numpy(), steps.numpy(), 0, tuple(past.shape[2:]))
        z = noise * sigmas[0]
        for sigma, lower in zip(sigmas, [*sigmas[1:], 0.0], strict=True):
            level = torch.full((len(action),), sigma)
            scale_in, scale_skip, scale_out = _preconditioning(level)
            out = self._network(z * scale_in, past, self._conditioning(level, actions, state.text))
            clean = from_pixels(to_pixels(scale_skip * z + scale_out * out))
            z = clean + lower / sigma * (z - clean)
        frames = to_pixels(z)
        return replace(
            state,
            frames=torch.cat([state.frames[:, 1:], frames[:, None]], dim=1),
            action=actions[:, 1:],
            step_count=state.step_count + 1,
        ), frames

    def _network(self, scaled: torch.Tensor, past: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return self.network(torch.cat([past.flatten(1, 2) / _SIGMA_DATA, scaled], dim=1), condition).float()

    def _conditioning(self, sigma: torch.Tensor, action: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Return (M, D) for noise levels (M,), actions (M, 4, A) and encoded captions (M, F)."""
        angle = 2 * math.pi * (_total(sigma).log() / 4)[:, None] * self.frequencies
        level = torch.cat([angle.cos(), angle.sin()], dim=1)
        return self.condition(level + self.embed_action(action).flatten(1) + self.embed_text(text))


def _total(sigma: torch.Tensor) -> torch.Tensor:
    """Return the noise level with the offset's part."""
    return (sigma**2 + _SIGMA_OFFSET**2).sqrt()


def _preconditioning(sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the factors of the network's input, the skip and its output, (M, 1, 1, 1) each (EDM, table 1)."""
    total = _total(sigma)[:, None, None, None]
    norm = (total**2 + _SIGMA_DATA**2).sqrt()
    return 1 / norm, _SIGMA_DATA**2 / norm**2, total * _SIGMA_DATA / norm


def _sigmas() -> list[float]:
    """Return the noise levels of the sampler from the highest to the lowest (EDM, equation 5)."""
    most, least = _SIGMA_MOST ** (1 / _RHO), _SIGMA_LEAST ** (1 / _RHO)
    return [(most + i / (_NUM_STEPS - 1) * (least - most)) ** _RHO for i in range(_NUM_STEPS)]
