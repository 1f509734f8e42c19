"""Removing what killed writers left: segments that no commit names, and temporary files."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from worldsim.store.commit_log import newest_version, read_commits
from worldsim.store.format import LOG, SEGMENTS

__all__ = ["GRACE_S", "collect_garbage"]

GRACE_S = 86_400.0
"""A writer may stay open for a day."""


def collect_garbage(root: Path, *, dry_run: bool, grace_s: float) -> list[Path]:
    """Remove, or only list, what no commit names and nobody has written to for ``grace_s`` seconds."""
    before = time.time() - grace_s
    candidates = [*(root / SEGMENTS).iterdir(), *(root / LOG).glob(".*"), *root.glob(".store.json.*")]
    committed = {commit.segment for commit in read_commits(root, 1, newest_version(root))}  # after the listing: no race
    garbage = [path for path in sorted(candidates) if path.name not in committed and _last_write(path) <= before]
    for path in garbage if not dry_run else ():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return garbage


def _last_write(path: Path) -> float:
    return max(file.stat().st_mtime for file in [path, *path.rglob("*")])
