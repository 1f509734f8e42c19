"""One HDF5 file in robomimic's layout, ``data/demo_<i>`` with ``actions``, ``obs``, ``next_obs``, ``rewards``.

Frames are stored once, T + 1 of them, in ``frames``; ``obs/image`` and ``next_obs/image`` are virtual views of it,
which HDF5 readers see as ordinary datasets. Keeps everything for a reader that knows ``worldsim``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.errors import MissingExtraError, StoreError
from worldsim.store.formats.episodes import Item, Progress, build, describe
from worldsim.store.store import RolloutStore

__all__ = ["is_at", "load_h5py", "open_hdf5", "read", "write"]

_CHUNK_FRAMES = 8


def is_at(path: Path) -> bool:
    """Return whether a path is an HDF5 file."""
    return path.is_file() and path.suffix in {".hdf5", ".h5"}


def write(store: RolloutStore, path: Path, progress: Progress) -> list[str]:
    """Write a store as one HDF5 file."""
    h5py = load_h5py()
    with h5py.File(path, "x") as file:
        data = file.create_group("data")
        info = store.info(0)
        env_args = {"env_name": info.env_id, "type": 2, "env_kwargs": dict(info.spec)}  # 2: a Gymnasium env
        data.attrs["env_args"] = json.dumps(env_args)
        data.attrs["total"] = int(store.lengths.sum())
        for i in range(len(store)):
            _write_episode(h5py, data.create_group(f"demo_{i}"), store, i)
            progress(i + 1)
    return ["dones alone does not tell terminated from truncated; both stand beside it"]


def _write_episode(h5py: Any, group: Any, store: RolloutStore, i: int) -> None:
    rollout = store.episode(i)
    num_steps = len(rollout)
    group.attrs["num_samples"] = num_steps
    chunks = (min(_CHUNK_FRAMES, num_steps + 1), *rollout.obs.shape[1:])
    frames = group.create_dataset("frames", data=rollout.obs, chunks=chunks, compression="gzip", compression_opts=1)
    for name, first in (("obs/image", 0), ("next_obs/image", 1)):
        layout = h5py.VirtualLayout((num_steps, *rollout.obs.shape[1:]), np.uint8)
        layout[:] = h5py.VirtualSource(".", frames.name, frames.shape)[first : first + num_steps]
        group.create_virtual_dataset(name, layout)
    group["actions"] = rollout.action
    group["rewards"] = rollout.reward
    group["dones"] = (rollout.terminated | rollout.truncated).astype(np.uint8)
    group["terminated"] = rollout.terminated
    group["truncated"] = rollout.truncated
    for body, rows in (rollout.state or {}).items():
        group[f"worldsim/state/{body}"] = rows
    group["worldsim/facts"] = json.dumps(describe(store, i), ensure_ascii=False)


def read(path: Path) -> Iterator[Item]:
    """Yield the episodes of a robomimic file; of several cameras the first by name.

    Raises:
        StoreError: If it is not laid out that way, or has no images.
    """
    with open_hdf5(path) as file:
        if "data" not in file:
            raise StoreError(f"{path} is not laid out like robomimic: it has no group data")
        for name in sorted(file["data"], key=lambda name: int(name.rsplit("_", 1)[-1])):
            yield _read_episode(file["data"][name])


def _read_episode(group: Any) -> Item:
    num_steps = len(group["actions"])
    facts, states = {}, {}
    if "worldsim" in group:
        facts = json.loads(group["worldsim/facts"][()])
        states = {body: group["worldsim/state"][body][()] for body in facts["bodies"] or ()}
    dones = group["dones"][()].astype(bool) if "dones" in group else np.zeros(num_steps, bool)
    terminated = group["terminated"][()] if "terminated" in group else dones
    is_last = np.arange(num_steps) == num_steps - 1
    return build(
        facts,
        obs=group["frames"][()] if "frames" in group else _frames(group),
        action=group["actions"][()],
        reward=group["rewards"][()] if "rewards" in group else np.zeros(num_steps, np.float32),
        terminated=terminated,
        truncated=group["truncated"][()] if "truncated" in group else is_last & ~terminated,
        state=states or None,
    )


def _frames(group: Any) -> np.ndarray:
    """Return T + 1 frames: ``obs`` and the last of ``next_obs``."""
    images = [name for name, rows in group["obs"].items() if rows.ndim == 4 and rows.dtype == np.uint8]
    if not images or "next_obs" not in group:
        raise StoreError(f"{group.name} needs images under obs and next_obs; it has {', '.join(group['obs'])}")
    name = sorted(images)[0]
    return np.concatenate([group["obs"][name][()], group["next_obs"][name][-1:]])


def open_hdf5(path: Path) -> Any:
    """Return an HDF5 file, open for reading.

    Raises:
        StoreError: If it is none.
    """
    try:
        return load_h5py().File(path, "r")
    except OSError as error:
        raise StoreError(f"{path} cannot be opened as HDF5: {error}") from None


def load_h5py() -> Any:
    """Return h5py.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise MissingExtraError("h5py", "hdf5", "read and write HDF5") from None
    return h5py
