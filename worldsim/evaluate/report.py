"""The result of a comparison: figures as JSON values, and both rollouts of every clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldsim.evaluate.clips import Pair
from worldsim.evaluate.html import report_html, table_steps
from worldsim.evaluate.sentences import limits, verdict

__all__ = ["Report"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Figures and rollouts of one comparison."""

    json: Mapping[str, Any]
    """The figures as JSON values; lists have one entry per step and index 0 is step 1."""
    rollouts: tuple[Pair, ...]
    """Both rollouts of every clip; frame 0 is the last context frame."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """The model's data card."""

    @property
    def verdict(self) -> str:
        """How good the model is, in two or three sentences."""
        return verdict(self.json)

    @property
    def limits(self) -> list[str]:
        """What the model cannot do, one sentence each."""
        return limits(self.json)

    def table(self) -> list[dict[str, Any]]:
        """Return skill, psnr, psnr_copy_last, sharpness and n at the steps 1, 4, 8, ... up to the horizon."""
        names = ("skill", "psnr", "psnr_copy_last", "sharpness", "n")
        return [
            {"step": step, **{name: self.json[name][step - 1] for name in names}}
            for step in table_steps(self.json["horizon"])
        ]

    def save(self, path: str | Path, *, max_clips: int = 8) -> Path:
        """Write the report as one HTML file that needs no network.

        Args:
            path: File to write; its folder is made.
            max_clips: Most clips in the player, the first ones; the figures are always of all.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report_html(self.json, self.rollouts, self.card, max_clips=max_clips), encoding="utf-8")
        return path
