"""RolloutStore: rollouts on disk that survive a killed writer, take many writers at once, and are read fast.

A store is opened at one version and stays there until ``refresh`` or its own ``append``, whatever other processes
commit. Handles open files lazily and hold no threads, so a store may be used after fork and sent to spawned processes.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.errors import StoreError
from worldsim.rollout import STATE_DIM, ActionDim, Caption, Rollout
from worldsim.store.card import data_card
from worldsim.store.commit_log import newest_version, read_commits
from worldsim.store.format import (
    FORMAT,
    LOG,
    SEGMENTS,
    STORE_FILE,
    Commit,
    EpisodeInfo,
    Fault,
    ObjectRecord,
    Schema,
    check_store,
    create_file,
)
from worldsim.store.gc import GRACE_S, collect_garbage
from worldsim.store.index import Entry, read_entries
from worldsim.store.reader import RowReader, open_rows
from worldsim.store.verify import verify
from worldsim.store.writer import SegmentWriter

__all__ = ["RolloutStore"]

_MAX_OPEN_ARRAYS = 512  # each mapping holds a file descriptor


class RolloutStore:
    """Rollouts in a directory. Use ``create`` or ``open``."""

    def __init__(self, path: str | Path, version: int | None = None) -> None:
        self.path = Path(path)
        self._commits: list[Commit] = []
        self._episodes: list[Entry] = []
        self._objects: dict[str, Mapping[str, ObjectRecord]] = {}
        self._arrays: OrderedDict[tuple[str, str], RowReader] = OrderedDict()
        self._columns: dict[tuple[str, str], np.ndarray] = {}
        self._card: dict[str, Any] | None = None
        check_store(self.path)
        newest = newest_version(self.path)
        if version is not None and not 0 <= version <= newest:
            raise StoreError(f"{self.path} has versions 0 to {newest}; got {version}")
        self._read_up_to(newest if version is None else version)

    @classmethod
    def create(cls, path: str | Path) -> RolloutStore:
        """Make an empty store in a new or empty directory.

        Raises:
            StoreError: If the directory holds something, or cannot hold a store.
        """
        root = Path(path)
        if (root / STORE_FILE).exists():
            raise StoreError(f"{root} is a store already; open it with RolloutStore.open, or choose another path")
        if root.is_file() or (root.is_dir() and any(root.iterdir())):
            raise StoreError(f"a new store needs a new or empty directory; {root} is not: choose another path")
        try:
            (root / LOG).mkdir(parents=True, exist_ok=True)
            (root / SEGMENTS).mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot create a store in {root}: {error.strerror}") from None
        create_file(root / STORE_FILE, json.dumps({"worldsim_store": FORMAT}).encode())
        return cls(root)

    @classmethod
    def open(cls, path: str | Path, version: int | None = None) -> RolloutStore:
        """Open a store at its newest version, or as it was after commit ``version``.

        Raises:
            StoreError: If there is no store, no such version, or a file is missing, cut off or damaged.
        """
        return cls(path, version)

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

    def episode(self, episode: int) -> Rollout:
        """Return an episode as it was appended.

        Raises:
            StoreError: If there is no such episode, or a file of it is damaged.
        """
        entry = self._entry(episode)
        info = entry.info
        num_steps = info.length
        obs = np.empty((num_steps + 1, self.height, self.width, 3), np.uint8)
        self.read_into(episode, 0, obs)
        state = None
        if info.bodies:
            rows = self._state(entry)
            state = {body: rows[:, i].copy() for i, body in enumerate(info.bodies)}
        return Rollout(
            obs=obs,
            **{
                name: self._steps(entry, name, 0, num_steps) for name in ("action", "reward", "terminated", "truncated")
            },
            state=state,
            caption=tuple(Caption(*caption) for caption in info.captions),
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
        self._array(entry.segment, "obs").read(entry.row + t, obs)
        return obs, self._steps(entry, "action", t, length), self._steps(entry, "reward", t, length)

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
        if obs.shape != shape or obs.dtype != np.uint8:
            raise StoreError(f"out must be {shape} uint8; got {obs.shape} {obs.dtype}")
        action = np.empty((len(indices), length, *self.schema.action_shape), self.schema.action_dtype)
        reward = np.empty((len(indices), length), np.float32)
        for i, (episode, t) in enumerate(np.asarray(indices).tolist()):
            entry = self._entry(episode)
            _check_window(entry, episode, t, length)
            self._array(entry.segment, "obs").read(entry.row + t, obs[i])
            first = entry.row + t
            action[i] = self._column(entry.segment, "action")[first : first + length]
            reward[i] = self._column(entry.segment, "reward")[first : first + length]
        return obs, action, reward

    def read_into(self, episode: int, t: int, out: np.ndarray) -> None:
        """Fill ``out`` (n, H, W, 3) uint8 with the frames of an episode from frame ``t`` on.

        Raises:
            StoreError: If the episode does not hold these frames, or a chunk of it is damaged.
        """
        entry = self._entry(episode)
        _check_window(entry, episode, t, len(out) - 1)
        if out.shape[1:] != (self.height, self.width, 3) or out.dtype != np.uint8:
            raise StoreError(f"out must be (n, {self.height}, {self.width}, 3) uint8; got {out.shape} {out.dtype}")
        self._array(entry.segment, "obs").read(entry.row + t, out)

    def actions(self, episode: int) -> np.ndarray:
        """Return the actions of an episode, (T, ...)."""
        entry = self._entry(episode)
        return self._steps(entry, "action", 0, entry.info.length)

    def body(self, episode: int, name: str) -> np.ndarray:
        """Return the state of one body over an episode, (T + 1, 13) float32; see ``worldsim.rollout.STATE_DIM``.

        Raises:
            StoreError: If the episode has no such body.
        """
        bodies = self.info(episode).bodies or ()
        if name not in bodies:
            raise StoreError(f"episode {episode} has the bodies {', '.join(bodies) or 'none'}; got {name!r}")
        return self._state(self._entry(episode))[:, bodies.index(name)].copy()

    def append(self, rollouts: Sequence[Rollout], *, run_id: str = "", keys: Sequence[str] | None = None) -> int:
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
                writer.add(rollout, None if keys is None else keys[i])
            return writer.commit()

    def writer(self, run_id: str = "") -> SegmentWriter:
        """Return a writer that streams rollouts into a segment of its own."""
        return SegmentWriter(self, run_id)

    def keys(self, run_id: str) -> set[str]:
        """Return the keys of a run that are in the store."""
        return {key for commit in self._commits for run, key in commit.identities if run == run_id}

    def refresh(self) -> None:
        """Move to the newest version."""
        self._read_up_to(newest_version(self.path))

    def verify(self) -> list[Fault]:
        """Check every commit, file and chunk of the newest version; returns what is wrong."""
        return verify(self.path)

    @property
    def card(self) -> Mapping[str, Any]:
        """The data card: what the store holds, how it is balanced, and where it comes from."""
        if self._card is None or self._card["version"] != self.version:
            self._card = data_card(self)
        return self._card

    def gc(self, *, dry_run: bool = True, grace_s: float = GRACE_S) -> list[Path]:
        """Remove what killed writers left behind, which no reader ever sees.

        Args:
            dry_run: Only say what would be removed.
            grace_s: Leave alone what was written to within this time, seconds; longer than any writer stays open.

        Returns:
            Every folder and file that was (or would be) removed.
        """
        return collect_garbage(self.path, dry_run=dry_run, grace_s=grace_s)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as path and version; files are opened again where it arrives."""
        return RolloutStore, (self.path, self.version)

    def __repr__(self) -> str:
        return f"RolloutStore({str(self.path)!r}, version={self.version}, episodes={len(self)})"

    def _entry(self, episode: int) -> Entry:
        if not 0 <= episode < len(self._episodes):
            raise StoreError(f"{self.path} has {len(self)} episodes, numbered from 0; got {episode}")
        return self._episodes[episode]

    def _array(self, segment: str, name: str) -> RowReader:
        key = (segment, name)
        reader = self._arrays.get(key)
        if reader is None:
            reader = self._arrays[key] = self._open_rows(segment, name)
            if len(self._arrays) > _MAX_OPEN_ARRAYS:
                self._arrays.popitem(last=False)
        return reader

    def _column(self, segment: str, name: str) -> np.ndarray:
        key = (segment, name)
        column = self._columns.get(key)
        if column is None:
            reader = self._open_rows(segment, name)
            column = np.empty(reader.shape, reader.dtype)
            reader.read(0, column)
            self._columns[key] = column
        return column

    def _open_rows(self, segment: str, name: str) -> RowReader:
        checksum = self._objects[segment][f"{name}/zarr.json"].crc32c
        return open_rows(self.path / SEGMENTS / segment / name, checksum)

    def _steps(self, entry: Entry, name: str, t: int, length: int) -> np.ndarray:
        return self._column(entry.segment, name)[entry.row + t : entry.row + t + length].copy()

    def _state(self, entry: Entry) -> np.ndarray:
        reader = self._array(entry.segment, "state")
        rows = np.empty((entry.info.length + 1, reader.shape[1], STATE_DIM), np.float32)  # (T + 1, K, 13)
        reader.read(entry.row, rows)
        return rows

    def _read_up_to(self, version: int) -> None:
        commits = read_commits(self.path, self.version + 1, version)
        episodes = [entry for commit in commits for entry in read_entries(self.path, commit)]
        self._commits += commits
        self._objects |= {commit.segment: commit.objects for commit in commits}
        self._episodes += episodes
        self.__dict__.pop("_lengths", None)


def _check_window(entry: Entry, episode: int, t: int, length: int) -> None:
    if t < 0 or length < 0 or t + length > entry.info.length:
        raise StoreError(
            f"episode {episode} has {entry.info.length} steps; a window of {length} steps from step {t} leaves it"
        )
