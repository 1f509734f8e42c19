"""Checking every byte of a store against the checksums that its commits and chunks carry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from worldsim.errors import StoreError
from worldsim.store.commit_log import commit_name, committed_numbers, live_commits, read_commits
from worldsim.store.format import SEGMENTS, Commit, Fault, ObjectRecord, check_store
from worldsim.store.place import Place, open_place
from worldsim.store.reader import ShardReader, open_rows

__all__ = ["file_record", "segment_faults", "verify"]

_BLOCK = 1 << 20  # bytes read at a time


def verify(path: str | Path, *, storage_options: Mapping[str, Any] | None = None) -> list[Fault]:
    """Check every commit, every file and every chunk of a store, also of one that is too damaged to open.

    Segments that were replaced count no more.

    Args:
        path: A directory, or an address such as ``s3://bucket/rollouts``.
        storage_options: For an address; see ``RolloutStore.open``.

    Returns:
        What is wrong, an empty list if nothing is.

    Raises:
        StoreError: If there is no store.
    """
    place = open_place(path, storage_options)
    check_store(place)
    faults, commits = [], []
    for number in range(1, max(committed_numbers(place), default=0) + 1):
        try:
            commits += read_commits(place, number, number)
        except StoreError:
            name = commit_name(number)
            faults.append(Fault(name, None, "is damaged" if place.exists(name) else "is missing"))
    for commit in live_commits(commits):
        faults += segment_faults(place, commit)
    return faults


def segment_faults(place: Place, commit: Commit) -> list[Fault]:
    """Check every file and every chunk of the segment that a commit added."""
    assert commit.segment is not None
    folder = f"{SEGMENTS}/{commit.segment}"
    faults, sizes = [], place.sizes(folder)
    for name, record in commit.objects.items():
        chunks = [] if name.endswith("zarr.json") else _chunk_faults(place, commit, name)
        faults += chunks
        problem = _object_problem(place, f"{folder}/{name}", sizes.get(name), record)
        if problem is not None and not chunks:
            faults.append(Fault(f"{folder}/{name}", None, problem))
    return faults


def file_record(place: Place, name: str, num_bytes: int) -> ObjectRecord:
    """Return size and checksum of a file, read block by block."""
    if not num_bytes:
        return ObjectRecord(0, 0)
    blob, checksum = place.blob(name), 0
    for offset in range(0, num_bytes, _BLOCK):
        (block,) = blob.ranges([(offset, min(_BLOCK, num_bytes - offset))])
        checksum = google_crc32c.extend(checksum, block)  # pyright: ignore[reportArgumentType]
    return ObjectRecord(num_bytes, checksum)


def _object_problem(place: Place, name: str, size: int | None, record: ObjectRecord) -> str | None:
    if size is None:
        return "is missing"
    if size != record.num_bytes:
        return f"is cut off: it has {size} bytes instead of {record.num_bytes}"
    return None if file_record(place, name, size) == record else "its checksum does not match"


def _chunk_faults(place: Place, commit: Commit, name: str) -> list[Fault]:
    field = name.split("/")[0]
    folder = f"{SEGMENTS}/{commit.segment}"
    try:
        reader = open_rows(place, f"{folder}/{field}", commit.objects[f"{field}/zarr.json"].crc32c)
    except StoreError:
        return []  # the file itself, or its zarr.json, is reported as a whole
    if not isinstance(reader, ShardReader):
        return []
    faults = []
    scratch = np.empty(reader.chunk_shape, reader.dtype)
    for chunk in range(reader.num_chunks):
        try:
            reader.decode(chunk, scratch)
        except StoreError:
            faults.append(Fault(f"{folder}/{name}", chunk, "its checksum does not match"))
    return faults
