"""The streaming writer of a segment: plain zarr v3 arrays, one shard each, that never hold more than a chunk of rows.

zarr-python builds a whole shard in memory before it writes it. A shard is no more than its encoded chunks one after the
other and an index at the end, so rows are encoded and written as they come. Only states wait, in a file of their own:
how many bodies a segment has is known when its last episode is.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

import google_crc32c
import numpy as np

from worldsim.errors import StoreError
from worldsim.rollout import STATE_DIM, Rollout
from worldsim.store.codecs import encode
from worldsim.store.format import (
    CHUNK_OF,
    FORMAT,
    SEGMENTS,
    EpisodeInfo,
    ObjectRecord,
    Schema,
    array_metadata,
    crc32c,
)
from worldsim.store.place import Place

__all__ = ["SegmentFiles", "info_of", "schema_of"]

_PER_STEP = ("action", "reward", "terminated", "truncated")


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


def info_of(rollout: Rollout, run_id: str, key: str | None, licence: str | None) -> EpisodeInfo:
    """Return what the index is to say of a rollout that is stored for the first time."""
    from worldsim import __version__

    return EpisodeInfo(
        length=len(rollout),
        seed=rollout.seed,
        policy=rollout.policy,
        env_id=rollout.env_id,
        spec=rollout.spec,
        control_dt=rollout.control_dt,
        action_spec=tuple(dim.as_dict() for dim in rollout.action_spec),
        variation=rollout.variation,
        captions=tuple((caption.t, caption.en, caption.zh) for caption in rollout.caption),
        events=tuple((event.t, event.facts) for event in rollout.events),
        bodies=tuple(rollout.state) if rollout.state else None,
        terminated=bool(rollout.terminated[-1]),
        truncated=bool(rollout.truncated[-1]),
        return_=float(rollout.reward.sum(dtype=np.float64)),
        run_id=run_id,
        key=key,
        source=rollout.source,
        model=rollout.model,
        licence=licence,
        code_version=__version__,
    )


class SegmentFiles:
    """The files of one segment while they are written; invisible to readers until they are committed."""

    def __init__(self, place: Place, codec: str) -> None:
        self.name = uuid.uuid4().hex
        self.folder = f"{SEGMENTS}/{self.name}"
        self._place, self._codec = place, codec
        place.make(self.folder)
        self.num_rows = 0
        self.num_bytes = 0
        """Bytes of raw frames so far."""
        self._objects: dict[str, ObjectRecord] = {}
        self._shards: dict[str, _ShardFile] = {}
        self._states = _Spill(place, self.folder)
        self._episodes: list[dict[str, Any]] = []
        self._captions: dict[tuple[str, str], int] = {}
        self._specs: dict[str, int] = {}

    def add(self, rollout: Rollout, info: EpisodeInfo) -> None:
        """Write one episode behind the others."""
        row = self.num_rows
        self.add_frames(rollout.obs)
        for name in _PER_STEP:
            self.add_steps(name, getattr(rollout, name))
        self.add_states(np.stack(list(rollout.state.values()), axis=1) if rollout.state else None, len(rollout.obs))
        self.end_episode(row, info)

    def add_frames(self, frames: np.ndarray) -> None:
        """Write frames, (n, H, W, 3) uint8."""
        self._write("obs", frames)
        self.num_rows += len(frames)
        self.num_bytes += frames.nbytes

    def add_steps(self, name: str, values: np.ndarray) -> None:
        """Write one value per step, (n, ...)."""
        self._write(name, values)

    def add_states(self, states: np.ndarray | None, num_rows: int) -> None:
        """Put states aside, (num_rows, K, 13), None where there are none."""
        self._states.add(states, num_rows)

    def end_episode(self, row: int, info: EpisodeInfo | None) -> None:
        """Close the episode that began in a row; without an ``info`` nothing will name its rows."""
        for name in _PER_STEP:
            chunk = self._shards[name].chunk
            self._write(name, np.zeros((1, *chunk.shape[1:]), chunk.dtype))  # row T has no step
        if info is not None:
            self._episodes.append(self._index_entry(row, info))

    def seal(self, *, removes: Sequence[str] = (), lost: Sequence[tuple[str, str]] = ()) -> dict[str, ObjectRecord]:
        """Write what is left, make everything durable, and return size and checksum of every file.

        Args:
            removes: Segments whose place this one is to take.
            lost: (run_id, key) of their episodes that are not in it.
        """
        for rows in self._states.joined():
            self._write("state", rows)
        self._states.close()
        for name, shard in self._shards.items():
            self._objects[f"{name}/{shard.key}"] = shard.finish()
            metadata = array_metadata(name, self.num_rows, shard.chunk.shape[1:], shard.chunk.dtype, self._codec)
            self._write_object(f"{name}/zarr.json", metadata)
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
        self._place.seal(SEGMENTS, self.folder, *(f"{self.folder}/{name}" for name in self._shards))
        return self._objects

    def discard(self) -> None:
        """Remove everything that was written."""
        self._states.close()
        for shard in self._shards.values():
            shard.abandon()
        self._place.remove(self.folder)

    def _write(self, name: str, rows: np.ndarray) -> None:
        rows = rows.astype(rows.dtype.newbyteorder("="), copy=False)  # as the metadata says, whatever a file had
        shard = self._shards.get(name)
        if shard is None:
            shard = _ShardFile(self._place, self.folder, name, rows.shape[1:], rows.dtype, self._codec)
            self._shards[name] = shard
        shard.write(rows)

    def _index_entry(self, row: int, info: EpisodeInfo) -> dict[str, Any]:
        spec = _json(
            {
                "env_id": info.env_id,
                "spec": info.spec,
                "control_dt": info.control_dt,
                "action_spec": info.action_spec,
                "licence": info.licence,
                "code_version": info.code_version,
            }
        )
        return {
            "row": row,
            "length": info.length,
            "seed": info.seed,
            "policy": info.policy,
            "variation": json.loads(_json(info.variation)),
            "captions": [[t, self._text(en, zh)] for t, en, zh in info.captions],
            "events": [self._event_entry(t, facts) for t, facts in info.events],
            "spec": self._specs.setdefault(spec, len(self._specs)),
            "bodies": None if info.bodies is None else list(info.bodies),
            "terminated": info.terminated,
            "truncated": info.truncated,
            "return": info.return_,
            "run_id": info.run_id,
            "key": info.key,
            "source": info.source,
            "model": info.model,
        }

    def _event_entry(self, t: int, event: Mapping[str, Any]) -> list[Any]:
        """Return (t, index of its words or None, everything else)."""
        facts = json.loads(_json(event))
        has_words = isinstance(facts.get("en"), str) and isinstance(facts.get("zh"), str)
        return [t, self._text(facts.pop("en"), facts.pop("zh")) if has_words else None, facts]

    def _text(self, en: str, zh: str) -> int:
        return self._captions.setdefault((en, zh), len(self._captions))

    def _write_object(self, name: str, data: bytes) -> None:
        sink = self._place.sink(f"{self.folder}/{name}")
        sink.write(data)
        sink.close()
        self._objects[name] = ObjectRecord(len(data), crc32c(data))


class _Spill:
    """States of any number of bodies, row by row in a file without a name, and how many bodies each row has."""

    def __init__(self, place: Place, folder: str) -> None:
        self._place, self._folder = place, folder
        self._file: IO[bytes] | None = None
        self._runs: list[list[int]] = []  # [rows, bodies]

    def add(self, states: np.ndarray | None, num_rows: int) -> None:
        num_bodies = 0 if states is None else states.shape[1]
        if self._runs and self._runs[-1][1] == num_bodies:
            self._runs[-1][0] += num_rows
        else:
            self._runs.append([num_rows, num_bodies])
        if states is not None:
            self._file = self._file or self._place.spill(self._folder)
            self._file.write(np.ascontiguousarray(states, np.float32).data)

    def joined(self) -> Any:
        """Yield all rows, at most a chunk at a time, each of as many bodies as the widest has: (n, K, 13)."""
        if self._file is None:
            return
        self._file.seek(0)
        width = max(num_bodies for _, num_bodies in self._runs)
        for num_rows, num_bodies in self._runs:
            for start in range(0, num_rows, CHUNK_OF["state"]):
                count = min(CHUNK_OF["state"], num_rows - start)
                rows = np.full((count, width, STATE_DIM), np.nan, np.float32)
                raw = self._file.read(count * num_bodies * STATE_DIM * 4)
                rows[:, :num_bodies] = np.frombuffer(raw, np.float32).reshape(count, num_bodies, STATE_DIM)
                yield rows

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what is still buffered may not fit the disk
                self._file.close()
            self._file = None


class _ShardFile:
    """One shard: encoded chunks one after the other, then (offset, length) of each and a checksum of that index."""

    def __init__(
        self, place: Place, folder: str, name: str, row_shape: tuple[int, ...], dtype: np.dtype, codec: str
    ) -> None:
        self._codec = codec
        self.key = ".".join(["c", *["0"] * (1 + len(row_shape))])
        self.chunk = np.zeros((CHUNK_OF[name], *row_shape), dtype)
        self._fill = 0  # rows of the chunk that are written
        self._index: list[tuple[int, int]] = []
        self._offset = 0
        self._crc = 0
        self._sink = place.sink(f"{folder}/{name}/{self.key}")

    def write(self, rows: np.ndarray) -> None:
        """Append rows; a chunk is encoded as soon as it is full, and straight from ``rows`` where they hold one."""
        done, size = 0, len(self.chunk)
        while done < len(rows):
            count = min(len(rows) - done, size - self._fill)
            part = rows[done : done + count]
            if count == size and part.flags.c_contiguous:
                self._put_chunk(part)
            else:
                self.chunk[self._fill : self._fill + count] = part
                self._fill += count
                if self._fill == size:
                    self._put_chunk(self.chunk)
                    self._fill = 0
            done += count

    def finish(self) -> ObjectRecord:
        """Write the last chunk and the index, make the file durable and close it."""
        if self._fill:
            self.chunk[self._fill :] = 0
            self._put_chunk(self.chunk)
        index = np.array(self._index, "<u8").tobytes()
        self._put(index + crc32c(index).to_bytes(4, "little"))
        self._sink.close()
        return ObjectRecord(self._offset, self._crc)

    def abandon(self) -> None:
        """Close the file, whatever becomes of it."""
        self._sink.abandon()

    def _put_chunk(self, chunk: np.ndarray) -> None:
        packed = encode(self._codec, chunk)
        self._index.append((self._offset, len(packed) + 4))
        self._put(packed)
        self._put(crc32c(packed).to_bytes(4, "little"))

    def _put(self, data: bytes) -> None:
        self._sink.write(data)
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
