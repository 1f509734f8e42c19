"""The transformer of `worldsim.model.denoiser` without its way in and out: for designs that make tokens of their own.

The blocks are the product's; what is written here is the order in which they are called.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from design import zero
from torch import nn

from worldsim.model import ModelConfig
from worldsim.model.denoiser import _SpaceBlock, _TimeBlock

__all__ = ["Trunk", "estimated_change"]


class Trunk(nn.Module):
    """Blocks within a frame and over time in turn, told noise level, action and text.

    Args:
        config: Sizes.
        num_tokens: Tokens N of a frame.
        action_dim: Length A of an encoded action.
    """

    def __init__(self, config: ModelConfig, *, num_tokens: int, action_dim: int) -> None:
        super().__init__()
        dim = config.dim
        self.position = nn.Parameter(0.02 * torch.randn(num_tokens, dim))
        self.embed_tau = nn.Sequential(nn.Linear(16, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.embed_action = nn.Sequential(nn.Linear(action_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.embed_text = nn.Linear(config.text_dim, dim)
        self.condition_token = nn.Linear(dim, dim)
        self.modulate_space = nn.Linear(dim, 6 * dim)
        self.modulate_time = nn.Linear(dim, 6 * dim)
        self.modulate_out = nn.Linear(dim, 2 * dim)
        self.blocks = nn.ModuleList(
            [_SpaceBlock(config) if i % 2 == 0 else _TimeBlock(config) for i in range(config.depth)]
        )
        for layer in (self.modulate_space, self.modulate_time, self.modulate_out, self.embed_text):
            zero(layer)

    def forward(
        self,
        x: torch.Tensor,
        tau: torch.Tensor,
        action: torch.Tensor,
        text: torch.Tensor,
        cache: list[torch.Tensor] | None,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return tokens (B, T, N, D) and the cache behind them, per temporal layer (B, 2, N, heads, P, D / heads).

        Args:
            x: (B, T, N, D) tokens.
            tau: (B, T) noise level.
            action: (B, T, A).
            text: (B, T, F) encoded captions.
            cache: Of the frames before these; None at the start of a sequence.
        """
        c = F.silu(self.embed_tau(_waves(tau)) + self.embed_action(action) + self.embed_text(text))[:, :, None]
        x = x + self.position + self.condition_token(c)  # (B, T, N, D)
        modulate_space, modulate_time = self.modulate_space(c), self.modulate_time(c)  # (B, T, 1, 6 D)
        kept = []
        for i, block in enumerate(self.blocks):
            if i % 2 == 0:
                x = block(x, modulate_space)
                continue
            memory = None
            if cache is not None:
                past = cache[i // 2]
                batch, _, tokens, heads, length, width = past.shape
                memory = past, past.new_empty(2, batch, tokens, heads, length + x.shape[1], width)
            x, keys_values = block(x, modulate_time, memory)
            kept.append(torch.stack(keys_values, dim=1))
        shift, scale = self.modulate_out(c).chunk(2, dim=-1)
        return F.rms_norm(x, (x.shape[-1],)) * (1 + scale) + shift, kept


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
    tau = tau.reshape(*tau.shape, *[1] * (last.ndim - 2))
    variance = (tau * residual_std) ** 2 + (1 - tau) ** 2
    return (noisy - tau * last) * tau * residual_std**2 / variance.clamp_min(1e-8)


def _waves(tau: torch.Tensor) -> torch.Tensor:
    """Return (B, T, 16) sines and cosines of the noise level (B, T)."""
    angle = tau[..., None] * torch.pi * 2.0 ** torch.arange(-1, 7)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
