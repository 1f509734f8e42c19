"""A batch in parts of equal size, spread over the threads that torch is set to.

A part is small enough for the tokens of its streams to stay near the processor, and one thread that takes a whole part
through the model is faster than many that share every operator. The size of a part depends on the number of streams
alone, so that the number of threads changes no bit.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

__all__ = ["in_parts"]

LARGEST = 16
"""Streams of a part."""
FEWEST = 4
"""Parts of a batch whose parts have at least eight streams, so that four threads have something to do."""
_pools: dict[int, ThreadPoolExecutor] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)  # a forked process has the object, but not its threads


def in_parts(work: Callable[[slice], None], num: int) -> None:
    """Call ``work`` for slices that cover ``num`` rows; the last may overlap the one before, and then comes after it.

    Args:
        work: Must give a row the same result whatever slice it is in, and whether or not it was there before.
        num: At least 1.
    """
    count = max(-(-num // LARGEST), min(FEWEST, -(-num // (LARGEST // 2))))
    size = -(-num // count)
    slices = [slice(min(i * size, num - size), min(i * size, num - size) + size) for i in range(count)]
    num_threads = min(torch.get_num_threads(), count)
    if num_threads == 1:
        _one_by_one(work, slices)
        return
    apart = count if count * size == num else count - 2
    turns = [[rows] for rows in slices[:apart]] + ([slices[apart:]] if slices[apart:] else [])
    for done in [_pool(num_threads).submit(_one_by_one, work, turn) for turn in turns]:
        done.result()


def _one_by_one(work: Callable[[slice], None], slices: Sequence[slice]) -> None:
    for rows in slices:
        work(rows)


def _pool(num_threads: int) -> ThreadPoolExecutor:
    if num_threads not in _pools:
        pool, all_there = ThreadPoolExecutor(num_threads, "worldsim"), threading.Barrier(num_threads)

        def begin() -> None:
            torch.get_num_threads()  # a thread that has not asked takes the process's number at its first operator
            torch.set_num_threads(1)
            all_there.wait()

        before = torch.get_num_threads()
        for begun in [pool.submit(begin) for _ in range(num_threads)]:
            begun.result()
        torch.set_num_threads(before)  # a thread keeps its own number, but the last call also counts for all others
        _pools[num_threads] = pool
    return _pools[num_threads]
