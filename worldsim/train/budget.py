"""What every training shares: how long, how fast and how often, and a run that begins or goes on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import FileLock, Timeout

from worldsim.errors import CheckpointError, WorldsimError

__all__ = ["Budget", "changed_settings", "check_run", "hold", "read_state", "with_numbers"]

_OF_NO_STEP = {"minutes", "steps", "report_s", "save_s", "validate_s", "tensorboard", "contrast_weight"}
"""Settings that change no step of a resumed run: its length, what is told of it, what counts at its beginning."""
_WITH_OPTIONS = {"seed", "batch", "accumulate"}  # of the command line
_LEAST: dict[str, float] = {"length": 3, "level_mean": -math.inf, "known_for": 0.1}
"""Least values, where they are not 1, of a fraction 0."""
_UP_TO_ONE = {"ema", "final_rate", "own_frames_from"}  # as every share of windows or frames
_ABOVE_ONE = {"critic_share"}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long, how fast and how often; the budget is either minutes or steps."""

    minutes: float | None = None
    """Minutes of training, without loading, collecting, compiling and validating."""
    steps: int | None = None
    learning_rate: float = 1e-3
    final_rate: float = 0.03
    """Share of the learning rate that is left at the end of the cosine."""
    warmup_steps: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.999
    seed: int = 0
    report_s: float = 10.0
    """Seconds between lines."""
    save_s: float = 180.0
    validate_s: float = 300.0

    def progress(self, step: int, elapsed_s: float) -> float:
        """Return the share of the budget that is used."""
        return step / self.steps if self.steps is not None else elapsed_s / (60 * (self.minutes or 1))

    def rate(self, step: int, elapsed_s: float) -> float:
        """Return the learning rate of a step: a warm-up, then a cosine over the budget."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress(step, elapsed_s))))
        return self.learning_rate * warm * (self.final_rate + (1 - self.final_rate) * cosine)

    def decay(self, step: int) -> float:
        """Return what the average of the weights keeps after ``step`` steps; little at first."""
        return min(self.ema, (1 + step) / (10 + step))


Settings = TypeVar("Settings", bound=Budget)


def with_numbers(config: Settings, numbers: Sequence[str]) -> Settings:
    """Return settings with other numbers.

    Args:
        config: All other settings.
        numbers: ``NAME=VALUE`` each, such as ``own_frames_from=0.2``.

    Raises:
        WorldsimError: If a name is no number of the settings, or a value does not fit.
    """
    kinds: dict[str, type[int] | type[float]] = {
        f.name: int if type(f.default) is int else float
        for f in fields(config)
        if type(f.default) in (int, float) and f.name not in _WITH_OPTIONS
    }
    changes: dict[str, Any] = {}
    for text in numbers:
        name, _, value = text.partition("=")
        if name not in kinds:
            raise WorldsimError(f"there is no setting {name!r}; NAME=VALUE sets one of {', '.join(kinds)}")
        kind = kinds[name]
        is_share = name in _UP_TO_ONE or (name.endswith("_share") and name not in _ABOVE_ONE)
        least, most = _LEAST.get(name, 1 if kind is int else 0), 1 if is_share else math.inf
        try:
            number = kind(value)
        except ValueError:
            number = math.nan
        if not least <= number <= most or math.isinf(number):
            limit = f" from {least} to {most}" if is_share else f" of at least {least}" if least > -math.inf else ""
            raise WorldsimError(f"{name} must be a {'whole ' if kind is int else ''}number{limit}; got {value!r}")
        changes[name] = number
    return replace(config, **changes)


def check_run(run: Path, *, minutes: float | None, steps: int | None, resume: bool) -> None:
    """Check that a run has one budget, and that it is new, or there to be resumed.

    Raises:
        WorldsimError: If it has no budget, two, or one that is not above 0, or is there and is not to be resumed, or
            its directory holds a checkpoint that would be replaced.
        CheckpointError: If it is to be resumed and is not there.
    """
    if (minutes is None) == (steps is None):
        raise WorldsimError("training needs a budget: give either minutes or steps")
    name, budget = ("minutes", minutes) if minutes is not None else ("steps", steps)
    if not 0 < float(budget or 0) < math.inf:
        raise WorldsimError(f"{name} must be a number above 0; got {budget}")
    if (run / "state.pt").exists() and not resume:
        raise WorldsimError(f"{run} already holds a run; resume it, or choose another directory")
    if (run / "checkpoint").exists() and not resume:
        raise WorldsimError(
            f"{run} already holds a checkpoint, which a new run would replace; choose another directory"
        )
    if resume and not (run / "state.pt").exists():
        raise CheckpointError(f"{run} holds no run to resume (state.pt is missing); start it without resume")


def changed_settings(begun: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return which settings of a run that is resumed differ from those that it was saved with, for people."""
    return ", ".join(
        f"{name} {begun.get(name, 'unknown')} -> {now[name]}"
        for name in now
        if name not in _OF_NO_STEP and begun.get(name, "unknown") != now[name]
    )


@contextmanager
def hold(run: Path) -> Iterator[None]:
    """Make the directory of a run and keep other processes out of it.

    Raises:
        WorldsimError: If another process is training there.
    """
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise WorldsimError(f"another process is training in {run}; wait for it, or choose another directory") from None
    try:
        yield
    finally:
        lock.release()


def read_state(run: Path, *, kind: str, cure: str) -> dict[str, Any]:
    """Return the saved state of a run.

    Args:
        run: Its directory.
        kind: What is trained there, as the state names it.
        cure: What to do if it is damaged, for the error.

    Raises:
        CheckpointError: If it is damaged, or of another kind.
    """
    try:
        saved = torch.load(run / "state.pt", map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes its reader say
        said = str(error).partition("\n")[0].partition(". ")[0]  # torch goes on with advice, over many lines
        raise CheckpointError(f"{run / 'state.pt'} is damaged ({said}); {cure}") from None
    if saved.get("kind", kind) != kind:
        raise CheckpointError(f"{run} holds a run of {saved['kind']}, not of {kind}; choose another directory")
    return saved
