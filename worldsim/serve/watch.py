"""How far the newest imagined frame can be trusted, read beside the drive and never in its way.

A reading costs several times a step, so it has a thread of its own and takes the newest step whenever it is free.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from worldsim.model import WorldState
from worldsim.sim.stream import torch_threads
from worldsim.sim.uncertainty import Gauge

__all__ = ["UNSURE", "Watch"]

UNSURE = 0.95
"""Uncertainty, a quantile among held-out steps, above which the page warns."""
_STALE = 20  # steps after which a reading says nothing any more


class Watch:
    """Reads the uncertainty of steps, as many as it manages.

    Args:
        gauge: Calibrated for the model.
        threads: Torch threads of a reading.
    """

    def __init__(self, gauge: Gauge, threads: int | None = 1) -> None:
        self._gauge, self._threads = gauge, threads
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="watch")
        self._reading: Future[float] | None = None
        self._reading_t = 0
        self._last: tuple[int, float] | None = None

    def look(self, t: int, state: WorldState, action: np.ndarray, frame: np.ndarray) -> None:
        """Read step ``t``, unless another reading is going on.

        Args:
            t: Step that was imagined.
            state: One stream before it.
            action: Taken there.
            frame: (H, W, 3) uint8 that it gave.
        """
        self._collect()
        if self._reading is None:
            self._reading_t = t
            self._reading = self._pool.submit(self._read, state, action, frame)

    def at(self, t: int) -> float | None:
        """Return the newest reading of the steps up to ``t``, in [0, 1]; None if there is none of late."""
        self._collect()
        if self._last is None or not t - _STALE < self._last[0] <= t:
            return None
        return self._last[1]

    def forget(self) -> None:
        """Drop what was read, because the drive is another one now."""
        self._reading, self._last = None, None

    def close(self) -> None:
        """End the thread after the reading that it is at."""
        self._pool.shutdown(cancel_futures=True)

    def _collect(self) -> None:
        if self._reading is not None and self._reading.done():
            self._last = (self._reading_t, self._reading.result())
            self._reading = None

    def _read(self, state: WorldState, action: np.ndarray, frame: np.ndarray) -> float:
        with torch_threads(self._threads):
            return float(self._gauge.info(state, action[None], frame[None])["uncertainty"][0])
