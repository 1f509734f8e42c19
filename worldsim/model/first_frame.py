"""First frames from text alone, by a small network of its own: rectified flow from noise to the codes of a frame.

The denoiser that continues frames is a poor painter of first ones: it is told to move a frame that is not there. Here
a frame is a grid of codes, as many as matter of the principal components of its patches, which overlap (Malvar's lapped
transform, 1992), so that they fit at their edges; a transformer turns noise into them under what the world model is
told too, its encoded prompt and factors, and under the plain words: a world model whose contexts show the colours need
not hear them. Frames above 64 pixels are drawn small and enlarged by convolutions: what belongs where is decided among
some 64 patches, and how an edge runs is no matter of chance.

Axes: B frames, N patches, K codes, D width, U plain words, C numbers of what it is told, U among them; H and W pixels
of a frame, h and w of the small frame that is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from scipy.fft import dct
from torch import nn

from worldsim.model.networks import from_pixels, to_pixels

__all__ = ["Enlarger", "FirstFrameConfig", "FirstFrameNet", "PatchCodes", "first_frame_config", "tiny_first_frames"]

_LEVELS = 16  # octaves in which a noise level is told
_LEAST_STD = 0.1  # of a code at its place, of that of the code anywhere: what never changes there is not blown up
_LEAST_TOLD = 0.1  # of a direction of what is told, of the spread of the widest
_SPREAD_TOLD = 3.0  # of what is told: the larger, the faster its layer learns to hear it
_MOST_TOLD = 36  # plain words, beyond which each counts less
_SHIFT = 3.0  # of the sampler towards noise, where the colours of a frame are decided (Esser et al. 2024)
_ENLARGING_LAYERS = 4
_AT_ONCE = 256  # frames of a fit that are taken apart at once, in double precision
_LEAST_VALUE = 0.02  # of a principal component, in units where a frame spans [-1, 1]


@dataclass(frozen=True, kw_only=True)
class FirstFrameConfig:
    """Architecture of a network for first frames, and how it is sampled."""

    enlarge: int = 1
    """Frames are drawn so many times smaller."""
    enlarge_dim: int = 32
    """Channels of the convolutions that enlarge or refine them."""
    refine: bool = False
    """Whether frames that are drawn at their own size go through such convolutions too."""
    words: bool = False
    """Whether it hears plain words beside what the world model makes of them."""
    patch: int = 8
    """Pixels on each side of a patch of what is drawn."""
    codes: int = 40
    """Numbers K that stand for a patch."""
    dim: int = 128
    """Width D of a token."""
    depth: int = 6
    """Blocks."""
    heads: int = 4
    sampler_steps: int = 32
    """Default number of calls per frame, on each side of the guidance."""
    guidance: float = 1.5
    """Default strength of a prompt; 1 is as learned."""
    repaint: bool = False
    """Whether a prompt repaints the present frame by default: where prompts name how a world looks, and not what is in
    it, which would have to come from somewhere."""


def first_frame_config(height: int, width: int) -> FirstFrameConfig:
    """Return an architecture for frames of a size: what is drawn has at most 64 pixels on a side."""
    times = -(-max(height, width) // 64)
    return FirstFrameConfig(enlarge=times, enlarge_dim=32 if times > 1 else 24, refine=True, words=True)


def tiny_first_frames() -> FirstFrameConfig:
    """Return a network for tests: it trains in seconds and is good at little."""
    return FirstFrameConfig(codes=12, dim=32, depth=2, heads=2, sampler_steps=8)


class PatchCodes(nn.Module):
    """The principal components of overlapping patches, each of unit variance at its place, and back.

    Args:
        config: Sizes.
        height, width: Of pictures; they are padded to whole patches.
    """

    mean: torch.Tensor
    basis: torch.Tensor
    inverse: torch.Tensor
    shift: torch.Tensor
    scale: torch.Tensor
    lap_rows: torch.Tensor
    lap_columns: torch.Tensor

    def __init__(self, config: FirstFrameConfig, height: int, width: int) -> None:
        super().__init__()
        patch = config.patch
        self.patch, self.height, self.width = patch, height, width
        self.rows, self.columns = -(-height // patch), -(-width // patch)
        dim, num_codes, num = 3 * patch**2, min(config.codes, 3 * patch**2), self.rows * self.columns
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("basis", torch.zeros(dim, num_codes))
        self.register_buffer("inverse", torch.zeros(dim, num_codes))
        self.register_buffer("shift", torch.zeros(num, num_codes))
        self.register_buffer("scale", torch.ones(num, num_codes))
        self.register_buffer("lap_rows", _lapped(self.rows, patch), persistent=False)
        self.register_buffer("lap_columns", _lapped(self.columns, patch), persistent=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Number N of patches and K of their codes."""
        return self.shift.shape[0], self.shift.shape[1]

    @property
    def weight(self) -> torch.Tensor:
        """(N, K) how much a unit of a code is worth in pixels; 1 on average."""
        worth = self.scale * self.basis.norm(dim=0)
        return worth / worth.mean()

    @torch.no_grad()
    def fit(self, pictures: torch.Tensor) -> None:
        """Find the codes of pictures (M, 3, h, w) in [-1, 1], of which some thousands do."""
        total, square, num = 0.0, 0.0, len(pictures) * len(self.shift)
        for part in pictures.split(_AT_ONCE):
            flat = self._values(part).flatten(0, 1).double()  # (M N, P)
            total, square = total + flat.sum(dim=0), square + flat.mT @ flat
        mean = torch.as_tensor(total) / num
        variance, basis = torch.linalg.eigh(torch.as_tensor(square) / num - mean.outer(mean))
        self.mean.copy_(mean)
        std = variance[-self.shape[1] :].clamp_min(0).sqrt().clamp_min(_LEAST_VALUE)
        basis = basis[:, -self.shape[1] :]
        self.basis.copy_(basis * std)
        self.inverse.copy_(basis / std)
        codes = torch.cat([(self._values(part) - self.mean) @ self.inverse for part in pictures.split(_AT_ONCE)])
        self.shift.copy_(codes.mean(dim=0))
        self.scale.copy_(codes.std(dim=0).clamp_min(_LEAST_STD))

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return (M, N, K) codes of (M, 3, h, w) pictures in [-1, 1]."""
        return ((self._values(pictures) - self.mean) @ self.inverse - self.shift) / self.scale

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return (M, 3, h, w) pictures of (M, N, K) codes, not clamped."""
        values = (codes * self.scale + self.shift) @ self.basis.mT + self.mean
        pixels = rearrange(values, "m (y x) (c p q) -> m c (y p) (x q)", y=self.rows, p=self.patch, q=self.patch)
        pixels = self.lap_rows.mT @ pixels @ self.lap_columns
        return pixels[:, :, : self.height, : self.width]

    def _values(self, pictures: torch.Tensor) -> torch.Tensor:
        more = self.columns * self.patch - self.width, self.rows * self.patch - self.height
        pixels = F.pad(pictures, (0, more[0], 0, more[1]), mode="replicate")
        pixels = self.lap_rows @ pixels @ self.lap_columns.mT
        return rearrange(pixels, "m c (y p) (x q) -> m (y x) (c p q)", p=self.patch, q=self.patch)


def _lapped(num_patches: int, patch: int) -> torch.Tensor:
    """Return the orthogonal (L, L) matrix that mixes the pixels on both sides of every edge between patches.

    What is odd about an edge is rotated so that a step there does not cost the codes of two patches. With patches of 8
    and 40 codes of 192 this leaves 12% less error than patches that end at their edges.
    """
    half = patch // 2
    flip, one, zero = np.eye(half)[::-1], np.eye(half), np.zeros((half, half))
    second, fourth = (np.asarray(dct(np.eye(half), type=kind, norm="ortho", axis=0)) for kind in (2, 4))
    fold = np.block([[one, flip], [flip, -one]]) / math.sqrt(2)
    turn = fold @ np.block([[one, zero], [zero, flip @ second.T @ fourth @ flip]]) @ fold
    whole = np.eye(num_patches * patch)
    for edge in range(patch, num_patches * patch, patch):
        whole[edge - half : edge + half, edge - half : edge + half] = turn
    return torch.from_numpy(whole).float()


class _Block(nn.Module):
    """Attention among the patches of a frame and feed-forward, modulated by noise level and text."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.dim, self.heads = dim, heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.modulate = nn.Linear(dim, 6 * dim)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, N, D) of such tokens; what they are told is (B, D)."""
        shift, scale, gate, *others = self.modulate(told)[:, None].chunk(6, dim=-1)
        qkv = self.qkv(F.rms_norm(x, (self.dim,)) * (1 + scale) + shift)
        q, k, v = rearrange(qkv, "b n (three h d) -> three b h n d", three=3, h=self.heads)
        x = x + gate * self.out(rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)"))
        shift, scale, gate = others
        return x + gate * self.down(F.relu(self.up(F.rms_norm(x, (self.dim,)) * (1 + scale) + shift)).square())


class Enlarger(nn.Module):
    """Pictures made some times larger: each pixel becomes several, by convolutions that see it small (Shi et al. 2016).

    It learns from what codes keep of true frames, blurred and disturbed as drawn ones are, and begins as a bilinear
    enlargement.

    Args:
        times: How much larger on each side.
        dim: Channels.
    """

    def __init__(self, times: int, dim: int) -> None:
        super().__init__()
        self.times = times
        self.enter = nn.Conv2d(3, dim, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in range(_ENLARGING_LAYERS))
        self.leave = nn.Conv2d(dim, 3 * times**2, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return (B, 3, h times, w times) of (B, 3, h, w), both in [-1, 1] and not clamped."""
        x = self.enter(pictures)
        for layer in self.layers:
            x = x + layer(F.silu(x))
        smooth = F.interpolate(pictures, scale_factor=self.times, mode="bilinear")
        return smooth + F.pixel_shuffle(self.leave(F.silu(x)).float(), self.times)


class FirstFrameNet(nn.Module):
    """Predict the velocity from noise to the codes of a frame.

    Args:
        config: Sizes.
        height, width: Of frames, H and W.
        condition_dim: C - U, as the world model's denoiser has it.
        plain_dim: U if it hears plain words.
    """

    told_mean: torch.Tensor
    told_inverse: torch.Tensor

    def __init__(
        self, config: FirstFrameConfig, *, height: int, width: int, condition_dim: int, plain_dim: int = 0
    ) -> None:
        super().__init__()
        self.config, self.height, self.width = config, height, width
        self.codes = PatchCodes(config, -(-height // config.enlarge), -(-width // config.enlarge))
        is_finished = config.enlarge > 1 or config.refine
        self.enlarger = Enlarger(config.enlarge, config.enlarge_dim) if is_finished else None
        num_patches, num_codes = self.codes.shape
        self.enter = nn.Conv2d(num_codes, config.dim, 3, padding=1)
        self.position = nn.Parameter(0.02 * torch.randn(num_patches, config.dim))
        self.level = nn.Sequential(nn.Linear(2 * _LEVELS, config.dim), nn.SiLU(), nn.Linear(config.dim, config.dim))
        self.register_buffer("told_mean", torch.zeros(condition_dim))
        self.register_buffer("told_inverse", torch.eye(condition_dim))
        self.told_limit = _SPREAD_TOLD * math.sqrt(condition_dim)
        """Of what is told, which may be far from all that training told."""
        self.tell = nn.Linear(condition_dim, config.dim)
        self.plain_dim = plain_dim if config.words else 0
        self.hear = nn.Linear(plain_dim, config.dim, bias=False) if self.plain_dim else None
        if self.hear is not None:
            nn.init.zeros_(self.hear.weight)
        self.blocks = nn.ModuleList(_Block(config.dim, config.heads) for _ in range(config.depth))
        self.leave = nn.Conv2d(config.dim, num_codes, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    @torch.no_grad()
    def fit(self, frames: torch.Tensor, conditions: torch.Tensor) -> None:
        """Find the codes of frames (M, H, W, 3) uint8 and the scale of conditions (M, C).

        A world model's encoded prompts are small and all alike (a spread of .03 at city-64): in their own units a
        network hardly hears them.
        """
        device = self.told_mean.device
        conditions = conditions[:, self.plain_dim :]
        self.codes.fit(torch.cat([self.small(part.to(device)) for part in frames.split(_AT_ONCE)]))
        conditions = conditions.to(device)
        centred = conditions.double() - conditions.double().mean(dim=0)
        variance, basis = torch.linalg.eigh(centred.mT @ centred / len(centred))
        std = variance.clamp_min(0).sqrt()
        self.told_mean.copy_(conditions.mean(dim=0))
        self.told_inverse.copy_(_SPREAD_TOLD * basis / std.clamp_min(_LEAST_TOLD * std[-1]).clamp_min(1e-6))

    def small(self, frames: torch.Tensor) -> torch.Tensor:
        """Return what is drawn of frames (B, H, W, 3) uint8: (B, 3, h, w) in [-1, 1], the mean of pixels."""
        pixels, times = from_pixels(frames), self.config.enlarge
        if times == 1:
            return pixels
        more = self.codes.width * times - self.width, self.codes.height * times - self.height
        return F.avg_pool2d(F.pad(pixels, (0, more[0], 0, more[1]), mode="replicate"), times)

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """Return (B, N, K) codes of (B, H, W, 3) uint8 frames."""
        return self.codes.encode(self.small(frames))

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return (B, 3, H, W) frames in [-1, 1], not clamped, of (B, N, K) codes."""
        pictures = self.codes.decode(codes)
        if self.enlarger is None:
            return pictures
        return self.enlarger(pictures.clamp(-1, 1))[:, :, : self.height, : self.width]

    def heard(self, condition: torch.Tensor) -> torch.Tensor:
        """Return (B, U) the plain words of what is told, as they are fed to the layer that hears them."""
        return _SPREAD_TOLD * _bounded(condition[:, : self.plain_dim], math.sqrt(_MOST_TOLD))

    def forward(self, noisy: torch.Tensor, tau: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return the velocity (B, N, K).

        Args:
            noisy: (B, N, K) tau * codes + (1 - tau) * noise.
            tau: (B,) in [0, 1).
            condition: (B, C) plain words, encoded texts and factors; zeros for nothing.
        """
        angle = tau[:, None] * math.pi * 2.0 ** torch.arange(-1, _LEVELS - 1, device=tau.device)
        told = (condition[:, self.plain_dim :] - self.told_mean) @ self.told_inverse
        told = self.tell(_bounded(told, self.told_limit))
        if self.hear is not None:
            told = told + self.hear(self.heard(condition))
        told = F.silu(self.level(torch.cat([angle.sin(), angle.cos()], dim=-1)) + told)
        grid = rearrange(noisy, "b (y x) k -> b k y x", y=self.codes.rows)
        x = rearrange(self.enter(grid), "b d y x -> b (y x) d") + self.position
        for block in self.blocks:
            x = block(x, told)
        x = rearrange(F.rms_norm(x, (self.config.dim,)), "b (y x) d -> b d y x", y=self.codes.rows)
        return rearrange(self.leave(x), "b k y x -> b (y x) k").float()

    def draw(self, noise: torch.Tensor, condition: torch.Tensor, *, num_steps: int, guidance: float) -> torch.Tensor:
        """Return first frames (B, H, W, 3) uint8.

        Args:
            noise: (B, N, K) standard normal.
            condition: (B, C) as in `forward`.
            num_steps: Steps from noise to frame.
            guidance: How much stronger than learned the condition acts; any value but 1 doubles the work.
        """
        nothing = torch.zeros_like(condition)

        def velocity(codes: torch.Tensor, tau: torch.Tensor) -> torch.Tensor:
            if guidance == 1:
                return self(codes, tau, condition)
            both = self(codes.repeat(2, 1, 1), tau.repeat(2), torch.cat([condition, nothing]))
            told, plain = both.chunk(2)
            return plain + guidance * (told - plain)

        codes = noise
        for level, following in pairwise(_levels(num_steps)):
            tau = torch.full((len(noise),), level, device=noise.device)
            codes = codes + (following - level) * velocity(codes, tau)
        return to_pixels(self.decode(codes))

    def edit(
        self,
        frames: torch.Tensor,
        told: torch.Tensor,
        wanted: torch.Tensor,
        noise: torch.Tensor,
        *,
        strength: float,
        guidance: float,
    ) -> torch.Tensor:
        """Return frames (B, H, W, 3) uint8 as they would be if something else were told of them.

        A frame moves by the difference between the velocities that both texts give at the same noise, so that it keeps
        whatever they agree on (FlowEdit, Kulikov et al. 2024, arXiv 2412.08629). The change of its codes is added to
        the pixels: what codes cannot say stays as it is.

        Args:
            frames: (B, H, W, 3) uint8.
            told: (B, C) what describes them, as in `forward`; zeros for nothing.
            wanted: (B, C) what is to describe them.
            noise: (S, B, N, K) standard normal, one for each of S steps.
            strength: In 0 to 1, from how far back towards noise; 0 changes nothing.
            guidance: How much stronger than learned the difference of the texts acts.
        """
        begun = codes = self.encode(frames)
        conditions = torch.cat([wanted, told, told])
        for (level, following), fresh in zip(pairwise(_levels(len(noise), 1 - strength)), noise, strict=True):
            noisy = level * begun + (1 - level) * fresh
            moved = codes + noisy - begun
            tau = torch.full((3 * len(frames),), level, device=frames.device)
            after, before, here = self(torch.cat([moved, moved, noisy]), tau, conditions).chunk(3)
            codes = codes + (following - level) * (before + guidance * (after - before) - here)
        return to_pixels(from_pixels(frames) + self.decode(codes) - self.decode(begun))


def _levels(num_steps: int, begin: float = 0.0) -> list[float]:
    """Return the noise levels of a sampler's steps, and 1 behind them; 0 is noise."""
    share = begin + (1 - begin) * np.arange(num_steps + 1) / num_steps
    return (share / (share + _SHIFT * (1 - share))).tolist()


def _bounded(told: torch.Tensor, limit: float) -> torch.Tensor:
    """Return (B, C) rows, those shorter whose norm is above a limit."""
    return told * (limit / told.norm(dim=1, keepdim=True).clamp_min(1e-6)).clamp_max(1)
