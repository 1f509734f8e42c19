"""What attention over time looks back on: keys and values of the last frames, a value that grows without being copied.

Frames stand one after another in a buffer with free places behind them. A memory is a window of it. A step writes the
next frame into the free place behind the window and goes on with the window moved on by one, so a stream that is
stepped again and again copies nothing. Only where that place has been taken, because the same moment was stepped
before, or where the buffer ends, the window is copied to a new one; nothing that a memory shows is ever overwritten.

Axes: S places, L temporal layers, N streams, P frames of a window.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["Memory"]

_PADDING = 64  # values behind each place: distances that are powers of two would share the same few lines of a cache


class _Buffer:
    """Places for frames (S, L, 2, N, patches, heads, D / heads), and how many of them have been taken."""

    def __init__(self, places: torch.Tensor, num_taken: int) -> None:
        self.places = places
        self._num_taken = num_taken
        self._lock = threading.Lock()

    @staticmethod
    def with_room(window: torch.Tensor) -> _Buffer:
        """Return a copy of a window with free places behind it."""
        num, size = len(window), window[0].numel()
        places = window.new_empty(2 * num + 1, size + _PADDING)[:, :size].unflatten(1, window.shape[1:])
        places[:num] = window
        return _Buffer(places, num)

    def take_place(self, place: int) -> bool:
        """Take a place unless someone else has, or there is none."""
        with self._lock:
            if place != self._num_taken or place == len(self.places):
                return False
            self._num_taken += 1
            return True


class Memory:
    """Keys and values of the last P frames of N streams.

    Args:
        window: (P, L, 2, N, patches, heads, D / heads), not to be changed afterwards.
    """

    def __init__(self, window: torch.Tensor) -> None:
        self._buffer, self._begin, self._num = _Buffer(window, len(window)), 0, len(window)

    @staticmethod
    def of(cache: torch.Tensor) -> Memory:
        """Return a memory of (N, L, 2, patches, heads, P, D / heads)."""
        return Memory(cache.permute(5, 1, 2, 0, 3, 4, 6))

    @property
    def cache(self) -> torch.Tensor:
        """(N, L, 2, patches, heads, P, D / heads), as `Denoiser.forward` has it; a view."""
        return self._window.permute(3, 1, 2, 4, 5, 0, 6)

    @property
    def _window(self) -> torch.Tensor:
        return self._buffer.places[self._begin : self._begin + self._num]

    def room(self) -> tuple[torch.Tensor, Memory]:
        """Return the window with a free place behind it, and the memory that it is once that place has been written.

        Returns:
            (P + 1, L, 2, N, patches, heads, D / heads) whose last frame is to be written, and the next memory.
        """
        begin, buffer = self._begin, self._buffer
        if not buffer.take_place(begin + self._num):
            begin, buffer = 0, _Buffer.with_room(self._window)
            buffer.take_place(self._num)
        following = object.__new__(Memory)
        following._buffer, following._begin, following._num = buffer, begin + 1, self._num
        return buffer.places[begin : begin + self._num + 1], following

    def take(self, rows: torch.Tensor) -> Memory:
        """Return a memory of some streams; a stream may be taken twice."""
        return Memory(self._window.index_select(3, rows.to(self._window.device)))

    @staticmethod
    def cat(memories: Sequence[Memory]) -> Memory:
        """Return one memory of the streams of all."""
        return Memory(torch.cat([memory._window for memory in memories], dim=3))

    def put(self, rows: torch.Tensor, fresh: Memory) -> Memory:
        """Return a memory with other streams in some rows."""
        window = self._window.clone()
        window[:, :, :, rows.to(window.device)] = fresh._window
        return Memory(window)

    def to(self, dtype: torch.dtype) -> Memory:
        """Return the memory in other numbers, as where a state was saved on another kind of processor; or itself."""
        return self if self._window.dtype == dtype else Memory(self._window.to(dtype))

    def compact(self) -> Memory:
        """Return an equal memory that holds no free places."""
        return Memory(self._window.clone(memory_format=torch.contiguous_format))

    def __reduce__(self) -> tuple[Any, ...]:
        return Memory, (self._window.contiguous(),)
