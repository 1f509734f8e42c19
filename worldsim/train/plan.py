"""What one step trains on: a function of (seed, step) and of how far the training is, the same on every rank."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from worldsim.train.config import TrainConfig

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The B windows of a step and how they are seen."""

    rows: np.ndarray
    """(B,) first row of each window."""
    is_mirrored: np.ndarray
    """(B,) bool."""
    language: np.ndarray
    """(B,) 0 for English captions, 1 for Chinese ones."""
    seeds: np.ndarray
    """(B,) of the noise of each window."""
    padding: int
    """Frames at the beginning of each window that are replaced by the first one behind them."""
    own_frames_from: int | None
    """From which frame on the context is the model's own."""

    def share(self, windows: slice) -> Plan:
        """Return the plan of some of the windows."""
        return replace(
            self,
            rows=self.rows[windows],
            is_mirrored=self.is_mirrored[windows],
            language=self.language[windows],
            seeds=self.seeds[windows],
        )


def make_plan(
    settings: TrainConfig, step: int, *, rows: np.ndarray, end_rows: np.ndarray, num_context: int, is_late: bool
) -> Plan:
    """Return the plan of a step.

    Args:
        settings: Shares of windows that are treated in one way or another.
        step: Its number.
        rows: (M,) first rows of all windows.
        end_rows: (E,) of those that hold an end.
        num_context: Frames that the model starts from.
        is_late: Whether contexts may be the model's own.
    """
    rng = np.random.Generator(np.random.Philox(key=[settings.seed, step]))
    chosen = rng.choice(rows, settings.batch)
    if len(end_rows):
        chosen = np.where(rng.random(len(chosen)) < settings.ends_share, rng.choice(end_rows, len(chosen)), chosen)
    padding = 0
    if rng.random() < settings.padded_share:
        padding = int(rng.integers(1, min(num_context, settings.length)))
    own_frames_from = None
    if is_late and rng.random() < settings.own_frames_share:
        own_frames_from = 1 + int((settings.length - 2) * rng.random() ** 2)  # mostly early: long imagined contexts
        own_frames_from = min(max(own_frames_from, padding), settings.length - 2)
    return Plan(
        rows=chosen,
        is_mirrored=rng.random(len(chosen)) < 0.5,
        language=rng.integers(2, size=len(chosen)),
        seeds=rng.integers(2**62, size=len(chosen)),
        padding=padding,
        own_frames_from=own_frames_from,
    )
