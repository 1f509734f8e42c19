"""Many rollouts from elsewhere into a store: another store, or a file of another format.

An episode without a key gets one from its content, so that bringing the same data twice adds nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from worldsim.rollout import Rollout
from worldsim.store.commit_log import held_identities

if TYPE_CHECKING:
    from worldsim.store.store import RolloutStore

__all__ = ["content_key", "ingest", "merge"]

_SEGMENT_BYTES = 256 * 10**6  # of raw frames


def ingest(
    store: RolloutStore, rollouts: Iterable[tuple[str, str | None, Rollout]], *, licence: str | None = None
) -> int:
    """Add rollouts as they come, in segments of bounded size.

    Args:
        store: Where they go.
        rollouts: run_id, key (or None) and the rollout itself.
        licence: What all of them may be used under.

    Returns:
        How many episodes the store has gained; those it held already are left out.

    Raises:
        StoreError: If a rollout does not fit the store or the disk; what was committed before stays.
    """
    return _ingest(store, ((run_id, key, rollout, licence, None) for run_id, key, rollout in rollouts))


def _ingest(store: RolloutStore, rollouts: Iterable[tuple[str, str | None, Rollout, str | None, str | None]]) -> int:
    """Add rollouts, each with its licence and the version of worldsim that first stored it (None: this one)."""
    store.refresh()
    num_before, writer, run = len(store), None, ""
    try:
        for run_id, key, rollout, licence, code_version in rollouts:
            if writer is not None and (run_id != run or writer.num_bytes >= _SEGMENT_BYTES):
                done, writer = writer, None
                done.commit()
            if writer is None:
                writer, run = store.writer(run_id), run_id
            writer.add(rollout, key or content_key(rollout), licence=licence, code_version=code_version)
    except BaseException:
        if writer is not None:
            writer.discard()
        raise
    if writer is not None:
        writer.commit()
    return len(store) - num_before


def merge(store: RolloutStore, source: RolloutStore, *, progress: Callable[[int, int], None] | None = None) -> int:
    """Add every episode of another store with its provenance, and return how many were new.

    Args:
        store: Where they go.
        source: Where they come from, at the version it was opened at.
        progress: Called with the episodes looked at and their number.

    Raises:
        StoreError: If the stores hold frames or actions of different shapes, or one is damaged.
    """
    store.refresh()
    held = held_identities(store.commits)

    def missing() -> Iterator[tuple[str, str | None, Rollout, str | None, str | None]]:
        for i in range(len(source)):
            info = source.info(i)
            if info.key is None or (info.run_id, info.key) not in held:
                yield info.run_id, info.key, source.episode(i), info.licence, info.code_version
            if progress is not None:
                progress(i + 1, len(source))

    return _ingest(store, missing())


def content_key(rollout: Rollout) -> str:
    """Return a key that depends on nothing but what the rollout shows, what was done and what came of it."""
    digest = hashlib.sha256(repr((rollout.env_id, rollout.seed, rollout.obs.shape)).encode())
    for array in (rollout.obs, rollout.action, rollout.reward, rollout.terminated, rollout.truncated):
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("=")).data)
    return f"content/{digest.hexdigest()[:32]}"
