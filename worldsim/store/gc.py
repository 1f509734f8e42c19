"""Removing what no version needs: segments that no commit names, segments that were replaced, temporary files."""

from __future__ import annotations

import time
from pathlib import Path

from worldsim.store.commit_log import commit_name, live_commits, newest_version, read_commits
from worldsim.store.format import LOG, SEGMENTS, STORE_FILE
from worldsim.store.place import Place

__all__ = ["GRACE_S", "collect_garbage"]

GRACE_S = 86_400.0
"""A writer may stay open for a day, and so may a reader of an old version."""


def collect_garbage(place: Place, *, dry_run: bool, grace_s: float) -> list[Path | str]:
    """Remove, or only list, what the newest version does not need and nobody has touched for ``grace_s`` seconds."""
    before = time.time() - grace_s
    candidates = [f"{SEGMENTS}/{name}" for name in place.children(SEGMENTS)]
    candidates += [f"{LOG}/{name}" for name in place.children(LOG) if name.startswith(".")]
    candidates += [name for name in place.children("") if name.startswith(f".{STORE_FILE}")]
    commits = read_commits(place, 1, newest_version(place))  # after the listing: later commits are not in it
    live = {f"{SEGMENTS}/{commit.segment}" for commit in live_commits(commits)}
    replaced_by = {f"{SEGMENTS}/{name}": commit_name(commit.number) for commit in commits for name in commit.removes}
    garbage = [
        name
        for name in sorted(candidates)
        if name not in live and place.last_write(replaced_by.get(name, name)) <= before
    ]
    for name in garbage if not dry_run else ():
        place.remove(name)
    return [place.at(name) for name in garbage]
