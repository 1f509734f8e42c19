"""What a comparison was made with, and what makes its figures doubtful."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import worldsim
from worldsim.evaluate.clips import Clip
from worldsim.model import WorldModel

__all__ = ["commit_name", "setting_warnings"]


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


def setting_warnings(model: WorldModel, clips: Sequence[Clip]) -> list[str]:
    """Return a sentence for everything that makes the figures doubtful: seeds that training saw too."""
    found = []
    if seeds := model.card.get("seeds"):
        low, high = seeds["min"], seeds["max"]
        shared = sum(low <= clip.seed <= high for clip in clips)
        if shared and clips[0].truth.env_id == model.spec.env_id:
            found.append(
                f"{shared} of {len(clips)} env seeds lie in the range {low} to {high} that {model.name} saw in "
                "training: the figures flatter it; take seeds from 200,000 on"
            )
    return found
