"""Removing what no version needs: segments that no commit names, segments that were replaced, temporary files."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from worldsim.store.commit_log import commit_path, live_commits, newest_version, read_commits
from worldsim.store.format import LOG, SEGMENTS

__all__ = ["GRACE_S", "collect_garbage"]

GRACE_S = 86_400.0
"""A writer may stay open for a day, and so may a reader of an old version."""


def collect_garbage(root: Path, *, dry_run: bool, grace_s: float) -> list[Path]:
    """Remove, or only list, what the newest version does not need and nobody has touched for ``grace_s`` seconds."""
    before = time.time() - grace_s
    candidates = [*(root / SEGMENTS).iterdir(), *(root / LOG).glob(".*"), *root.glob(".store.json.*")]
    commits = read_commits(root, 1, newest_version(root))  # after the listing: what is committed meanwhile is not in it
    live = {commit.segment for commit in live_commits(commits)}
    replaced_by = {segment: commit_path(root, commit.number) for commit in commits for segment in commit.removes}
    garbage = []
    for path in sorted(candidates):
        newest = replaced_by.get(path.name, path)
        if path.name not in live and _last_write(newest) <= before:
            garbage.append(path)
    for path in garbage if not dry_run else ():
        if path.is_dir():
            shutil.rmtree(_hidden(path))
        else:
            path.unlink()
    return garbage


def _hidden(path: Path) -> Path:
    """Take a folder away in one step, so that nobody meets half of it."""
    return path if path.name.startswith(".") else path.rename(path.with_name(f".{path.name}"))


def _last_write(path: Path) -> float:
    return max(file.stat().st_mtime for file in [path, *path.rglob("*")])
