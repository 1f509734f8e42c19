"""What a step is made of: random numbers that belong to a window and not to its company, and the inputs of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["Draws", "Inputs"]


class Draws:
    """Random numbers of B windows, each from its own seed: a window draws the same on any rank, alone or in a batch.

    Args:
        seeds: (B,) one per window.
    """

    def __init__(self, seeds: Sequence[int] | np.ndarray) -> None:
        self._generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def normal(self, *shape: int) -> torch.Tensor:
        """Return (B, *shape) standard normal numbers."""
        return torch.stack([torch.randn(shape, generator=generator) for generator in self._generators])

    def uniform(self, *shape: int) -> torch.Tensor:
        """Return (B, *shape) numbers in [0, 1)."""
        return torch.stack([torch.rand(shape, generator=generator) for generator in self._generators])


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
    text: torch.Tensor
    """(B, T, F) features of the captions; zeros for none."""
    factors: torch.Tensor
    """(B, T, 2 K) encoded factors; zeros for none."""
    reward: torch.Tensor
    """(B, T)."""
    terminated: torch.Tensor
    """(B, T)."""
    weight: torch.Tensor
    """(B, T) of the squared errors."""
    guide: torch.Tensor
    """(B, T, 2, H, W) pixels, the flow that the networks themselves see behind true contexts; zeros where unknown."""
