"""Making a damaged store whole again: everything that can still be read bit for bit stays, the rest is said and let go.

Lost entries of the log are written again from the segments that they named. A segment with damaged files is replaced by
one that holds its undamaged episodes; whoever collected the others can collect them again under the same keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.errors import StoreError
from worldsim.rollout import STATE_DIM
from worldsim.store.codecs import CODECS
from worldsim.store.commit_log import (
    append_commit,
    commit_name,
    committed_numbers,
    live_commits,
    place_commit,
    read_commits,
)
from worldsim.store.format import (
    SEGMENTS,
    Commit,
    Schema,
    array_metadata,
    check_store,
    crc32c,
)
from worldsim.store.index import Entry, parse_entries
from worldsim.store.place import Place, open_place
from worldsim.store.reader import open_rows
from worldsim.store.segment import SegmentFiles
from worldsim.store.segment_reader import SegmentReader
from worldsim.store.verify import file_record, segment_faults
from worldsim.store.writer import commit_segment

__all__ = ["Repair", "repair"]


@dataclass(frozen=True)
class Repair:
    """One thing that ``repair`` did, or would do."""

    file: str
    """Path inside the store."""
    action: str
    num_lost: int = 0
    """Episodes that are gone."""

    def __str__(self) -> str:
        """Return the repair as one line."""
        return f"{self.file}: {self.action}"


def repair(
    path: str | Path, *, dry_run: bool = False, storage_options: Mapping[str, Any] | None = None
) -> list[Repair]:
    """Leave a store that ``verify`` finds nothing wrong with. No other process may write to it meanwhile.

    Args:
        path: The store, a directory or an address such as ``s3://bucket/rollouts``.
        dry_run: Only say what would be done; with a broken log, the segments of its lost entries are not looked at.
        storage_options: For an address; see ``RolloutStore.open``.

    Returns:
        What was done, an empty list if the store was whole.

    Raises:
        StoreError: If there is no store, or nothing in it tells what it held.
    """
    place = open_place(path, storage_options)
    check_store(place)
    with place.errors():
        repairs, commits = _repair_log(place, dry_run)
        for commit in live_commits(commits):
            if segment_faults(place, commit):
                repairs += _repair_segment(place, commit, commits, dry_run)
                if not dry_run:
                    commits += read_commits(place, len(commits) + 1, max(committed_numbers(place)))
    return repairs


def _repair_log(place: Place, dry_run: bool) -> tuple[list[Repair], list[Commit]]:
    numbers = range(1, max(committed_numbers(place), default=0) + 1)
    found = {number: commit for number in numbers if (commit := _read_commit(place, number))}
    if len(found) == len(numbers):
        return [], list(found.values())
    schema = _any_schema(place, list(found.values()))
    repairs, commits, is_unknown = [], [], False
    for number in numbers:
        commit = found.get(number)
        if commit is None:
            after = found.get(number + 1)
            draft = _draft_of(place, after.previous) if after and after.previous else None
            commit = place_commit(place, draft or _nothing(schema), commits)
            commit = commit or place_commit(place, _nothing(schema), commits)
            assert commit is not None
            what = f"segment {commit.segment}" if commit.segment else "as one that adds nothing"
            repairs.append(Repair(commit_name(number), f"written again: {what}"))
            is_unknown |= commit.segment is None
            if not dry_run:
                place.replace(commit_name(commit.number), commit.to_json())
        commits.append(commit)
    if is_unknown and not dry_run:
        repairs += _adopt(place, commits)
    return repairs, commits


def _adopt(place: Place, commits: list[Commit]) -> list[Repair]:
    """Commit every whole segment that no entry names: one of the lost entries named it, or a killed writer made it."""
    named = {commit.segment for commit in commits} | {segment for commit in commits for segment in commit.removes}
    repairs = []
    by_age = sorted(place.children(SEGMENTS), key=lambda name: place.last_write(f"{SEGMENTS}/{name}"))
    for name in by_age:
        draft = None if name in named or name.startswith(".") else _draft_of(place, name)
        if draft is None or segment_faults(place, draft):
            continue
        try:
            commit = append_commit(place, draft, commits)
        except StoreError:  # it was to replace what is not there
            continue
        if commit is not None:
            commits.append(commit)
            repairs.append(Repair(f"{SEGMENTS}/{name}", f"committed again, as number {commit.number}"))
    return repairs


def _repair_segment(place: Place, commit: Commit, commits: Sequence[Commit], dry_run: bool) -> list[Repair]:
    assert commit.segment is not None
    label = f"{SEGMENTS}/{commit.segment}"
    try:
        entries = parse_entries(place, commit)
    except StoreError:
        entries = []
    if not dry_run:
        _restore_metadata(place, commit, entries)
        if not segment_faults(place, commit):
            return [Repair(label, "metadata written again")]
    files = SegmentFiles(place, check_store(place))
    segment, kept = SegmentReader(place, commit, is_rescue=True), []
    try:
        for entry in entries:
            try:
                rollout = segment.episode(entry)
            except StoreError:
                continue
            files.add(rollout, entry.info)
            kept.append((entry.info.run_id, entry.info.key))
        num_lost = len(commit.keys) - len(commit.duplicates) - len(kept)
        if not dry_run:
            lost = sorted(_identities(commits, commit.segment) - set(kept))
            commit_segment(
                place,
                files if kept else None,
                commit.schema,
                commits,
                keys=[None] * len(kept),
                removes=[commit.segment],
                lost=lost,
            )
    finally:
        if dry_run or not kept:
            files.discard()
    return [Repair(label, f"replaced: {len(kept)} episodes kept, {num_lost} lost", num_lost)]


def _identities(commits: Sequence[Commit], segment: str) -> set[tuple[str, str]]:
    """Return (run_id, key) of every episode of a segment, also of those it took over from others."""
    (commit,) = (commit for commit in commits if commit.segment == segment)
    inherited = set().union(*(_identities(commits, removed) for removed in commit.removes))
    return (inherited - set(commit.lost)) | commit.identities


def _restore_metadata(place: Place, commit: Commit, entries: Sequence[Entry]) -> None:
    """Write the ``zarr.json`` of arrays again where the commit's checksum proves that every byte is as it was."""
    schema, folder = commit.schema, f"{SEGMENTS}/{commit.segment}"
    there = place.sizes(folder)
    num_bodies = max((len(entry.info.bodies or ()) for entry in entries), default=0)
    rows = {
        "obs": ((schema.height, schema.width, 3), "uint8"),
        "action": (schema.action_shape, schema.action_dtype),
        "reward": ((), "float32"),
        "terminated": ((), "bool"),
        "truncated": ((), "bool"),
        "state": ((num_bodies, STATE_DIM), "float32"),
    }
    for name, (row_shape, dtype) in rows.items():
        record, path = commit.objects.get(f"{name}/zarr.json"), f"{folder}/{name}/zarr.json"
        if record is None or not any(file.startswith(f"{name}/") for file in there):
            continue
        for codec in CODECS:
            data = array_metadata(name, commit.num_rows, row_shape, np.dtype(dtype), codec)
            if (len(data), crc32c(data)) == (record.num_bytes, record.crc32c) and _bytes_of(place, path) != data:
                place.replace(path, data)


def _read_commit(place: Place, number: int) -> Commit | None:
    try:
        return read_commits(place, number, number)[0]
    except StoreError:
        return None


def _nothing(schema: Schema) -> Commit:
    return Commit(
        number=0,
        segment=None,
        num_rows=0,
        run_id="",
        keys=(),
        duplicates=(),
        schema=schema,
        objects={},
        code_version=_code_version(),
    )


def _draft_of(place: Place, segment: str) -> Commit | None:
    """Return the commit that a sealed segment was made for, None if the segment does not tell."""
    folder = f"{SEGMENTS}/{segment}"
    try:
        attributes = json.loads(place.read(f"{folder}/zarr.json"))["attributes"]
        obs, action = open_rows(place, f"{folder}/obs"), open_rows(place, f"{folder}/action")
        episodes, removes = attributes["episodes"], attributes.get("removes", ())
    except (OSError, StoreError, KeyError, UnicodeDecodeError, json.JSONDecodeError):
        return None
    sizes = place.sizes(folder)
    return Commit(
        number=0,
        segment=segment,
        num_rows=obs.shape[0],
        run_id="" if removes else episodes[0]["run_id"],
        keys=tuple(None if removes else episode["key"] for episode in episodes),
        duplicates=(),
        schema=Schema(obs.shape[1], obs.shape[2], action.shape[1:], action.dtype.name),
        objects={name: file_record(place, f"{folder}/{name}", size) for name, size in sizes.items()},
        code_version=_code_version(),
        removes=tuple(removes),
        lost=tuple((run_id, key) for run_id, key in attributes.get("lost", ())),
    )


def _any_schema(place: Place, commits: Sequence[Commit]) -> Schema:
    if commits:
        return commits[0].schema
    for name in place.children(SEGMENTS):
        draft = _draft_of(place, name)
        if draft is not None:
            return draft.schema
    raise StoreError(f"{place.at('')} cannot be repaired: no entry of its log and no segment can be read; restore it")


def _bytes_of(place: Place, name: str) -> bytes | None:
    return place.read(name) if place.exists(name) else None


def _code_version() -> str:
    from worldsim import __version__

    return __version__
