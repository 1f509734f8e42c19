"""Processes that commit to one store at the same moment, again and again, and what became of their episodes."""

from __future__ import annotations

import multiprocessing as mp
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.rollout import Rollout
from worldsim.store.store import RolloutStore
from worldsim.store.verify import verify

__all__ = ["race"]

_PATIENCE_S = 300.0


def race(path: Path, *, num_rounds: int = 1000, num_writers: int = 2) -> dict[str, int]:
    """Let writers of a new store commit one episode each per round, all released by one barrier.

    Every second round, both write the same episode under the same key: exactly one of them is to be in the store.

    Args:
        path: Where the store is made.
        num_rounds: How often.
        num_writers: How many at once.

    Returns:
        Counts: rounds, commits, episodes, lost, duplicated, damaged, faults, and writers that died.
    """
    RolloutStore.create(path)
    context = mp.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    barrier = context.Barrier(num_writers)
    writers: list[Any] = [
        context.Process(target=_write, args=(path, number, num_rounds, barrier)) for number in range(num_writers)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    store = RolloutStore.open(path)
    held = [(store.info(i).run_id, store.info(i).key) for i in range(len(store))]
    own = {(f"writer{number}", str(n)) for number in range(num_writers) for n in range(1, num_rounds, 2)}
    shared = {("all", str(n)) for n in range(0, num_rounds, 2)}
    return {
        "rounds": num_rounds,
        "writers": num_writers,
        "commits": store.version,
        "episodes": len(store),
        "lost": len((own | shared) - set(held)),
        "duplicated": len(held) - len(set(held)),
        "damaged": sum(store.episode(i).seed != int(str(store.info(i).key)) for i in range(len(store))),
        "faults": len(verify(path)),
        "died": sum(writer.exitcode != 0 for writer in writers),
    }


def _write(path: Path, number: int, num_rounds: int, barrier: Any) -> None:
    store = RolloutStore.open(path)
    for n in range(num_rounds):
        rollout = _rollout(n)
        barrier.wait(_PATIENCE_S)
        store.append([rollout], run_id=f"writer{number}" if n % 2 else "all", keys=[str(n)])


def _rollout(n: int) -> Rollout:
    return Rollout(
        obs=np.full((3, 8, 8, 3), n % 256, np.uint8),
        action=np.full((2, 1), n, np.float32),
        reward=np.zeros(2, np.float32),
        terminated=np.zeros(2, bool),
        truncated=np.array([False, True]),
        seed=n,
    )
