"""Single frames as PNG, which loses nothing."""

from __future__ import annotations

import io

import numpy as np

__all__ = ["from_png", "to_png"]


def to_png(frame: np.ndarray) -> bytes:
    """Return a frame (H, W, 3) uint8 as a PNG."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(frame).save(data, format="PNG", compress_level=3)
    return data.getvalue()


def from_png(data: bytes) -> np.ndarray:
    """Return the frame (H, W, 3) uint8 of a PNG, or of any other picture that Pillow reads."""
    from PIL import Image

    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))
