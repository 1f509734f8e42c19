"""A folder with one compressed ``.npz`` per episode; keeps everything. Only NumPy is needed to read it.

Each file has ``obs`` (T + 1 frames), ``action``, ``reward``, ``terminated``, ``truncated``, ``state/<body>`` and
``facts``, a JSON text. Files of others may leave out what they do not have, except ``obs`` and ``action``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from worldsim.errors import StoreError
from worldsim.store.formats.episodes import STEP_FIELDS, Item, Progress, build, describe
from worldsim.store.store import RolloutStore

__all__ = ["is_at", "read", "write"]

_STATE = "state/"


def is_at(path: Path) -> bool:
    """Return whether a path is a folder of npz files."""
    return path.is_dir() and any(path.glob("*.npz"))


def write(store: RolloutStore, path: Path, progress: Progress) -> list[str]:
    """Write a store as a folder of npz files."""
    path.mkdir()
    for i in range(len(store)):
        rollout = store.episode(i)
        arrays = {name: getattr(rollout, name) for name in ("obs", *STEP_FIELDS)}
        arrays |= {f"{_STATE}{body}": rows for body, rows in (rollout.state or {}).items()}
        facts = np.array(json.dumps(describe(store, i), ensure_ascii=False))
        np.savez_compressed(path / f"episode_{i:06d}.npz", allow_pickle=False, facts=facts, **arrays)
        progress(i + 1)
    return []


def read(path: Path) -> Iterator[Item]:
    """Yield the episodes of a folder of npz files, in the order of their names.

    Raises:
        StoreError: If a file has no ``obs`` or ``action``.
    """
    for file in sorted(path.glob("*.npz")):
        with np.load(file, allow_pickle=False) as data:
            if not {"obs", "action"} <= set(data.files):
                raise StoreError(f"{file} needs the arrays obs and action; it has {', '.join(data.files)}")
            num_steps = len(data["action"])
            is_last = np.arange(num_steps) == num_steps - 1
            terminated = data["terminated"] if "terminated" in data else np.zeros(num_steps, bool)
            yield build(
                json.loads(str(data["facts"])) if "facts" in data else {},
                obs=data["obs"],
                action=data["action"],
                reward=data["reward"] if "reward" in data else np.zeros(num_steps, np.float32),
                terminated=terminated,
                truncated=data["truncated"] if "truncated" in data else is_last & ~terminated,
                state={name[len(_STATE) :]: data[name] for name in data.files if name.startswith(_STATE)} or None,
            )
