"""Ctrl-C that waits until what must not be left half done is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupt_after"]


@contextmanager
def interrupt_after() -> Iterator[Callable[[], bool]]:
    """Hold the first Ctrl-C back until the block ends; the block may ask the yielded function, and end early."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield lambda: False  # Ctrl-C interrupts the main thread only, and no job that was started deaf to it
        return
    asked = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt
