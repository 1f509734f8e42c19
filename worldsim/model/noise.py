"""Noise as a pure function: the same bits for a stream alone and in a batch of 64, in any order, and after a resume."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["keyed_noise"]


def keyed_noise(seeds: np.ndarray, steps: np.ndarray, k: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Return (N, *shape) standard normal float32 noise, drawn per stream by a counter-based generator (Philox).

    Args:
        seeds: (N,) noise seed per stream.
        steps: (N,) env step per stream.
        k: Sampler step.
        shape: Shape of one stream's noise.
    """
    rows = [
        np.random.Generator(np.random.Philox(key=[int(seed), (int(step) << 8) | k])).standard_normal(shape, np.float32)
        for seed, step in zip(seeds, steps, strict=True)
    ]
    return torch.from_numpy(np.stack(rows))
