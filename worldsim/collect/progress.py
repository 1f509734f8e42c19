"""How a collection shows itself: a bar on a terminal, a plain line every few seconds anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worldsim.collect.collect import Progress

__all__ = ["show_progress"]

_LINE_EVERY_S = 5.0


@contextmanager
def show_progress() -> Iterator[Callable[[Progress], None]]:
    """Show a collection on standard error while the block runs; yields what ``collect`` takes as ``progress``."""
    if sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    with Bar(TextColumn("collect"), BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda progress: bar.update(
            task, total=progress.total, completed=progress.episodes, description=_describe(progress)
        )


def _lines() -> Callable[[Progress], None]:
    due = time.monotonic() + _LINE_EVERY_S

    def report(progress: Progress) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due or progress.episodes == progress.total:
            due = now + _LINE_EVERY_S
            print(f"collect: {_describe(progress)}", file=sys.stderr, flush=True)

    return report


def _describe(progress: Progress) -> str:
    minutes, seconds = divmod(round(progress.eta_s), 60)
    return (
        f"{progress.episodes}/{progress.total} episodes, {progress.steps_per_s:.0f} steps/s, "
        f"{progress.num_bytes / 1e6:.0f} MB of frames, {minutes}:{seconds:02d} left"
    )
