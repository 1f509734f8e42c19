"""Adding rollouts: a segment of one's own while it is written, part of the store when it is committed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from worldsim.errors import StoreError
from worldsim.rollout import Rollout
from worldsim.store.commit_log import append_commit
from worldsim.store.format import Commit, Schema
from worldsim.store.segment import SegmentFiles, schema_of

if TYPE_CHECKING:
    from worldsim.store.store import RolloutStore

__all__ = ["SegmentWriter", "commit_segment", "disk_errors"]


def commit_segment(
    root: Path,
    files: SegmentFiles | None,
    schema: Schema,
    known: Sequence[Commit],
    *,
    run_id: str = "",
    keys: Sequence[str | None] = (),
    removes: Sequence[str] = (),
    lost: Sequence[tuple[str, str]] = (),
) -> Commit | None:
    """Seal a segment and commit it; returns None, and leaves nothing behind, if the store holds all of it already.

    Args:
        root: The store.
        files: The segment, or None to add nothing.
        schema: What its episodes have in common.
        known: Commits from 1 on that the caller has already read.
        run_id: Who wrote the episodes.
        keys: One per episode.
        removes: Segments whose place this one takes.
        lost: (run_id, key) of their episodes that are gone.

    Raises:
        StoreError: If the disk or the store does not take it.
    """
    from worldsim import __version__

    try:
        with disk_errors(root):
            objects = files.seal(removes=removes, lost=lost) if files else {}
        draft = Commit(
            number=0,
            segment=files.name if files else None,
            num_rows=files.num_rows if files else 0,
            run_id=run_id,
            keys=tuple(keys),
            duplicates=(),
            schema=schema,
            objects=objects,
            code_version=__version__,
            removes=tuple(removes),
            lost=tuple(lost),
        )
        commit = append_commit(root, draft, known)
    except StoreError:  # it was not committed; after any other error it may have been, and gc decides
        if files:
            files.discard()
        raise
    if commit is None and files:
        files.discard()
    return commit


class SegmentWriter:
    """Streams rollouts into one segment; they become visible together at ``commit``.

    As a context manager it commits at the end unless that was done, and leaves nothing behind if an exception ends
    the block.
    """

    def __init__(self, store: RolloutStore, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        with disk_errors(store.path):
            self._files = SegmentFiles(store.path, store.codec)
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
            StoreError: If it does not fit the store or the disk.
        """
        schema = schema_of(rollout)
        if self._schema is None:
            self._schema = schema
        if schema != self._schema:
            raise StoreError(
                f"{self._store.path} holds {self._schema.describe()}; got {schema.describe()}: use another store"
            )
        with disk_errors(self._store.path):
            self._files.add(rollout, self._run_id, key)
        self._keys.append(key)

    def commit(self) -> int:
        """Make everything added visible and return the number of the commit.

        Raises:
            StoreError: If nothing was added, the disk is full, or the store meanwhile holds episodes of another shape.
        """
        if self._schema is None or not self._keys:
            raise StoreError("a commit needs at least one rollout; got none")
        self._open = False
        commit = commit_segment(
            self._store.path, self._files, self._schema, self._store.commits, run_id=self._run_id, keys=self._keys
        )
        self._store.refresh()
        return self._store.version if commit is None else commit.number

    def discard(self) -> None:
        """Remove everything that was written."""
        self._files.discard()
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


@contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Turn what the disk refuses into a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write to {root}: {error.strerror}; what was committed before is safe, make room and go on"
        ) from None
