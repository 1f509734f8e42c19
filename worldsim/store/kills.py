"""Killing writers of one store at random moments, and looking for what was lost.

Writers acknowledge an episode once ``append`` has returned. After every kill the slot goes on with the first episode
that it had no acknowledgment for, which may be in the store already: exactly-once is part of what is measured.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.rollout import Rollout
from worldsim.store.repair import repair
from worldsim.store.store import RolloutStore
from worldsim.store.verify import verify

__all__ = ["kill_writers"]

_SHORTEST_S, _LONGEST_S = 0.002, 0.06  # between kills


def kill_writers(
    path: Path,
    *,
    num_kills: int = 200,
    num_writers: int = 4,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Kill concurrent writers of a new store with SIGKILL, and return what became of their episodes.

    Args:
        path: Where the store is made.
        num_kills: How often.
        num_writers: How many write at once.
        seed: Decides whom and when.
        progress: Called with the stage, the kills done and their number.

    Returns:
        Counts: kills, acknowledged, visible, lost (acknowledged but not there), damaged (not bit-exact), duplicated,
        faults before and after ``repair``, leftovers that ``gc`` removed.
    """
    rng = np.random.default_rng(seed)
    store = RolloutStore.create(path)
    context = mp.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    slots = [_Slot(context, path, number) for number in range(num_writers)]
    try:
        for kill in range(num_kills):
            time.sleep(rng.uniform(_SHORTEST_S, _LONGEST_S))
            slots[rng.integers(num_writers)].kill_and_go_on()
            if progress is not None:
                progress("kills", kill + 1, num_kills)
    finally:
        for slot in slots:
            slot.kill()
    store.refresh()
    num_faults = len(verify(path))
    repairs = repair(path)
    leftovers = store.gc(dry_run=False, grace_s=0)
    visible = [(store.info(i).run_id, store.info(i).key) for i in range(len(store))]
    acknowledged = {(slot.run_id, str(n)) for slot in slots for n in range(slot.next)}
    damaged = [i for i in range(len(store)) if not _is_exact(store, i)]
    return {
        "kills": num_kills,
        "writers": num_writers,
        "acknowledged": len(acknowledged),
        "visible": len(visible),
        "lost": len(acknowledged - set(visible)),
        "damaged": len(damaged),
        "duplicated": len(visible) - len(set(visible)),
        "faults": num_faults,
        "repairs": len(repairs),
        "leftovers": len(leftovers),
        "faults_after": len(verify(path)),
    }


@dataclass
class _Slot:
    """One place for a writer; its episodes are numbered on across its lives."""

    context: Any
    path: Path
    number: int
    next: int = 0
    """First episode without an acknowledgment."""
    process: Any = field(init=False)
    pipe: Connection = field(init=False)

    def __post_init__(self) -> None:
        self._start()

    @property
    def run_id(self) -> str:
        return f"writer{self.number}"

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        try:
            while True:
                self.next = self.pipe.recv() + 1
        except EOFError:
            self.pipe.close()

    def kill_and_go_on(self) -> None:
        while not self.pipe.poll(0):  # a writer that was never heard of would only test the start of Python
            time.sleep(_SHORTEST_S)
        self.kill()
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = self.context.Pipe(duplex=False)
        self.process = self.context.Process(
            target=_write, args=(self.path, self.run_id, self.number, self.next, theirs), daemon=True
        )
        self.process.start()
        theirs.close()


def _write(path: Path, run_id: str, number: int, first: int, pipe: Connection) -> None:
    store, n = RolloutStore.open(path), first
    while True:
        store.append([_rollout(number, n)], run_id=run_id, keys=[str(n)])
        pipe.send(n)
        n += 1


def _rollout(number: int, n: int) -> Rollout:
    """Return an episode that is a pure function of its writer and its number."""
    rng = np.random.default_rng([number, n])
    num_steps = int(rng.integers(4, 40))
    return Rollout(
        obs=rng.integers(0, 256, (num_steps + 1, 32, 32, 3), np.uint8),
        action=rng.uniform(-1, 1, (num_steps, 2)).astype(np.float32),
        reward=rng.normal(size=num_steps).astype(np.float32),
        terminated=np.zeros(num_steps, bool),
        truncated=np.arange(num_steps) == num_steps - 1,
        seed=n,
    )


def _is_exact(store: RolloutStore, episode: int) -> bool:
    info, got = store.info(episode), store.episode(episode)
    want = _rollout(int(info.run_id.removeprefix("writer")), int(str(info.key)))
    return all(
        np.array_equal(getattr(got, name), getattr(want, name))
        for name in ("obs", "action", "reward", "terminated", "truncated")
    )
