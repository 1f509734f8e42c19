"""Checking every byte of a store against the checksums that its commits and chunks carry."""

from __future__ import annotations

from pathlib import Path

import google_crc32c
import numpy as np

from worldsim.errors import StoreError
from worldsim.store.commit_log import commit_path, committed_numbers, live_commits, read_commits
from worldsim.store.format import SEGMENTS, Commit, Fault, ObjectRecord, check_store
from worldsim.store.reader import ShardReader, open_rows

__all__ = ["segment_faults", "verify"]

_BLOCK = 1 << 20  # bytes read at a time


def verify(path: str | Path) -> list[Fault]:
    """Check every commit, every file and every chunk of a store, also of one that is too damaged to open.

    Segments that were replaced count no more.

    Returns:
        What is wrong, an empty list if nothing is.

    Raises:
        StoreError: If there is no store.
    """
    root = Path(path)
    check_store(root)
    faults, commits = [], []
    for number in range(1, max(committed_numbers(root), default=0) + 1):
        try:
            commits += read_commits(root, number, number)
        except StoreError:
            file = commit_path(root, number)
            faults.append(Fault(str(file.relative_to(root)), None, "is damaged" if file.exists() else "is missing"))
    for commit in live_commits(commits):
        faults += segment_faults(root, commit)
    return faults


def segment_faults(root: Path, commit: Commit) -> list[Fault]:
    """Check every file and every chunk of the segment that a commit added."""
    assert commit.segment is not None
    faults = []
    for name, record in commit.objects.items():
        file = root / SEGMENTS / commit.segment / name
        label = str(file.relative_to(root))
        chunks = [] if name.endswith("zarr.json") else _chunk_faults(root, commit, name)
        faults += chunks
        problem = _object_problem(file, record)
        if problem is not None and not chunks:
            faults.append(Fault(label, None, problem))
    return faults


def _object_problem(file: Path, record: ObjectRecord) -> str | None:
    if not file.exists():
        return "is missing"
    size = file.stat().st_size
    if size != record.num_bytes:
        return f"is cut off: it has {size} bytes instead of {record.num_bytes}"
    checksum = 0
    with open(file, "rb") as data:
        while block := data.read(_BLOCK):
            checksum = google_crc32c.extend(checksum, block)
    return None if checksum == record.crc32c else "its checksum does not match"


def _chunk_faults(root: Path, commit: Commit, name: str) -> list[Fault]:
    assert commit.segment is not None
    field = name.split("/")[0]
    folder = root / SEGMENTS / commit.segment
    try:
        reader = open_rows(folder / field, commit.objects[f"{field}/zarr.json"].crc32c)
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
            faults.append(Fault(str((folder / name).relative_to(root)), chunk, "its checksum does not match"))
    return faults
