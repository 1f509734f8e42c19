"""Which commit of the code a run or a figure was made with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import worldsim

__all__ = ["commit_name"]


def commit_name() -> str:
    """Return the short git sha of the running code, with ``+`` if files differ from it, else the version."""
    root = Path(worldsim.__file__).parent

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # An installed package may lie inside somebody else's repository: only one that tracks this file counts.
    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return worldsim.__version__
    sha = git("rev-parse", "--short=12", "HEAD")
    return f"{sha}+" if git("status", "--porcelain", "--untracked-files=no", "--", ".") else f"{sha}"
