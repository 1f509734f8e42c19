"""Adding rollouts: a segment of one's own while it is written, part of the store when it is committed.

A rollout is added whole, or step by step while an env makes it; either way no more than a chunk per field is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from worldsim.errors import StoreError
from worldsim.rollout import STATE_DIM, ActionDim, Rollout
from worldsim.store.commit_log import append_commit
from worldsim.store.format import Commit, EpisodeInfo, Schema
from worldsim.store.place import Place, UnconfirmedError
from worldsim.store.segment import SegmentFiles, info_of, schema_of

if TYPE_CHECKING:
    from worldsim.store.store import RolloutStore

__all__ = ["EpisodeWriter", "SegmentWriter", "commit_segment"]


def commit_segment(
    place: Place,
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
        place: Where the store lies.
        files: The segment, or None to add nothing.
        schema: What its episodes have in common.
        known: Commits from 1 on that the caller has already read.
        run_id: Who wrote the episodes.
        keys: One per episode.
        removes: Segments whose place this one takes.
        lost: (run_id, key) of their episodes that are gone.

    Raises:
        UnconfirmedError: If it is not known whether the commit was made; the segment stays.
        StoreError: If the disk or the store does not take it.
    """
    from worldsim import __version__

    try:
        with place.errors():
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
        commit = append_commit(place, draft, known)
    except UnconfirmedError:  # it may have been committed, as after any error but a StoreError: gc decides
        raise
    except StoreError:
        if files:
            files.discard()
        raise
    if commit is None and files:
        files.discard()
    return commit


class SegmentWriter:
    """Streams rollouts into one segment; they become visible together at ``commit``.

    As a context manager it commits at the end unless that was done, and leaves nothing behind if an exception ends
    the block. Once something failed half-way, a full disk for example, it takes and commits nothing more.
    """

    def __init__(self, store: RolloutStore, place: Place, run_id: str) -> None:
        self._store, self._place, self._run_id = store, place, run_id
        with place.errors():
            self._files = SegmentFiles(place, store.codec)
        self._schema: Schema | None = store.schema if store.version else None
        self._keys: list[str | None] = []
        self._open = True
        self._is_broken = False
        self._episode: EpisodeWriter | None = None

    @property
    def num_bytes(self) -> int:
        """Bytes of raw frames added so far."""
        return self._files.num_bytes

    def __len__(self) -> int:
        """Return the number of rollouts added so far."""
        return len(self._keys)

    def add(
        self,
        rollout: Rollout,
        key: str | None = None,
        *,
        licence: str | None = None,
        code_version: str | None = None,
    ) -> None:
        """Write one rollout.

        Args:
            rollout: What to write.
            key: Its identity in the run; the store holds it once.
            licence: What its frames may be used under.
            code_version: Version of worldsim that first stored it; this one if None.

        Raises:
            StoreError: If it does not fit the store or the disk.
        """
        self._check_ready()
        self._fit(schema_of(rollout))
        info = info_of(rollout, self._run_id, key, licence)
        with self._writing():
            self._files.add(rollout, info if code_version is None else replace(info, code_version=code_version))
        self._keys.append(key)

    def begin(
        self,
        obs: np.ndarray,
        *,
        key: str | None = None,
        env_id: str = "",
        spec: Mapping[str, Any] | None = None,
        control_dt: float = 0.1,
        action_spec: Sequence[ActionDim] = (),
        seed: int | None = None,
        policy: str = "",
        variation: Mapping[str, Any] | None = None,
        state: Mapping[str, np.ndarray] | None = None,
        caption: tuple[str, str] | None = None,
        events: Sequence[Mapping[str, Any]] = (),
        licence: str | None = None,
    ) -> EpisodeWriter:
        """Start an episode that is written step by step.

        Args:
            obs: Its first frame, (H, W, 3) uint8.
            key: Its identity in the run; the store holds it once.
            env_id, spec, control_dt, action_spec, seed, policy, variation: As in ``worldsim.Rollout``.
            state: Body name to (13,) float32, as in ``worldsim.rollout.STATE_DIM``.
            caption: What it shows, in English and in Chinese.
            events: Facts of what happened in it, as in ``worldsim.rollout.Event``.
            licence: What its frames may be used under.

        Raises:
            StoreError: If a state does not fit, or the episode before is still open.
        """
        self._check_ready()
        nothing = np.zeros(1, bool)
        facts = info_of(
            Rollout(
                obs=np.broadcast_to(obs, (2, *obs.shape)),
                action=np.zeros((1, 1)),
                reward=np.zeros(1, np.float32),
                terminated=nothing,
                truncated=nothing,
                env_id=env_id,
                spec=spec or {},
                control_dt=control_dt,
                action_spec=action_spec,
                seed=seed,
                policy=policy,
                variation=variation or {},
            ),
            self._run_id,
            key,
            licence,
        )
        self._episode = EpisodeWriter(self, self._files, facts, obs, state, caption, events)
        return self._episode

    def commit(self) -> int:
        """Make everything added visible and return the number of the commit.

        Raises:
            StoreError: If nothing was added, the disk is full, or the store meanwhile holds episodes of another shape.
        """
        self._check_ready()
        if self._schema is None or not self._keys:
            raise StoreError("a commit needs at least one rollout; got none")
        self._open = False
        commit = commit_segment(
            self._place, self._files, self._schema, self._store.commits, run_id=self._run_id, keys=self._keys
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
        try:
            if kind is None and self._keys:
                self.commit()
        finally:
            if self._open:
                self.discard()

    def _fit(self, schema: Schema) -> None:
        if self._schema is None:
            self._schema = schema
        if schema != self._schema:
            raise StoreError(
                f"{self._store.path} holds {self._schema.describe()}; got {schema.describe()}: use another store"
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Write to the segment; it stays broken unless the block ends, since its fields may differ in length then."""
        self._is_broken = True
        with self._place.errors():
            yield
        self._is_broken = False

    def _check_whole(self) -> None:
        if self._is_broken:
            raise StoreError("this writer failed half-way; discard it and begin another")

    def _check_ready(self) -> None:
        self._check_whole()
        if self._episode is not None and self._episode.is_open:
            raise StoreError("the episode before is still open; call its end() or abandon() first")

    def _ended(self, key: str | None) -> None:
        self._keys.append(key)


class EpisodeWriter:
    """One episode while it is written step by step. Use ``SegmentWriter.begin``."""

    def __init__(
        self,
        writer: SegmentWriter,
        files: SegmentFiles,
        facts: EpisodeInfo,
        obs: np.ndarray,
        state: Mapping[str, np.ndarray] | None,
        caption: tuple[str, str] | None,
        events: Sequence[Mapping[str, Any]],
    ) -> None:
        self.is_open = True
        self._writer, self._files, self._facts = writer, files, facts
        self._first: tuple[np.ndarray, Mapping[str, np.ndarray]] | None = (np.array(obs), _copied(state))
        self._row = files.num_rows
        self._length, self._return = 0, 0.0
        self._ends = (False, False)
        self._bodies: dict[str, None] = {}
        self._captions: list[tuple[int, str, str]] = []
        self._events: list[tuple[int, Mapping[str, Any]]] = [(0, event) for event in events]
        self._caption(0, caption)

    def __len__(self) -> int:
        """Return the number of steps so far."""
        return self._length

    def step(
        self,
        action: np.ndarray,
        obs: np.ndarray,
        reward: float,
        terminated: bool = False,
        truncated: bool = False,
        *,
        state: Mapping[str, np.ndarray] | None = None,
        caption: tuple[str, str] | None = None,
        events: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Write one step: what was done, and what came of it.

        Args:
            action: As the env has it.
            obs: The frame behind it, (H, W, 3) uint8.
            reward: Earned by it.
            terminated, truncated: Whether it ended the episode.
            state: Body name to (13,) behind it.
            caption: What is to be seen from this frame on, in English and in Chinese; as before if None.
            events: Facts of what happened in it, as in ``worldsim.rollout.Event``.

        Raises:
            StoreError: If it does not fit the store or the disk, or the episode is over.
        """
        if not self.is_open:
            raise StoreError("this episode is over; begin another")
        self._writer._check_whole()
        action = np.asarray(action)
        one = Rollout(
            obs=np.broadcast_to(obs, (2, *obs.shape)),
            action=action[None],
            reward=np.array([reward], np.float32),
            terminated=np.array([terminated], bool),
            truncated=np.array([truncated], bool),
        )
        if self._first is not None and obs.shape != self._first[0].shape:
            raise StoreError(f"an episode's frames are of one size; first {self._first[0].shape}, now {obs.shape}")
        states = _copied(state)
        self._writer._fit(schema_of(one))
        with self._writer._writing():
            if self._first is not None:
                first, self._first = self._first, None
                self._frame(*first)
            for name in ("action", "reward", "terminated", "truncated"):
                self._files.add_steps(name, getattr(one, name))
            self._frame(obs, states)
        self._length += 1
        self._return += float(one.reward[0])
        self._ends = (bool(terminated), bool(truncated))
        self._caption(self._length, caption)
        self._events += [(self._length, event) for event in events]

    def end(self) -> None:
        """Close the episode; it is in the store once its writer commits.

        Raises:
            StoreError: If it has no step, or a step failed half-way.
        """
        self._writer._check_whole()
        if not self._length:
            raise StoreError("an episode needs at least one step; got none")
        info = replace(
            self._facts,
            length=self._length,
            captions=tuple(self._captions),
            events=tuple(self._events),
            bodies=tuple(self._bodies) or None,
            terminated=self._ends[0],
            truncated=self._ends[1],
            return_=self._return,
        )
        self._close(info)
        self._writer._ended(info.key)

    def abandon(self) -> None:
        """Close the episode and keep nothing of it."""
        self._close(None)

    def _close(self, info: EpisodeInfo | None) -> None:
        self.is_open = False
        if self._length and not self._writer._is_broken:
            with self._writer._writing():
                self._files.end_episode(self._row, info)

    def _frame(self, obs: np.ndarray, state: Mapping[str, np.ndarray]) -> None:
        self._files.add_frames(obs[None])
        for body in state:
            self._bodies.setdefault(body)
        rows = np.full((1, len(self._bodies), STATE_DIM), np.nan, np.float32)
        for i, body in enumerate(self._bodies):
            if body in state:
                rows[0, i] = state[body]
        self._files.add_states(rows if self._bodies else None, 1)

    def _caption(self, t: int, caption: tuple[str, str] | None) -> None:
        if caption is not None and (not self._captions or self._captions[-1][1:] != tuple(caption)):
            self._captions.append((t, *caption))


def _copied(state: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    """Return a copy of a state, body name to (13,) float32, which its owner may go on changing.

    Raises:
        StoreError: If a row has another shape.
    """
    rows = {body: np.array(row, np.float32) for body, row in (state or {}).items()}
    for body, row in rows.items():
        if row.shape != (STATE_DIM,):
            raise StoreError(f"the state of {body!r} must be ({STATE_DIM},); got {row.shape}")
    return rows
