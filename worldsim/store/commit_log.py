"""The numbered commit log: what is in the store, and the only thing that writers compete for.

A commit is one file, created under the next free number or not at all. Most commits only add, so a writer that finds
its number taken reads what took it and tries the next one. A commit that replaces segments finds them there or is not
made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from worldsim.errors import StoreError
from worldsim.store.format import LOG, Commit
from worldsim.store.place import Place, UnconfirmedError

__all__ = [
    "append_commit",
    "commit_name",
    "committed_numbers",
    "held_identities",
    "live_commits",
    "newest_version",
    "place_commit",
    "read_commits",
]


def commit_name(number: int) -> str:
    """Return where commit ``number`` lies; zero-padded, so that names sort as numbers do."""
    return f"{LOG}/{number:020d}.json"


def committed_numbers(place: Place) -> list[int]:
    """Return the numbers of the commits that are there, in order."""
    return sorted(int(name[:-5]) for name in place.children(LOG) if name[0].isdigit() and name.endswith(".json"))


def newest_version(place: Place) -> int:
    """Return the number of the last commit, 0 for an empty store.

    Raises:
        StoreError: If a commit before it is missing.
    """
    numbers = committed_numbers(place)
    for expected, number in enumerate(numbers, start=1):
        if number != expected:
            raise StoreError(
                f"commit {expected} of {place.at('')} is missing ({place.at(commit_name(expected))}); "
                "run worldsim repair"
            )
    return len(numbers)


def read_commits(place: Place, first: int, last: int) -> list[Commit]:
    """Return commits ``first`` to ``last``, both included.

    Raises:
        StoreError: If one is missing or damaged.
    """
    commits = []
    for number in range(first, last + 1):
        name = commit_name(number)
        try:
            commits.append(Commit.from_json(place.read(name), place.at(name)))
        except FileNotFoundError:
            raise StoreError(
                f"commit {number} of {place.at('')} is missing ({place.at(name)}); run worldsim repair"
            ) from None
    return commits


def live_commits(commits: Sequence[Commit]) -> list[Commit]:
    """Return the commits whose segments make up the store, in the order of its episodes."""
    live: list[Commit] = []
    for commit in commits:
        if commit.removes:
            removed = set(commit.removes)
            place = min((i for i, other in enumerate(live) if other.segment in removed), default=len(live))
            live = [other for other in live if other.segment not in removed]
            live[place:place] = [commit] if commit.segment else []
        elif commit.segment:
            live.append(commit)
    return live


def held_identities(commits: Sequence[Commit]) -> set[tuple[str, str]]:
    """Return every (run_id, key) that may not be added again."""
    held: set[tuple[str, str]] = set()
    for commit in commits:
        held.difference_update(commit.lost)  # in place: a copy for each commit would take a second of 4,000
        held |= commit.identities
    return held


def append_commit(place: Place, draft: Commit, known: Sequence[Commit]) -> Commit | None:
    """Add a commit under the next free number.

    Args:
        place: Where the store lies.
        draft: The commit; its number, its duplicates and what came before it are filled in here.
        known: Commits from 1 on that the caller has already read.

    Returns:
        The commit as written, or None if every episode of it is already in the store.

    Raises:
        UnconfirmedError: If it is not known whether the commit was made.
        StoreError: If the store holds episodes of another shape, or no longer has what the commit is to replace.
    """
    commits = [*known, *read_commits(place, len(known) + 1, newest_version(place))]
    while (commit := place_commit(place, draft, commits)) is not None:
        unclear = None
        try:
            if place.create(commit_name(commit.number), commit.to_json()):
                return commit
        except UnconfirmedError as error:
            unclear = error
        try:
            new = read_commits(place, len(commits) + 1, newest_version(place))
        except StoreError as error:
            raise unclear or UnconfirmedError(str(error)) from None
        for other in new:
            if (other.segment, other.removes) == (draft.segment, draft.removes):  # our own: its answer was lost
                return other
        if unclear is not None:
            raise unclear
        commits += new
    return None


def place_commit(place: Place, draft: Commit, before: Sequence[Commit]) -> Commit | None:
    """Return a commit as it has to be written behind some others, None if it would add nothing.

    Raises:
        StoreError: If it does not fit behind them.
    """
    if before and before[0].schema != draft.schema:
        raise StoreError(
            f"{place.at('')} holds {before[0].schema.describe()}; got {draft.schema.describe()}: use another store"
        )
    if draft.removes and not set(draft.removes) <= {commit.segment for commit in live_commits(before)}:
        raise StoreError(f"another process compacted or repaired {place.at('')} at the same time; run the same again")
    taken = held_identities(before)
    duplicates = []
    for i, key in enumerate(draft.keys):
        if key is not None and (draft.run_id, key) in taken:
            duplicates.append(i)
        elif key is not None:
            taken.add((draft.run_id, key))
    if draft.keys and len(duplicates) == len(draft.keys):
        return None
    previous = before[-1].segment if before else None
    return replace(draft, number=len(before) + 1, duplicates=tuple(duplicates), previous=previous)
