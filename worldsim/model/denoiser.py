"""The denoiser: one transformer over spacetime patches that moves the last frame and paints what is new.

Axes: B streams, T frames, N patches of a frame, D width, H and W pixels, A action numbers, P cached frames.

Three ideas carry it.

1. A simulated world is mostly the last frame, moved: the head gives a flow per pixel, the previous frame is warped by
   it, and small convolutions paint new colours through a mask where something is new. It starts as "copy the last
   frame".
2. Each frame has its own noise level tau, so that known and imagined frames live in one sequence. The noisy frame
   enters as the linear least-squares estimate of its change against the previous frame; at tau = 0 that estimate is
   zero, so that the first denoiser call predicts the mean and costs no capacity for ignoring noise.
3. Attention alternates between the patches of one frame and one place over time; the latter is causal with a sliding
   window, so that a cache of the last frames gives the same output as the whole sequence, and a step costs the same
   after a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from worldsim.model.presets import ModelConfig
from worldsim.model.warp import warp

__all__ = ["FLOW_SCALE", "MAX_AGE", "Block", "Denoised", "Denoiser", "SpaceBlock", "TimeBlock", "fourier", "wiener"]

MAX_AGE = 8
"""Beyond so many own predictions in a row, a context counts as equally old."""
FLOW_SCALE = 4.0
"""Pixels per unit of the head's output."""
_MASK_BIAS = -5.0  # the model starts as "copy the last frame"


@dataclass(frozen=True, kw_only=True)
class Denoised:
    """What one denoiser call gives for each frame."""

    frame: torch.Tensor
    """(B, T, 3, H, W) clean frame in [-1, 1] (not clamped)."""
    flow: torch.Tensor
    """(B, T, 2, H, W) pixels."""
    mask: torch.Tensor
    """(B, T, 1, H, W) share of new colours in [0, 1]."""
    reward: torch.Tensor
    """(B, T)."""
    terminate: torch.Tensor
    """(B, T) logit."""
    cache: torch.Tensor
    """(B, L, 2, N, heads, P, D / heads) keys and values of the last frames of each of the L temporal layers."""


def _norm(x: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(x, (x.shape[-1],))


class Block(nn.Module):
    """Attention and feed-forward, both modulated and gated by the conditioning; zero gates make it the identity."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.dim
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.up = nn.Linear(dim, config.mlp_dim)
        self.down = nn.Linear(config.mlp_dim, dim)
        self.modulation_bias = nn.Parameter(torch.zeros(6 * dim))

    def heads(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries, keys and values, (B, T, N, D) each."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return q, k, v


class SpaceBlock(Block):
    """Attention among all patches of one frame."""

    def forward(self, x: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, T, N, D) of such tokens; modulation is (B, T, 1, 6 D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.modulation_bias).chunk(6, dim=-1)
        q, k, v = self.heads(_norm(x) * (1 + scale1) + shift1)
        q, k, v = (rearrange(part, "b t n (h d) -> (b t) h n d", h=self.num_heads) for part in (q, k, v))
        # Written out: the fused operator's backward pass is several times slower on a CPU.
        weight = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(dim=-1)
        mixed = rearrange(weight.to(v.dtype) @ v, "(b t) h n d -> b t n (h d)", b=x.shape[0])
        x = x + gate1 * self.out(mixed)
        return x + gate2 * self.down(F.relu(self.up(_norm(x) * (1 + scale2) + shift2)).square())


class TimeBlock(Block):
    """Causal attention over a sliding window of frames at one place, with a learned bias per distance in time."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.window = config.num_context
        self.distance_bias = nn.Parameter(torch.zeros(config.num_heads, config.num_context))

    def forward(
        self, x: torch.Tensor, modulation: torch.Tensor, memory: tuple[torch.Tensor, torch.Tensor] | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Return tokens (B, T, N, D), and keys and values (B, N, heads, P, D / heads) of the last frames.

        Args:
            x: (B, T, N, D).
            modulation: (B, T, 1, 6 D).
            memory: Keys and values of the frames before.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.modulation_bias).chunk(6, dim=-1)
        q, k, v = self.heads(_norm(x) * (1 + scale1) + shift1)
        q, k, v = (rearrange(part, "b t n (h d) -> b n h t d", h=self.num_heads) for part in (q, k, v))
        if memory is not None:
            k, v = (torch.cat([past.to(new.dtype), new], dim=3) for past, new in zip(memory, (k, v), strict=True))
        num_queries, num_keys = q.shape[3], k.shape[3]
        distance = (
            torch.arange(num_keys - num_queries, num_keys, device=x.device)[:, None]
            - torch.arange(num_keys, device=x.device)[None, :]
        )  # (T, P + T); 0 is the frame itself
        seen = (distance >= 0) & (distance < self.window)
        bias = self.distance_bias[:, distance.clamp(0, self.window - 1)].masked_fill(~seen, -1e4)  # (heads, T, P + T)
        weight = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias).softmax(dim=-1)
        mixed = rearrange(weight.to(v.dtype) @ v, "b n h t d -> b t n (h d)")
        x = x + gate1 * self.out(mixed)
        x = x + gate2 * self.down(F.relu(self.up(_norm(x) * (1 + scale2) + shift2)).square())
        keep = self.window - 1
        return x, (k[:, :, :, -keep:], v[:, :, :, -keep:])  # (B, N, heads, P, D / heads) each


class Denoiser(nn.Module):
    """Predict clean frames from noisy ones, the frames before them, the actions that lead into them, and a text.

    Args:
        config: Sizes.
        height, width: Frame size in pixels.
        action_dim: Length A of an encoded action.
        condition_dim: Length C of an encoded caption with the encoded factors.
    """

    def __init__(self, config: ModelConfig, *, height: int, width: int, action_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.config = config
        self.height, self.width = height, width
        dim, patch = config.dim, config.patch
        self.grid = (-(-height // patch), -(-width // patch))
        num_patches = self.grid[0] * self.grid[1]
        self.patchify = nn.Linear(9 * patch * patch, dim)
        self.position = nn.Parameter(0.02 * torch.randn(num_patches, dim))
        self.embed_tau = nn.Sequential(nn.Linear(16, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.embed_action = nn.Sequential(nn.Linear(action_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.embed_age = nn.Embedding(MAX_AGE + 2, dim)  # the last row marks a padded context
        self.embed_text = nn.Linear(condition_dim, dim)
        self.condition_token = nn.Linear(dim, dim)
        self.modulate_space = nn.Linear(dim, 6 * dim)
        self.modulate_time = nn.Linear(dim, 6 * dim)
        self.blocks = nn.ModuleList(
            [SpaceBlock(config) if i % 2 == 0 else TimeBlock(config) for i in range(config.depth)]
        )
        self.modulate_out = nn.Linear(dim, 2 * dim)
        self.to_pixels = nn.Linear(dim, patch * patch * (2 + config.pixel_dim))
        self.paint = nn.ModuleList(
            [
                nn.Conv2d(config.pixel_dim + 6, config.paint_dim, 3, padding=1),
                nn.Conv2d(config.paint_dim, config.paint_dim, 3, padding=1),
                nn.Conv2d(config.paint_dim, 4, 1),
            ]
        )
        self.to_scalars = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, 2))
        self._initialise()

    def _initialise(self) -> None:
        for layer in (self.modulate_space, self.modulate_time, self.modulate_out, self.embed_text):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.embed_age.weight, std=0.02)
        # Offsets start at zero; the features for painting start as usual.
        pixels = self.config.patch**2
        with torch.no_grad():
            self.to_pixels.weight[: 2 * pixels] = 0
            self.to_pixels.bias.zero_()
            last = self.paint[-1]
            assert isinstance(last, nn.Conv2d)
            assert last.bias is not None
            last.weight[0] = 0
            last.bias.copy_(torch.tensor([_MASK_BIAS, 0.0, 0.0, 0.0]))

    def forward(
        self,
        noisy: torch.Tensor | None,
        tau: torch.Tensor,
        previous: torch.Tensor,
        action: torch.Tensor,
        age: torch.Tensor,
        text: torch.Tensor,
        cache: torch.Tensor | None = None,
    ) -> Denoised:
        """Predict the clean frames.

        Args:
            noisy: (B, T, 3, H, W) tau * frame + (1 - tau) * noise; None where every tau is 0.
            tau: (B, T) noise level; 1 is data.
            previous: (B, T, 2, 3, H, W) the frame before each frame and the one before that, in [-1, 1].
            action: (B, T, A) encoded action that leads into each frame.
            age: (B, T) int, how many of the last steps before the frame were the model's own; MAX_AGE + 1: padding.
            text: (B, T, C) encoded caption, followed by encoded factors where the model knows any.
            cache: (B, L, 2, N, heads, P, D / heads) from an earlier call; None at the start of a sequence.
        """
        batch, frames = tau.shape
        last = previous[:, :, 0]  # (B, T, 3, H, W)
        x, c, kept = self._tokens(noisy, tau, previous, action, age, text, cache)
        shift, scale = self.modulate_out(c).chunk(2, dim=-1)
        x = _norm(x) * (1 + scale) + shift
        scalars = self.to_scalars(x.mean(dim=2)).float()  # (B, T, 2)

        out = self._unpatch(self.to_pixels(x))  # (B T, 2 + pixel_dim, H, W)
        flow = FLOW_SCALE * out[:, :2].float()
        moved = warp(last.flatten(0, 1).float(), flow)  # (B T, 3, H, W)
        base = moved.unflatten(0, (batch, frames))
        change = estimated_change(noisy, tau, base, self.config.residual_std).flatten(0, 1)
        y = torch.cat([moved, change / self.config.residual_std, out[:, 2:].float()], dim=1)
        y = y.contiguous(memory_format=torch.channels_last)
        for layer in self.paint[:-1]:
            y = F.silu(layer(y))
        y = self.paint[-1](y).float()  # (B T, 4, H, W)
        mask = y[:, :1].sigmoid()
        frame = moved + mask * (y[:, 1:] - moved)
        split = {"sizes": (batch, frames), "dim": 0}
        return Denoised(
            frame=frame.unflatten(**split),
            flow=flow.unflatten(**split),
            mask=mask.unflatten(**split),
            reward=scalars[..., 0],
            terminate=scalars[..., 1],
            cache=kept,
        )

    def cache_shape(self, batch: int, frames: int) -> tuple[int, ...]:
        """(B, L, 2, N, heads, P, D / heads) of the cache behind P frames of B sequences."""
        config, patches = self.config, self.grid[0] * self.grid[1]
        return batch, config.depth // 2, 2, patches, config.num_heads, frames, config.dim // config.num_heads

    def remember(
        self, previous: torch.Tensor, action: torch.Tensor, age: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """Return the cache behind known frames, without a picture of what follows them.

        Args:
            previous, action, age, text: As for a call.
        """
        tau = torch.zeros(previous.shape[:2], device=previous.device)
        return self._tokens(None, tau, previous, action, age, text, None)[2]

    def _tokens(
        self,
        noisy: torch.Tensor | None,
        tau: torch.Tensor,
        previous: torch.Tensor,
        action: torch.Tensor,
        age: torch.Tensor,
        text: torch.Tensor,
        cache: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return tokens (B, T, N, D), the conditioning (B, T, 1, D) and the cache behind them."""
        last = previous[:, :, 0]  # (B, T, 3, H, W)
        change = estimated_change(noisy, tau, last, self.config.residual_std) / self.config.residual_std
        pixels = torch.cat([change, last, last - previous[:, :, 1]], dim=2)  # (B, T, 9, H, W)

        c = self.embed_tau(fourier(tau)) + self.embed_action(action) + self.embed_age(age) + self.embed_text(text)
        c = F.silu(c)[:, :, None]  # (B, T, 1, D)
        x = self.patchify(self._patches(pixels)) + self.position + self.condition_token(c)  # (B, T, N, D)
        modulate_space, modulate_time = self.modulate_space(c), self.modulate_time(c)  # (B, T, 1, 6 D)
        kept = []
        for i, block in enumerate(self.blocks):
            if i % 2 == 0:
                x = block(x, modulate_space)
            else:
                memory = None if cache is None else cache[:, i // 2].unbind(1)
                x, keys_values = block(x, modulate_time, memory)
                kept += keys_values
        return x, c, torch.stack(kept, dim=1).unflatten(1, (-1, 2))

    def _patches(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, T, C, H, W) to (B, T, N, C p p), padded to whole patches by repeating the edge."""
        patch = self.config.patch
        bottom, right = self.grid[0] * patch - self.height, self.grid[1] * patch - self.width
        if bottom or right:
            padded = F.pad(pixels.flatten(0, 1), (0, right, 0, bottom), mode="replicate")
            pixels = padded.unflatten(0, pixels.shape[:2])
        return rearrange(pixels, "b t c (y p) (x q) -> b t (y x) (c p q)", p=patch, q=patch)

    def _unpatch(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, N, C p p) to (B T, C, H, W)."""
        patch = self.config.patch
        image = rearrange(
            tokens, "b t (y x) (c p q) -> (b t) c (y p) (x q)", p=patch, q=patch, y=self.grid[0], x=self.grid[1]
        )
        return image[:, :, : self.height, : self.width]


def estimated_change(
    noisy: torch.Tensor | None, tau: torch.Tensor, last: torch.Tensor, residual_std: float
) -> torch.Tensor:
    """Return the least-squares estimate of target - last from noisy = tau * target + (1 - tau) * noise.

    Args:
        noisy: (B, T, ...); None where every tau is 0, which says nothing.
        tau: (B, T).
        last: (B, T, ...) what the target is a change of.
        residual_std: Typical size of the change.
    """
    if noisy is None:
        return torch.zeros_like(last)
    known, gain = (part.reshape(*tau.shape, *[1] * (last.ndim - 2)) for part in (tau, wiener(tau, residual_std)))
    return (noisy - known * last) * gain


def wiener(tau: torch.Tensor, residual_std: float) -> torch.Tensor:
    """Return the factor that turns a noisy change into its linear least-squares estimate."""
    signal = (tau * residual_std) ** 2
    return tau * residual_std**2 / (signal + (1 - tau) ** 2).clamp_min(1e-8)


def fourier(tau: torch.Tensor) -> torch.Tensor:
    """(B, T) to (B, T, 16) sines and cosines of the noise level."""
    angle = tau[..., None] * torch.pi * 2.0 ** torch.arange(-1, 7, device=tau.device, dtype=tau.dtype)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
