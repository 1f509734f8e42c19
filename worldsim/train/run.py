"""A training of one process, from its first step or from where it stopped to the end of its budget."""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldsim._json import plain
from worldsim.collect import interrupt_after
from worldsim.train.budget import Budget, hold

__all__ = ["TrainingRun"]


class TrainingRun(ABC):
    """What changes during a run, and its course: steps, reports, looks at what was learned, saves.

    Args:
        path: Directory of the run.
        settings: Its budget.
        frames_per_step: What a step learns from.
        log: Receives one line at a time.
    """

    def __init__(self, path: Path, settings: Budget, frames_per_step: int, log: Callable[[str], None]) -> None:
        self.path, self.budget, self.frames_per_step, self.log = path, settings, frames_per_step, log
        self.step, self.elapsed_s = 0, 0.0
        self.history: list[dict[str, Any]] = []

    @abstractmethod
    def take_step(self) -> float:
        """Follow the gradient of one batch, count the step and return its loss."""

    @abstractmethod
    def validate(self) -> None:
        """Look at what was learned, and write it down by `record`."""

    @abstractmethod
    def save(self) -> None:
        """Write the state for resuming and the checkpoint for use."""

    @property
    def progress(self) -> float:
        """Share of the budget that is used."""
        return self.budget.progress(self.step, self.elapsed_s)

    def run(self) -> Path:
        """Train to the end of the budget and return the directory of the checkpoint; Ctrl-C saves."""
        with hold(self.path):
            return self._run()

    def _run(self) -> Path:
        last_report = last_save = last_validation = time.monotonic()
        recent: list[float] = []
        shown_step, shown_s = self.step, self.elapsed_s
        try:
            while self.progress < 1:
                with interrupt_after():  # half a step cannot be resumed
                    began = time.monotonic()
                    recent.append(self.take_step())
                    now = time.monotonic()
                    self.elapsed_s += now - began
                if now - last_report >= self.budget.report_s:
                    rate = (self.step - shown_step) * self.frames_per_step / max(self.elapsed_s - shown_s, 1e-9)
                    self._report(recent, rate)
                    recent, shown_step, shown_s, last_report = [], self.step, self.elapsed_s, now
                is_validation_due = now - last_validation >= self.budget.validate_s
                if is_validation_due or now - last_save >= self.budget.save_s:
                    self.save()
                    last_save = time.monotonic()
                if is_validation_due:
                    self.validate()
                    last_validation = time.monotonic()
            self.save()  # whatever becomes of the last look
            self.validate()
        except KeyboardInterrupt:
            self.save()
            self.log(f"stopped at step {self.step}; saved. Resume the run to continue it")
            raise
        self.save()
        self.log(
            f"done: {self.step} steps, {self.elapsed_s / 60:.1f} minutes; checkpoint in {self.path / 'checkpoint'}"
        )
        return self.path / "checkpoint"

    def remember(self, figures: Mapping[str, Any]) -> None:
        """Keep the figures of a look at what was learned."""
        record = {"step": self.step, "minutes": self.elapsed_s / 60, **figures}
        self.history.append(record)
        self._write({"kind": "validation", **record})

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Write state.pt, whole or not at all."""
        temporary = self.path / "state.pt.partial"
        torch.save(dict(state), temporary)
        os.replace(temporary, self.path / "state.pt")

    def _report(self, recent: Sequence[float], frames_per_second: float) -> None:
        loss = float(np.mean(recent))
        left_s = self.elapsed_s * (1 - self.progress) / max(self.progress, 1e-6)
        self._write({"kind": "loss", "loss": loss, "frames_per_second": frames_per_second})
        self.log(
            f"step {self.step} | {100 * self.progress:.1f}% | loss {loss:.5f} | {frames_per_second:.0f} frames/s | "
            f"{left_s / 60:.0f} min left"
        )

    def _write(self, record: Mapping[str, Any]) -> None:
        line = {"step": self.step, "minutes": self.elapsed_s / 60, **record}
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(plain(line)) + "\n")
