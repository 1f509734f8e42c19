"""Adding rollouts: a segment of one's own while it is written, part of the store when it is committed."""

from __future__ import annotations

import shutil
from types import TracebackType
from typing import TYPE_CHECKING

from worldsim.errors import StoreError
from worldsim.rollout import Rollout
from worldsim.store.commit_log import append_commit
from worldsim.store.format import Commit, Schema
from worldsim.store.segment import SegmentFiles, schema_of

if TYPE_CHECKING:
    from worldsim.store.store import RolloutStore

__all__ = ["SegmentWriter"]


class SegmentWriter:
    """Streams rollouts into one segment; they become visible together at ``commit``.

    As a context manager it commits at the end unless that was done, and leaves nothing behind if an exception ends
    the block.
    """

    def __init__(self, store: RolloutStore, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._files = SegmentFiles(store.path)
        self._schema: Schema | None = store.schema if store.version else None
        self._keys: list[str | None] = []
        self._open = True

    @property
    def num_bytes(self) -> int:
        """Bytes of raw frames added so far."""
        return self._files.num_bytes

    def __len__(self) -> int:
        """Return the number of rollouts added so far."""
        return len(self._keys)

    def add(self, rollout: Rollout, key: str | None = None) -> None:
        """Write one rollout.

        Raises:
            StoreError: If it does not fit the store.
        """
        schema = schema_of(rollout)
        if self._schema is None:
            self._schema = schema
        if schema != self._schema:
            raise StoreError(
                f"{self._store.path} holds {self._schema.describe()}; got {schema.describe()}: use another store"
            )
        self._files.add(rollout, self._run_id, key)
        self._keys.append(key)

    def commit(self) -> int:
        """Make everything added visible and return the number of the commit.

        Raises:
            StoreError: If nothing was added, or the store meanwhile holds episodes of another shape.
        """
        from worldsim import __version__

        if self._schema is None or not self._keys:
            raise StoreError("a commit needs at least one rollout; got none")
        draft = Commit(
            number=0,
            segment=self._files.name,
            num_rows=self._files.num_rows,
            run_id=self._run_id,
            keys=tuple(self._keys),
            duplicates=(),
            schema=self._schema,
            objects=self._files.seal(),
            code_version=__version__,
        )
        commit = append_commit(self._store.path, draft, self._store.commits)
        if commit is None:
            self.discard()
        self._open = False
        self._store.refresh()
        return self._store.version if commit is None else commit.number

    def discard(self) -> None:
        """Remove everything that was written."""
        self._files.close()
        shutil.rmtree(self._files.path)
        self._open = False

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._open:
            return
        if kind is None and self._keys:
            self.commit()
        else:
            self.discard()
