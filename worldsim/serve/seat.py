"""Who drives and who waits: one page at a time, the others in the order they came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

__all__ = ["MAX_WAITING", "Seat"]

MAX_WAITING = 16
"""Pages that may wait; more are turned away."""


class Seat:
    """The one place at the wheel."""

    def __init__(self) -> None:
        self._line: list[tuple[asyncio.Event, Callable[[int], None]]] = []

    @property
    def is_full(self) -> bool:
        """Whether nobody else may wait."""
        return len(self._line) > MAX_WAITING

    @asynccontextmanager
    async def taken(self, tell: Callable[[int], None]) -> AsyncIterator[None]:
        """Wait for the seat and hold it for a block; whoever leaves, waiting or not, makes room.

        Args:
            tell: Called with the number of pages in front whenever it changes, and with 0 at last.
        """
        turn = (asyncio.Event(), tell)
        self._line.append(turn)
        self._call()
        try:
            await turn[0].wait()
            yield
        finally:
            self._line.remove(turn)
            self._call()

    def _call(self) -> None:
        for i, (event, tell) in enumerate(self._line):
            if i == 0:
                if not event.is_set():
                    event.set()
                    tell(0)
            else:
                tell(i)
