"""The numbered commit log: what is in the store, and the only thing that writers compete for.

A commit is one file, created under the next free number or not at all. Commits only add, so a writer that finds its
number taken reads what took it and tries the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from worldsim.errors import StoreError
from worldsim.store.format import LOG, Commit, create_file

__all__ = ["append_commit", "commit_path", "committed_numbers", "newest_version", "read_commits"]


def commit_path(root: Path, number: int) -> Path:
    """Return where commit ``number`` lies; zero-padded, so that names sort as numbers do."""
    return root / LOG / f"{number:020d}.json"


def committed_numbers(root: Path) -> list[int]:
    """Return the numbers of the commits that are there, in order."""
    return sorted(int(path.stem) for path in (root / LOG).glob("[0-9]*.json"))


def newest_version(root: Path) -> int:
    """Return the number of the last commit, 0 for an empty store.

    Raises:
        StoreError: If a commit before it is missing.
    """
    numbers = committed_numbers(root)
    for expected, number in enumerate(numbers, start=1):
        if number != expected:
            raise StoreError(f"commit {expected} of {root} is missing ({commit_path(root, expected)}); restore it")
    return len(numbers)


def read_commits(root: Path, first: int, last: int) -> list[Commit]:
    """Return commits ``first`` to ``last``, both included.

    Raises:
        StoreError: If one is missing or damaged.
    """
    commits = []
    for number in range(first, last + 1):
        path = commit_path(root, number)
        try:
            commits.append(Commit.from_json(path.read_bytes(), path))
        except FileNotFoundError:
            raise StoreError(f"commit {number} of {root} is missing ({path}); restore it from a copy") from None
    return commits


def append_commit(root: Path, draft: Commit, known: Sequence[Commit]) -> Commit | None:
    """Add a commit under the next free number.

    Args:
        root: The store.
        draft: The commit; its number and duplicates are filled in here.
        known: Commits from 1 on that the caller has already read.

    Returns:
        The commit as written, or None if every episode of it is already in the store.

    Raises:
        StoreError: If the store holds episodes of another shape.
    """
    commits = list(known)
    while True:
        commits += read_commits(root, len(commits) + 1, newest_version(root))
        if commits and commits[0].schema != draft.schema:
            raise StoreError(
                f"{root} holds {commits[0].schema.describe()}; got {draft.schema.describe()}: use another store"
            )
        taken = set().union(*(commit.identities for commit in commits))
        duplicates = []
        for i, key in enumerate(draft.keys):
            if key is not None and (draft.run_id, key) in taken:
                duplicates.append(i)
            elif key is not None:
                taken.add((draft.run_id, key))
        if len(duplicates) == len(draft.keys):
            return None
        commit = replace(draft, number=len(commits) + 1, duplicates=tuple(duplicates))
        if create_file(commit_path(root, commit.number), commit.to_json()):
            return commit
