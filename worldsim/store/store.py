"""RolloutStore: rollouts on disk that survive a killed writer, take many writers at once, and are read fast.

A store is opened at one version and stays there until ``refresh`` or its own ``append``, whatever other processes
commit. Handles open files lazily and hold no threads, so a store may be used after fork and sent to spawned processes
(in an object store: to spawned ones only).

A path is a directory, or an address such as ``s3://bucket/rollouts``, which needs the extra ``s3``.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.errors import StoreError
from worldsim.rollout import Rollout
from worldsim.store.card import data_card
from worldsim.store.codecs import check_codec
from worldsim.store.commit_log import held_identities, live_commits, newest_version, read_commits
from worldsim.store.compact import FRAMES_PER_SEGMENT, compact
from worldsim.store.format import (
    FORMAT,
    LOG,
    SEGMENTS,
    STORE_FILE,
    Commit,
    EpisodeInfo,
    Fault,
    Schema,
    check_exclusive,
    check_store,
)
from worldsim.store.gc import GRACE_S, collect_garbage
from worldsim.store.index import Entry, read_entries
from worldsim.store.place import open_place
from worldsim.store.segment_reader import SegmentReader
from worldsim.store.verify import verify
from worldsim.store.writer import SegmentWriter

__all__ = ["RolloutStore"]

_MAX_MAPPED_SEGMENTS = 256  # each mapping holds a file descriptor, and a segment has one or two


class RolloutStore:
    """Rollouts in a directory or an object store. Use ``create`` or ``open``."""

    def __init__(
        self, path: str | Path, version: int | None = None, *, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        self._place = open_place(path, storage_options)
        self.path: Any = self._place.reopen()[0]
        """A Path, or the address of an object store."""
        self._is_exclusive = False
        self._commits: list[Commit] = []
        self._live: list[Commit] = []
        self._episodes: list[Entry] = []
        self._entries: dict[str, list[Entry]] = {}
        self._segments: dict[str, SegmentReader] = {}
        self._mapped: OrderedDict[str, SegmentReader] = OrderedDict()
        self._card: dict[str, Any] | None = None
        self.codec = check_store(self._place)
        """What new segments are packed with; see ``worldsim.store.codecs``."""
        newest = newest_version(self._place)
        if version is not None and not 0 <= version <= newest:
            raise StoreError(f"{self.path} has versions 0 to {newest}; got {version}")
        self._read_up_to(newest if version is None else version)

    @classmethod
    def create(
        cls, path: str | Path, *, codec: str = "zstd", storage_options: Mapping[str, Any] | None = None
    ) -> RolloutStore:
        """Make an empty store in a new or empty place.

        Args:
            path: A directory, or an address such as ``s3://bucket/rollouts``.
            codec: What segments are packed with: ``zstd`` is smallest, ``lz4`` reads faster, ``none`` fastest.
            storage_options: For an address; see ``open``.

        Raises:
            StoreError: If the place holds something, or cannot hold a store: it lacks hard links, or overwrites what is
                there.
        """
        check_codec(codec)
        place = open_place(path, storage_options)
        if place.exists(STORE_FILE):
            raise StoreError(f"{path} is a store already; open it with RolloutStore.open, or choose another path")
        if Path(path).is_file() or place.children(""):
            raise StoreError(f"a new store needs a new or empty directory; {path} is not: choose another path")
        with place.errors():
            place.make(LOG)
            place.make(SEGMENTS)
        try:
            place.create(STORE_FILE, json.dumps({"worldsim_store": FORMAT, "codec": codec}).encode())
            check_exclusive(place)
        except StoreError:
            for name in (STORE_FILE, LOG, SEGMENTS):
                place.remove(name)
            raise
        return cls(path, storage_options=storage_options)

    @classmethod
    def open(
        cls, path: str | Path, version: int | None = None, *, storage_options: Mapping[str, Any] | None = None
    ) -> RolloutStore:
        """Open a store at its newest version, or as it was after commit ``version``.

        Args:
            path: A directory, or an address such as ``s3://bucket/rollouts``.
            version: Number of a commit.
            storage_options: For an address, what obstore's ``from_url`` takes, for example ``region``,
                ``access_key_id``, ``secret_access_key``, ``endpoint``; environment variables are read too.

        Raises:
            StoreError: If there is no store, no such version, or a file is missing, cut off or damaged.
        """
        return cls(path, version, storage_options=storage_options)

    @classmethod
    def open_or_create(
        cls, path: str | Path, *, codec: str = "zstd", storage_options: Mapping[str, Any] | None = None
    ) -> RolloutStore:
        """Open the store at a path, or create it with this codec if there is none."""
        if open_place(path, storage_options).exists(STORE_FILE):
            return cls(path, storage_options=storage_options)
        return cls.create(path, codec=codec, storage_options=storage_options)

    @property
    def version(self) -> int:
        """Number of the last commit that this handle sees; 0 for an empty store."""
        return len(self._commits)

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self._episodes)

    @property
    def num_frames(self) -> int:
        """Frames of all episodes, T + 1 each."""
        return sum(entry.info.length + 1 for entry in self._episodes)

    @property
    def schema(self) -> Schema:
        """What all episodes have in common.

        Raises:
            StoreError: If the store is empty.
        """
        if not self._commits:
            raise StoreError(f"{self.path} holds no episodes yet; add some with append or collect")
        return self._commits[0].schema

    @property
    def height(self) -> int:
        """Height of a frame, pixels."""
        return self.schema.height

    @property
    def width(self) -> int:
        """Width of a frame, pixels."""
        return self.schema.width

    @property
    def commits(self) -> Sequence[Commit]:
        """Every commit up to this version."""
        return tuple(self._commits)

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.array([entry.info.length for entry in self._episodes], np.int64)

    @property
    def lengths(self) -> np.ndarray:
        """(len(store),) int64 steps per episode."""
        return self._lengths.copy()

    def info(self, episode: int) -> EpisodeInfo:
        """Return what is known of an episode besides its arrays."""
        return self._entry(episode).info

    def location(self, episode: int) -> tuple[str, int]:
        """Return path or address of the zarr group that holds an episode, and the row of its first frame."""
        entry = self._entry(episode)
        return str(self._place.at(f"{SEGMENTS}/{entry.segment}")), entry.row

    def episode(self, episode: int) -> Rollout:
        """Return an episode as it was appended.

        Raises:
            StoreError: If there is no such episode, or a file of it is damaged.
        """
        entry = self._entry(episode)
        return self._segment(entry).episode(entry)

    def window(self, *, episode: int, t: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``length`` steps of an episode from step ``t`` on.

        Returns:
            obs (length + 1, H, W, 3) uint8, action (length, ...), reward (length,) float32. ``action[k]`` takes
            ``obs[k]`` to ``obs[k + 1]``.

        Raises:
            StoreError: If the episode does not hold these steps, or a chunk of it is damaged.
        """
        entry = self._entry(episode)
        _check_window(entry, episode, t, length)
        obs = np.empty((length + 1, self.height, self.width, 3), np.uint8)
        segment, row = self._segment(entry), entry.row + t
        segment.frames(row, obs)
        action, reward = (segment.column(name)[row : row + length].copy() for name in ("action", "reward"))
        return obs, action, reward

    def windows(
        self, indices: np.ndarray, length: int, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return M windows at once.

        Args:
            indices: (M, 2) int, episode and first step of each.
            length: Steps per window.
            out: Where to put the frames, (M, length + 1, H, W, 3) uint8; allocated if None.

        Returns:
            obs (M, length + 1, H, W, 3), action (M, length, ...), reward (M, length).

        Raises:
            StoreError: If an episode does not hold these steps, or a chunk is damaged.
        """
        shape = (len(indices), length + 1, self.height, self.width, 3)
        obs = np.empty(shape, np.uint8) if out is None else out
        action = np.empty((len(indices), length, *self.schema.action_shape), self.schema.action_dtype)
        reward = np.empty((len(indices), length), np.float32)
        self.read_windows(indices, obs, action, reward)
        return obs, action, reward

    def read_windows(self, indices: np.ndarray, obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> None:
        """Fill given arrays with M windows at once; nothing is copied in between.

        Args:
            indices: (M, 2) int, episode and first step of each.
            obs: (M, length + 1, H, W, 3) uint8.
            action: (M, length, ...).
            reward: (M, length) float32.

        Raises:
            StoreError: If an array has another shape, an episode does not hold these steps, or a chunk is damaged.
        """
        num_windows, length, schema = len(indices), reward.shape[-1], self.schema
        _check_out("out", obs, (num_windows, length + 1, schema.height, schema.width, 3), "uint8")
        _check_out("action", action, (num_windows, length, *schema.action_shape), schema.action_dtype)
        _check_out("reward", reward, (num_windows, length), "float32")
        for i, (episode, t) in enumerate(np.asarray(indices).tolist()):
            entry = self._entry(episode)
            _check_window(entry, episode, t, length)
            segment, row = self._segment(entry), entry.row + t
            segment.frames(row, obs[i])
            action[i] = segment.column("action")[row : row + length]
            reward[i] = segment.column("reward")[row : row + length]

    def read_into(self, episode: int, t: int, out: np.ndarray) -> None:
        """Fill ``out`` (n, H, W, 3) uint8 with the frames of an episode from frame ``t`` on.

        Raises:
            StoreError: If the episode does not hold these frames, or a chunk of it is damaged.
        """
        entry = self._entry(episode)
        _check_window(entry, episode, t, len(out) - 1)
        if out.shape[1:] != (self.height, self.width, 3) or out.dtype != np.uint8:
            raise StoreError(f"out must be (n, {self.height}, {self.width}, 3) uint8; got {out.shape} {out.dtype}")
        self._segment(entry).frames(entry.row + t, out)

    def actions(self, episode: int) -> np.ndarray:
        """Return the actions of an episode, (T, ...)."""
        entry = self._entry(episode)
        return self._segment(entry).steps("action", entry.row, entry.info.length)

    def rewards(self, episode: int) -> np.ndarray:
        """Return the rewards of an episode, (T,) float32."""
        entry = self._entry(episode)
        return self._segment(entry).steps("reward", entry.row, entry.info.length)

    def body(self, episode: int, name: str) -> np.ndarray:
        """Return the state of one body over an episode, (T + 1, 13) float32; see ``worldsim.rollout.STATE_DIM``.

        Raises:
            StoreError: If the episode has no such body.
        """
        bodies = self.info(episode).bodies or ()
        if name not in bodies:
            raise StoreError(f"episode {episode} has the bodies {', '.join(bodies) or 'none'}; got {name!r}")
        entry = self._entry(episode)
        return self._segment(entry).states(entry)[:, bodies.index(name)].copy()

    def append(
        self,
        rollouts: Sequence[Rollout],
        *,
        run_id: str = "",
        keys: Sequence[str] | None = None,
        licence: str | None = None,
    ) -> int:
        """Add rollouts as one segment and one commit; they become visible together.

        Args:
            rollouts: At least one.
            run_id: Who writes; part of an episode's identity.
            keys: One per rollout, unique in the run. A rollout whose (run_id, key) is in the store already is left out,
                so that a repeated append adds nothing.

        Returns:
            The number of the commit, or of the newest one if every rollout was in the store already.

        Raises:
            StoreError: If the rollouts do not fit the store or the disk.
        """
        if keys is not None and len(keys) != len(rollouts):
            raise StoreError(f"append needs one key per rollout; got {len(keys)} keys for {len(rollouts)} rollouts")
        if not rollouts:
            raise StoreError("append needs at least one rollout; got none")
        with self.writer(run_id) as writer:
            for i, rollout in enumerate(rollouts):
                writer.add(rollout, None if keys is None else keys[i], licence=licence)
            return writer.commit()

    def writer(self, run_id: str = "") -> SegmentWriter:
        """Return a writer that streams rollouts, whole or step by step, into a segment of its own.

        Raises:
            StoreError: If the place does not take it.
        """
        if not self._is_exclusive:
            check_exclusive(self._place)
            self._is_exclusive = True
        return SegmentWriter(self, self._place, run_id)

    def keys(self, run_id: str) -> set[str]:
        """Return the keys of a run that are in the store."""
        return {key for run, key in held_identities(self._commits) if run == run_id}

    def refresh(self) -> None:
        """Move to the newest version."""
        self._read_up_to(newest_version(self._place))

    def verify(self) -> list[Fault]:
        """Check every commit, file and chunk of the newest version; returns what is wrong."""
        path, options = self._place.reopen()
        return verify(path, storage_options=options)

    @property
    def card(self) -> Mapping[str, Any]:
        """The data card: what the store holds, how it is balanced, and where it comes from."""
        if self._card is None or self._card["version"] != self.version:
            self._card = data_card(self)
        return self._card

    def compact(
        self,
        *,
        frames_per_segment: int = FRAMES_PER_SEGMENT,
        codec: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Rewrite runs of small segments as one each; episodes keep their numbers, and old versions stay until gc.

        Args:
            frames_per_segment: How large a segment may become by it.
            codec: Also rewrite what is packed otherwise; the store's own if None, and large segments stay.
            progress: Called with the segments rewritten and to rewrite.

        Returns:
            The number of segments that were replaced.

        Raises:
            StoreError: If a segment is damaged, or another process compacts at the same time.
        """
        num_replaced = compact(self._place, frames_per_segment=frames_per_segment, codec=codec, progress=progress)
        self.refresh()
        return num_replaced

    def gc(self, *, dry_run: bool = True, grace_s: float = GRACE_S) -> list[Path | str]:
        """Remove what killed writers left behind, and segments that were replaced.

        Versions from before they were replaced can then no longer be opened.

        Args:
            dry_run: Only say what would be removed.
            grace_s: Leave alone what was written to or replaced within this time, seconds; longer than any writer or
                reader of an old version stays open.

        Returns:
            Path or address of everything that was (or would be) removed.
        """
        return collect_garbage(self._place, dry_run=dry_run, grace_s=grace_s)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as path and version; files are opened again where it arrives."""
        path, options = self._place.reopen()
        return _reopen, (path, self.version, options)

    def __repr__(self) -> str:
        return f"RolloutStore({str(self.path)!r}, version={self.version}, episodes={len(self)})"

    def _entry(self, episode: int) -> Entry:
        if not 0 <= episode < len(self._episodes):
            raise StoreError(f"{self.path} has {len(self)} episodes, numbered from 0; got {episode}")
        return self._episodes[episode]

    def _segment(self, entry: Entry) -> SegmentReader:
        segment = self._segments[entry.segment]
        if not segment.is_mapped:
            self._mapped[entry.segment] = segment
            if len(self._mapped) > _MAX_MAPPED_SEGMENTS:
                self._mapped.popitem(last=False)[1].unmap()
        return segment

    def _read_up_to(self, version: int) -> None:
        new = read_commits(self._place, self.version + 1, version)
        is_rewritten = any(commit.removes for commit in new)
        added = [commit for commit in new if commit.segment]
        live = live_commits([*self._commits, *new]) if is_rewritten else [*self._live, *added]
        names = {commit.segment for commit in live}
        for commit in live if is_rewritten else added:
            assert commit.segment is not None
            if commit.segment not in self._entries:
                self._entries[commit.segment] = self._episodes_of(commit)
                self._segments[commit.segment] = SegmentReader(self._place, commit)
        if is_rewritten:
            for gone in self._entries.keys() - names:
                self._mapped.pop(gone, None)
                del self._entries[gone], self._segments[gone]
            self._episodes = [entry for commit in live for entry in self._entries[str(commit.segment)]]
        else:
            self._episodes += [entry for commit in added for entry in self._entries[str(commit.segment)]]
        self._commits += new
        self._live = live
        self.__dict__.pop("_lengths", None)

    def _episodes_of(self, commit: Commit) -> list[Entry]:
        try:
            return read_entries(self._place, commit)
        except StoreError:
            newest = read_commits(self._place, 1, newest_version(self._place))
            replaced = [later.number for later in newest if commit.segment in later.removes]
            if not replaced or self._place.children(f"{SEGMENTS}/{commit.segment}"):
                raise
            raise StoreError(
                f"this version of {self.path} needs segments that were compacted and removed by gc; "
                f"open version {replaced[0]} or later"
            ) from None


def _reopen(path: str | Path, version: int, storage_options: Mapping[str, Any] | None) -> RolloutStore:
    return RolloutStore.open(path, version, storage_options=storage_options)


def _check_window(entry: Entry, episode: int, t: int, length: int) -> None:
    if t < 0 or length < 0 or t + length > entry.info.length:
        raise StoreError(
            f"episode {episode} has {entry.info.length} steps; a window of {length} steps from step {t} leaves it"
        )


def _check_out(name: str, array: np.ndarray, shape: tuple[int, ...], dtype: str) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise StoreError(f"{name} must be {shape} {dtype}; got {array.shape} {array.dtype}")
