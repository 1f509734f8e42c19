"""stable-worldmodel's tables of flat rows: one HDF5 file, or a Lance table whose frames are PNG.

Both have a row per frame, T + 1 for an episode: the action of a row leads to the next row, and its reward and ends
came with its frame. The last action and the first reward of an episode are NaN, as stable-worldmodel itself has them.
Keeps everything for a reader that knows the attribute ``worldsim``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.errors import MissingExtraError, StoreError
from worldsim.rollout import STATE_DIM, Rollout
from worldsim.store.formats.episodes import Item, Progress, build, describe
from worldsim.store.formats.hdf5 import load_h5py, open_hdf5
from worldsim.store.formats.pictures import from_png, to_png
from worldsim.store.store import RolloutStore

__all__ = ["is_hdf5_at", "is_lance_at", "read_hdf5", "read_lance", "write_hdf5", "write_lance"]

_OURS, _IMAGE, _STATE = "worldsim", "pixels", "state_"
_CHUNK_FRAMES, _CHUNK_ROWS = 8, 1024
_ROWS_AT_ONCE = 256
_INDEX = ("episode_idx", "step_idx")
_STEPS = ("action", "reward", "terminated", "truncated")


def is_hdf5_at(path: Path) -> bool:
    """Return whether a path is an HDF5 file of flat rows."""
    if not (path.is_file() and path.suffix in {".h5", ".hdf5"}):
        return False
    with open_hdf5(path) as file:
        return "ep_len" in file and "ep_offset" in file


def is_lance_at(path: Path) -> bool:
    """Return whether a path is the directory of a Lance table."""
    return path.is_dir() and path.suffix == ".lance"


def write_hdf5(store: RolloutStore, path: Path, progress: Progress) -> list[str]:
    """Write a store as one HDF5 file of stable-worldmodel."""
    bodies, lengths = _bodies(store), store.lengths + 1
    columns = _columns(store.episode(0), bodies)
    with load_h5py().File(path, "x", libver="latest") as file:  # its reader asks for single-writer-multiple-reader
        for name, values in columns.items():
            shape = (int(lengths.sum()), *values.shape[1:])
            chunks = (min(_CHUNK_FRAMES if name == _IMAGE else _CHUNK_ROWS, shape[0]), *shape[1:])
            file.create_dataset(name, shape, values.dtype, chunks=chunks, compression="gzip", compression_opts=1)
        file["ep_len"] = lengths.astype(np.int32)
        file["ep_offset"] = (np.cumsum(lengths) - lengths).astype(np.int64)
        file.attrs[_OURS] = json.dumps(_facts(store), ensure_ascii=False)
        for i, start in enumerate(file["ep_offset"][()].tolist()):
            for name, values in _columns(store.episode(i), bodies).items():
                file[name][start : start + len(values)] = values
            progress(i + 1)
    return _losses(store)


def read_hdf5(path: Path) -> Iterator[Item]:
    """Yield the episodes of an HDF5 file of stable-worldmodel; of several cameras ``pixels`` or the first by name.

    Raises:
        StoreError: If it has no frames or no actions.
    """
    with open_hdf5(path) as file:
        facts = json.loads(file.attrs.get(_OURS, "[]"))
        names = [name for name in file if name not in {"ep_len", "ep_offset"}]
        image = _image_of(path, [name for name in names if file[name].ndim == 4], names)
        wanted = [image, *(name for name in names if name in _STEPS or name.startswith(_STATE))]
        for i, (start, length) in enumerate(zip(file["ep_offset"][()], file["ep_len"][()], strict=True)):
            columns = {name: file[name][start : start + length] for name in wanted}
            yield _episode(facts[i] if facts else {}, columns, columns[image])


def write_lance(store: RolloutStore, path: Path, progress: Progress) -> list[str]:
    """Write a store as one Lance table of stable-worldmodel.

    Raises:
        StoreError: If the path does not end in ``.lance``, by which its reader knows a table.
    """
    lance, pa = _lance()
    if path.suffix != ".lance":
        raise StoreError(f"a Lance table is a directory that ends in .lance; got {path}")
    bodies, dims = _bodies(store), {}
    for name, values in _columns(store.episode(0), bodies).items():
        dims[name] = int(np.prod(values.shape[1:]))
    fields = [pa.field(name, pa.int32()) for name in _INDEX]
    for name, size in dims.items():
        fields.append(pa.field(name, pa.binary() if name == _IMAGE else pa.list_(pa.float32(), size)))
    schema = pa.schema(fields, metadata={_OURS: json.dumps(_facts(store), ensure_ascii=False)})

    def batches() -> Iterator[Any]:
        for i in range(len(store)):
            columns = _columns(store.episode(i), bodies)
            length = len(columns[_IMAGE])
            arrays = [pa.array(np.full(length, i, np.int32)), pa.array(np.arange(length, dtype=np.int32))]
            for name, values in columns.items():
                if name == _IMAGE:
                    arrays.append(pa.array([to_png(frame) for frame in values], pa.binary()))
                else:
                    flat = pa.array(values.astype(np.float32).reshape(-1))
                    arrays.append(pa.FixedSizeListArray.from_arrays(flat, dims[name]))
            yield pa.record_batch(arrays, schema=schema)
            progress(i + 1)

    lance.write_dataset(pa.RecordBatchReader.from_batches(schema, batches()), str(path))
    return [*_losses(store), "actions are float32 in it, exact for whole numbers up to 16,777,216"]


def read_lance(path: Path) -> Iterator[Item]:
    """Yield the episodes of a Lance table of stable-worldmodel; of several cameras ``pixels`` or the first by name.

    Raises:
        StoreError: If it is no Lance table, or has no frames or no actions.
    """
    lance, pa = _lance()
    try:
        table = lance.dataset(str(path))
    except (ValueError, OSError) as error:
        raise StoreError(f"{path} cannot be opened as a Lance table: {' '.join(str(error).split())[:200]}") from None
    schema = table.schema
    facts = json.loads((schema.metadata or {}).get(_OURS.encode(), b"[]"))
    image = _image_of(path, [field.name for field in schema if pa.types.is_binary(field.type)], schema.names)
    if _INDEX[0] not in schema.names:
        raise StoreError(f"{path} needs the column {_INDEX[0]}; it has {', '.join(schema.names)}")
    lists = [name for name in schema.names if name in _STEPS or name.startswith(_STATE)]
    held: list[Any] = []
    for batch in table.to_batches(columns=[_INDEX[0], image, *lists], batch_size=_ROWS_AT_ONCE, scan_in_order=True):
        index = batch[_INDEX[0]].to_numpy()
        for start, end in pairwise([0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), len(index)]):
            if held and held[-1][_INDEX[0]][-1].as_py() != index[start]:
                yield _lance_episode(facts, held, image, lists)
                held = []
            held.append(batch.slice(start, end - start))
    if held:
        yield _lance_episode(facts, held, image, lists)


def _lance_episode(facts: list[Mapping[str, Any]], held: list[Any], image: str, lists: list[str]) -> Item:
    _, pa = _lance()
    rows = pa.Table.from_batches(held)
    own = facts[rows[_INDEX[0]][0].as_py()] if facts else {}
    columns = {name: np.array(rows[name].to_pylist(), np.float32) for name in lists}
    return _episode(own, columns, np.stack([from_png(data) for data in rows[image].to_pylist()]))


def _bodies(store: RolloutStore) -> list[str]:
    return list(dict.fromkeys(body for i in range(len(store)) for body in store.info(i).bodies or ()))


def _columns(rollout: Rollout, bodies: list[str]) -> dict[str, np.ndarray]:
    """Return the rows of an episode, T + 1 of each column."""
    none = np.zeros((1, *rollout.action.shape[1:]), rollout.action.dtype)
    none = np.full_like(none, np.nan) if none.dtype.kind == "f" else none
    columns = {
        _IMAGE: rollout.obs,
        "action": np.concatenate([rollout.action, none]),
        "reward": np.append(np.float32(np.nan), rollout.reward).astype(np.float32),
        "terminated": np.append(False, rollout.terminated),
        "truncated": np.append(False, rollout.truncated),
    }
    absent = np.full((len(rollout.obs), STATE_DIM), np.nan, np.float32)
    return columns | {f"{_STATE}{body}": (rollout.state or {}).get(body, absent) for body in bodies}


def _facts(store: RolloutStore) -> list[dict[str, Any]]:
    schema = store.schema
    action = [np.dtype(schema.action_dtype).name, list(schema.action_shape)]
    return [{**describe(store, i), "action": action} for i in range(len(store))]


def _losses(store: RolloutStore) -> list[str]:
    losses = ["stable-worldmodel shows no captions, variation or provenance; they stand in the attribute worldsim"]
    if store.schema.action_dtype.startswith("float"):
        return losses
    return [*losses, "the action behind the last frame of an episode is 0, not NaN, as actions are whole numbers"]


def _episode(facts: Mapping[str, Any], columns: Mapping[str, np.ndarray], frames: np.ndarray) -> Item:
    """Return an episode from its rows; what a foreign one lacks is 0, and it is truncated at its end."""
    num_steps = len(frames) - 1
    action = columns["action"][:-1]
    dtype, shape = facts.get("action", (action.dtype.name, action.shape[1:]))
    reward = columns["reward"][1:] if "reward" in columns else np.zeros(num_steps)
    terminated = _flags(columns, "terminated", num_steps)
    is_last = np.arange(num_steps) == num_steps - 1
    return build(
        facts,
        obs=frames,
        action=action.astype(dtype).reshape(num_steps, *shape),
        reward=reward.reshape(num_steps),
        terminated=terminated,
        truncated=_flags(columns, "truncated", num_steps) if "truncated" in columns else is_last & ~terminated,
        state={body: columns[f"{_STATE}{body}"] for body in facts.get("bodies") or ()} or None,
    )


def _flags(columns: Mapping[str, np.ndarray], name: str, num_steps: int) -> np.ndarray:
    return columns[name][1:].reshape(num_steps).astype(bool) if name in columns else np.zeros(num_steps, bool)


def _image_of(path: Path, images: list[str], names: list[str]) -> str:
    if not images or "action" not in names:
        raise StoreError(f"{path} needs frames in pixels, and an action; it has {', '.join(names)}")
    return _IMAGE if _IMAGE in images else min(images)


def _lance() -> tuple[Any, Any]:
    try:
        import lance  # pyright: ignore[reportMissingImports]
        import pyarrow
    except ImportError:
        raise MissingExtraError("lance", "lance", "read and write Lance tables") from None
    return lance, pyarrow
