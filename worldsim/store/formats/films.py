"""Films that the formats share: H.264 in mp4, encoded frame by frame, read from any moment on."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from worldsim.errors import MissingExtraError, StoreError

__all__ = ["FilmWriter", "decibels", "read_film"]

_QUALITY = {"crf": "16", "preset": "veryfast", "threads": "1", "bf": "0"}  # without frames that wait for later ones


class FilmWriter:
    """Appends frames to one film.

    Args:
        path: A new file.
        height: Of a frame, in pixels.
        width: Of a frame, in pixels.
        rate: Frames per second.
        key_every: Frames from one key frame to the next; None leaves it to the encoder, fewer make seeking faster.
        extra: The extra of worldsim that the error names where PyAV is missing.
    """

    def __init__(
        self, path: Path, height: int, width: int, rate: Fraction, *, key_every: int | None = None, extra: str = "video"
    ) -> None:
        av = load_av(extra)
        options = _QUALITY | ({"g": str(key_every)} if key_every else {})
        self._container = av.open(str(path), "w")
        self._frame_of = av.VideoFrame.from_ndarray
        self._stream = self._container.add_stream("libx264", rate=rate, options=options)
        self._stream.height, self._stream.width = height, width
        self.pixel_format = "yuv444p" if height % 2 or width % 2 else "yuv420p"  # halved colours need even sizes
        self._stream.pix_fmt = self.pixel_format
        self.num_frames = 0
        self.num_bytes = 0

    def add(self, frames: Iterable[np.ndarray]) -> None:
        """Append frames, each (H, W, 3) uint8."""
        for frame in frames:
            self._mux(self._stream.encode(self._frame_of(frame, format="rgb24")))
            self.num_frames += 1

    def close(self) -> None:
        """Write what is still in the encoder, and the end of the file."""
        self._mux(self._stream.encode())
        self._container.close()

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _mux(self, packets: list[Any]) -> None:
        self.num_bytes += sum(packet.size for packet in packets)
        self._container.mux(packets)


def read_film(
    path: Path, *, start_s: float = 0.0, num_frames: int | None = None, rate: float = 1.0, extra: str = "video"
) -> np.ndarray:
    """Return the frames of a film as (N, H, W, 3) uint8.

    Args:
        path: The film.
        start_s: When the first of them shows.
        num_frames: How many; None reads to the end.
        rate: Frames per second, needed if ``start_s`` is.
        extra: The extra of worldsim that the error names where PyAV is missing.

    Raises:
        StoreError: If it cannot be decoded or is too short.
    """
    av = load_av(extra)
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if start_s > 0:
                container.seek(int(start_s / stream.time_base), stream=stream)  # the key frame before
            shown = (frame for frame in container.decode(stream) if frame.time >= start_s - 0.5 / rate)
            frames = [frame.to_ndarray(format="rgb24") for frame in islice(shown, num_frames)]
    except (av.FFmpegError, OSError, IndexError) as error:
        raise StoreError(f"{path} cannot be decoded as a film: {error}") from None
    if not frames or (num_frames is not None and len(frames) < num_frames):
        raise StoreError(f"{path} ends too early: it has {len(frames)} of {num_frames} frames from {start_s:g} s on")
    return np.stack(frames)


def decibels(squared_error: float, count: int) -> float:
    """Return the peak signal-to-noise ratio of 8-bit values from the sum of their squared errors."""
    return float(10 * np.log10(255**2 / max(squared_error / count, 1e-12)))


def load_av(extra: str) -> Any:
    """Return PyAV.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import av
    except ImportError:
        raise MissingExtraError("av", extra, "read and write films") from None
    return av
