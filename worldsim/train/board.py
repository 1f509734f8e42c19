"""The lines of a run's metrics.jsonl as TensorBoard events (extra ``tensorboard``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from worldsim.errors import MissingExtraError

__all__ = ["Board"]

_STEPS = (1, 4, 8, 16)


class Board:
    """Write the figures of a run where TensorBoard finds them.

    Args:
        path: Directory of the events.

    Raises:
        MissingExtraError: If TensorBoard is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError("tensorboard", "tensorboard", "write TensorBoard events") from None
        self._writer = SummaryWriter(str(path))

    def write(self, record: Mapping[str, Any], strip: Path | None) -> None:
        """Write one line of metrics, and the strip that belongs to it."""
        step = record["step"]
        for name, value in record.items():
            tag = f"{record['kind']}/{name}"
            if isinstance(value, list):
                for at in _STEPS:
                    if at <= len(value):
                        self._writer.add_scalar(f"{tag}_{at}", value[at - 1], step)
            elif isinstance(value, float):
                self._writer.add_scalar(tag, value, step)
        if strip is not None:
            self._writer.add_image("strip", np.asarray(Image.open(strip)), step, dataformats="HWC")
        self._writer.flush()
