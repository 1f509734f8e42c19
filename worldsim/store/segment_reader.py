"""Reading one segment: frames and states from its shards, the small fields of windows from memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from worldsim.rollout import STATE_DIM, ActionDim, Caption, Event, Rollout
from worldsim.store.format import SEGMENTS, Commit, ObjectRecord
from worldsim.store.index import Entry
from worldsim.store.place import Place
from worldsim.store.reader import RowReader, open_rows

__all__ = ["SegmentReader"]


class SegmentReader:
    """Rows of the segment that a commit added; files are opened when they are first needed.

    Every method raises StoreError if what it reads is missing or damaged. With ``is_rescue``, the whole chunks of a
    shard that was cut off are read.
    """

    def __init__(self, place: Place, commit: Commit, *, is_rescue: bool = False) -> None:
        assert commit.segment is not None
        self._place, self._is_rescue = place, is_rescue
        self._folder = f"{SEGMENTS}/{commit.segment}"
        self._objects: Mapping[str, ObjectRecord] = commit.objects
        self._frame_shape = (commit.schema.height, commit.schema.width, 3)
        self._mapped: dict[str, RowReader] = {}
        self._columns: dict[str, np.ndarray] = {}

    def frames(self, row: int, out: np.ndarray) -> None:
        """Fill ``out`` (n, H, W, 3) uint8 with the frames from a row on."""
        self._array("obs").read(row, out)

    def column(self, name: str) -> np.ndarray:
        """Return all rows of a small field."""
        column = self._columns.get(name)
        if column is None:
            reader = self._open(name)
            column = np.empty(reader.shape, reader.dtype)
            reader.read(0, column)
            self._columns[name] = column
        return column

    def steps(self, name: str, row: int, length: int) -> np.ndarray:
        """Return rows of a small field, in memory of their own; the field itself is not kept."""
        reader = self._open(name)
        rows = np.empty((length, *reader.shape[1:]), reader.dtype)
        reader.read(row, rows)
        return rows

    def states(self, entry: Entry) -> np.ndarray:
        """Return the states of an episode, (T + 1, K, 13) float32."""
        reader = self._array("state")
        rows = np.empty((entry.info.length + 1, reader.shape[1], STATE_DIM), np.float32)
        reader.read(entry.row, rows)
        return rows

    def episode(self, entry: Entry) -> Rollout:
        """Return an episode as it was added."""
        info = entry.info
        obs = np.empty((info.length + 1, *self._frame_shape), np.uint8)
        self.frames(entry.row, obs)
        state = None
        if info.bodies:
            rows = self.states(entry)
            state = {body: rows[:, i].copy() for i, body in enumerate(info.bodies)}
        return Rollout(
            obs=obs,
            **{
                name: self.steps(name, entry.row, info.length)
                for name in ("action", "reward", "terminated", "truncated")
            },
            state=state,
            caption=tuple(Caption(*caption) for caption in info.captions),
            events=tuple(Event(*event) for event in info.events),
            env_id=info.env_id,
            spec=info.spec,
            control_dt=info.control_dt,
            action_spec=tuple(ActionDim(**dim) for dim in info.action_spec),
            seed=info.seed,
            policy=info.policy,
            variation=info.variation,
            source=info.source,  # pyright: ignore[reportArgumentType]
            model=info.model,
        )

    def unmap(self) -> None:
        """Give the file descriptors back; the small fields stay."""
        self._mapped.clear()

    @property
    def is_mapped(self) -> bool:
        """Whether a file is open."""
        return bool(self._mapped)

    def _array(self, name: str) -> RowReader:
        reader = self._mapped.get(name)
        if reader is None:
            reader = self._mapped[name] = self._open(name)
        return reader

    def _open(self, name: str) -> RowReader:
        checksum = self._objects[f"{name}/zarr.json"].crc32c
        return open_rows(self._place, f"{self._folder}/{name}", checksum, is_rescue=self._is_rescue)
