"""The transformer of `worldsim.model.denoiser` without its way in and out: for designs that make tokens of their own.

The blocks are the product's; what is written here is the order in which they are called.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from design import zero
from torch import nn

from worldsim.model import ModelConfig
from worldsim.model.denoiser import SpaceBlock, TimeBlock, fourier

__all__ = ["Cache", "Trunk"]

Cache = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values (B, N, heads, P, D / heads) of the last frames, per temporal layer."""


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
            [SpaceBlock(config) if i % 2 == 0 else TimeBlock(config) for i in range(config.depth)]
        )
        for layer in (self.modulate_space, self.modulate_time, self.modulate_out, self.embed_text):
            zero(layer)

    def forward(
        self,
        x: torch.Tensor,
        tau: torch.Tensor,
        action: torch.Tensor,
        text: torch.Tensor,
        cache: Cache | None,
    ) -> tuple[torch.Tensor, Cache]:
        """Return tokens (B, T, N, D) and the cache behind them.

        Args:
            x: (B, T, N, D) tokens.
            tau: (B, T) noise level.
            action: (B, T, A).
            text: (B, T, F) encoded captions.
            cache: Of the frames before these; None at the start of a sequence.
        """
        c = F.silu(self.embed_tau(fourier(tau)) + self.embed_action(action) + self.embed_text(text))[:, :, None]
        x = x + self.position + self.condition_token(c)  # (B, T, N, D)
        modulate_space, modulate_time = self.modulate_space(c), self.modulate_time(c)  # (B, T, 1, 6 D)
        kept = []
        for i, block in enumerate(self.blocks):
            if i % 2 == 0:
                x = block(x, modulate_space)
                continue
            x, keys_values = block(x, modulate_time, None if cache is None else cache[i // 2])
            kept.append(keys_values)
        shift, scale = self.modulate_out(c).chunk(2, dim=-1)
        return F.rms_norm(x, (x.shape[-1],)) * (1 + scale) + shift, kept
