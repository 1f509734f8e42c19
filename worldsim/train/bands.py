"""Details of a frame by their size: the bands of a Laplacian pyramid (Burt and Adelson 1983)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

__all__ = ["local_contrast", "opponent", "smooth"]

_BAND_SQUARES = (8, 4, 2)  # pixels of each band, which is half as fine as the one before


def local_contrast(frames: torch.Tensor) -> list[torch.Tensor]:
    """Return how strong the details of each size are in each square of a frame, of brightness and of colour.

    In brightness and colour apart, since the details of a grey street are grey: asked for in red, green and blue, they
    come cheapest as coloured grain.

    The bands are those of a Laplacian pyramid (Burt and Adelson 1983); each is given as its root mean square in squares
    of 8 pixels of the frame.

    Args:
        frames: (N, 3, H, W).

    Returns:
        One (N, 3, h, w) per band, fine to coarse.
    """
    bands, frames = [], opponent(frames)
    for side in _BAND_SQUARES:
        band = frames - smooth(frames)
        bands.append((F.avg_pool2d(band.square(), side, ceil_mode=True) + 1e-5).sqrt())
        frames = F.avg_pool2d(frames, 2)
    return bands


def opponent(frames: torch.Tensor) -> torch.Tensor:
    """Return brightness and two differences of colour, red from green and yellow from blue; both are (N, 3, H, W).

    The axes are orthonormal.
    """
    red, green, blue = frames.unbind(1)
    brightness = (red + green + blue) / math.sqrt(3)
    return torch.stack(
        [brightness, (red - green) / math.sqrt(2), (red + green - 2 * blue) / math.sqrt(6)],
        dim=1,
    )


def smooth(frames: torch.Tensor) -> torch.Tensor:
    """Return frames under the kernel [1, 2, 1] / 4 across and down, the edge repeated."""
    padded = F.pad(frames, (1, 1, 1, 1), mode="replicate")
    across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]) / 16
