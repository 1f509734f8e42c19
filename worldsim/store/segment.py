"""The streaming writer of a segment: plain zarr v3 arrays, one shard each, that never hold more than a chunk of frames.

zarr-python builds a whole shard in memory before it writes it. A shard is no more than its encoded chunks one after the
other and an index at the end, so frames are encoded and written as they come.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from worldsim.errors import StoreError
from worldsim.rollout import STATE_DIM, Event, Rollout
from worldsim.store.codecs import encode
from worldsim.store.format import (
    CHUNK_OF,
    FORMAT,
    SEGMENTS,
    ObjectRecord,
    Schema,
    array_metadata,
    crc32c,
    sync_directory,
)

__all__ = ["SegmentFiles", "schema_of"]


def schema_of(rollout: Rollout) -> Schema:
    """Return the schema that a rollout needs.

    Raises:
        StoreError: If an array has a type that the format does not hold.
    """
    if rollout.action.dtype.kind not in "fiu":
        raise StoreError(f"actions must be float or int arrays; got {rollout.action.dtype}")
    for name, dtype in {"reward": "float32", "terminated": "bool", "truncated": "bool"}.items():
        if getattr(rollout, name).dtype != dtype:
            raise StoreError(f"{name} must be {dtype}; got {getattr(rollout, name).dtype}: convert it first")
    if len(rollout) == 0:
        raise StoreError("a rollout needs at least one step; got none")
    _, height, width, _ = rollout.obs.shape
    return Schema(height, width, tuple(rollout.action.shape[1:]), rollout.action.dtype.name)


class SegmentFiles:
    """The files of one segment while they are written; invisible to readers until they are committed.

    Frames go to disk chunk by chunk; the small fields wait in memory until ``seal``.
    """

    def __init__(self, root: Path, codec: str) -> None:
        self.name = uuid.uuid4().hex
        self._codec = codec
        self.path = root / SEGMENTS / self.name
        self.path.mkdir()
        self.num_rows = 0
        self.num_bytes = 0
        """Bytes of raw frames so far."""
        self._objects: dict[str, ObjectRecord] = {}
        self._obs: _ShardFile | None = None
        self._columns: dict[str, list[np.ndarray]] = {name: [] for name in _ONE_VALUE_PER_STEP}
        self._states: list[np.ndarray | None] = []  # each (T + 1, bodies, 13)
        self._episodes: list[dict[str, Any]] = []
        self._captions: dict[tuple[str, str], int] = {}
        self._specs: dict[str, int] = {}

    def add(self, rollout: Rollout, run_id: str, key: str | None) -> None:
        """Write one episode behind the others."""
        if self._obs is None:
            self._obs = _ShardFile(self.path, "obs", rollout.obs.shape[1:], np.dtype(np.uint8), self._codec)
        self._obs.write(rollout.obs)
        for name, rows in self._columns.items():
            values = getattr(rollout, name)
            rows.append(np.concatenate([values, np.zeros_like(values[:1])]))  # row T has no step
        self._states.append(np.stack(list(rollout.state.values()), axis=1) if rollout.state else None)
        self._episodes.append(self._index_entry(rollout, run_id, key))
        self.num_rows += len(rollout.obs)
        self.num_bytes += rollout.obs.nbytes

    def seal(self, *, removes: Sequence[str] = (), lost: Sequence[tuple[str, str]] = ()) -> dict[str, ObjectRecord]:
        """Write what is left, make everything durable, and return size and checksum of every file.

        Args:
            removes: Segments whose place this one is to take.
            lost: (run_id, key) of their episodes that are not in it.
        """
        assert self._obs is not None
        self._finish("obs", self._obs)
        for name, rows in self._columns.items():
            self._write_column(name, np.concatenate(rows))
        if any(state is not None for state in self._states):
            self._write_column("state", self._joined_state())
        index = {
            "worldsim_format": FORMAT,
            "captions": [list(pair) for pair in self._captions],
            "specs": [json.loads(spec) for spec in self._specs],
            "episodes": self._episodes,
        }
        if removes:
            index |= {"removes": list(removes), "lost": [list(identity) for identity in lost]}
        group = {"zarr_format": 3, "node_type": "group", "attributes": index}
        self._write_object("zarr.json", json.dumps(group, ensure_ascii=False).encode())
        for folder in [self.path, *(path for path in self.path.rglob("*") if path.is_dir())]:
            sync_directory(folder)
        sync_directory(self.path.parent)
        return self._objects

    def discard(self) -> None:
        """Remove everything that was written."""
        if self._obs is not None:
            self._obs.close()
        shutil.rmtree(self.path)

    def _index_entry(self, rollout: Rollout, run_id: str, key: str | None) -> dict[str, Any]:
        spec = _json(
            {
                "env_id": rollout.env_id,
                "spec": rollout.spec,
                "control_dt": rollout.control_dt,
                "action_spec": [dim.as_dict() for dim in rollout.action_spec],
            }
        )
        return {
            "row": self.num_rows,
            "length": len(rollout),
            "seed": rollout.seed,
            "policy": rollout.policy,
            "variation": json.loads(_json(rollout.variation)),
            "captions": [[caption.t, self._text(caption.en, caption.zh)] for caption in rollout.caption],
            "events": [self._event_entry(event) for event in rollout.events],
            "spec": self._specs.setdefault(spec, len(self._specs)),
            "bodies": list(rollout.state) if rollout.state else None,
            "terminated": bool(rollout.terminated[-1]),
            "truncated": bool(rollout.truncated[-1]),
            "return": float(rollout.reward.sum(dtype=np.float64)),
            "run_id": run_id,
            "key": key,
            "source": rollout.source,
            "model": rollout.model,
        }

    def _event_entry(self, event: Event) -> list[Any]:
        """Return (t, index of its words or None, everything else)."""
        facts = json.loads(_json(event.facts))
        has_words = isinstance(facts.get("en"), str) and isinstance(facts.get("zh"), str)
        return [event.t, self._text(facts.pop("en"), facts.pop("zh")) if has_words else None, facts]

    def _text(self, en: str, zh: str) -> int:
        return self._captions.setdefault((en, zh), len(self._captions))

    def _joined_state(self) -> np.ndarray:
        num_bodies = max(state.shape[1] for state in self._states if state is not None)
        joined = np.full((self.num_rows, num_bodies, STATE_DIM), np.nan, np.float32)  # (rows, K, 13)
        for entry, state in zip(self._episodes, self._states, strict=True):
            if state is not None:
                joined[entry["row"] : entry["row"] + len(state), : state.shape[1]] = state
        return joined

    def _write_column(self, name: str, values: np.ndarray) -> None:
        shard = _ShardFile(self.path, name, values.shape[1:], values.dtype, self._codec)
        shard.write(values)
        self._finish(name, shard)

    def _finish(self, name: str, shard: _ShardFile) -> None:
        self._objects[f"{name}/{shard.key}"] = shard.finish()
        metadata = array_metadata(name, self.num_rows, shard.chunk.shape[1:], shard.chunk.dtype, self._codec)
        self._write_object(f"{name}/zarr.json", metadata)

    def _write_object(self, name: str, data: bytes) -> None:
        with open(self.path / name, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._objects[name] = ObjectRecord(len(data), crc32c(data))


_ONE_VALUE_PER_STEP = ("action", "reward", "terminated", "truncated")


class _ShardFile:
    """One shard: encoded chunks one after the other, then (offset, length) of each and a checksum of that index."""

    def __init__(self, segment: Path, name: str, row_shape: tuple[int, ...], dtype: np.dtype, codec: str) -> None:
        self._codec = codec
        self.key = ".".join(["c", *["0"] * (1 + len(row_shape))])
        path = segment / name / self.key
        path.parent.mkdir()
        self.chunk = np.zeros((CHUNK_OF[name], *row_shape), dtype)
        self._fill = 0  # rows of the chunk that are written
        self._index: list[tuple[int, int]] = []
        self._offset = 0
        self._crc = 0
        self._file = open(path, "xb")  # noqa: SIM115

    def write(self, rows: np.ndarray) -> None:
        """Append rows; a chunk is encoded as soon as it is full."""
        done = 0
        while done < len(rows):
            count = min(len(rows) - done, len(self.chunk) - self._fill)
            self.chunk[self._fill : self._fill + count] = rows[done : done + count]
            self._fill += count
            done += count
            if self._fill == len(self.chunk):
                self._flush()

    def finish(self) -> ObjectRecord:
        """Write the last chunk and the index, make the file durable and close it."""
        if self._fill:
            self.chunk[self._fill :] = 0
            self._flush()
        index = np.array(self._index, "<u8").tobytes()
        self._put(index + crc32c(index).to_bytes(4, "little"))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return ObjectRecord(self._offset, self._crc)

    def close(self) -> None:
        self._file.close()

    def _flush(self) -> None:
        packed = encode(self._codec, self.chunk)
        self._index.append((self._offset, len(packed) + 4))
        self._put(packed + crc32c(packed).to_bytes(4, "little"))
        self._fill = 0

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._crc = google_crc32c.extend(self._crc, data)
        self._offset += len(data)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return list(value)
    raise StoreError(f"spec and variation must hold JSON values; got {type(value).__name__} {value!r}")
