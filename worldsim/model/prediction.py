"""What imagined steps give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

__all__ = ["Imagined", "Prediction"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What one imagined step gives for each of N streams. Its frames stay on the device until they are asked for."""

    pixels: torch.Tensor
    """(N, H, W, 3) uint8, on the device of the model."""
    reward: np.ndarray
    """(N,) float32."""
    terminate_prob: np.ndarray
    """(N,) float32 in [0, 1]."""

    @cached_property
    def frames(self) -> np.ndarray:
        """(N, H, W, 3) uint8, fetched at the first look; the array is the caller's own."""
        return self.pixels.cpu().numpy().copy()


@dataclass(frozen=True, kw_only=True)
class Imagined:
    """What T actions in each of N streams lead to. Frames stay on the device until they are asked for."""

    actions: np.ndarray
    """(N, T, *A)."""
    predictions: Sequence[Prediction]
    """T steps."""

    @cached_property
    def frames(self) -> np.ndarray:
        """(N, T, H, W, 3) uint8; index 0 is step 1."""
        return np.stack([prediction.frames for prediction in self.predictions], axis=1)

    @cached_property
    def reward(self) -> np.ndarray:
        """(N, T) float32."""
        return np.stack([prediction.reward for prediction in self.predictions], axis=1)

    @cached_property
    def terminate_prob(self) -> np.ndarray:
        """(N, T) float32 in [0, 1]."""
        return np.stack([prediction.terminate_prob for prediction in self.predictions], axis=1)
