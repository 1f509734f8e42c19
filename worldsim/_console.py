"""What the command line prints with: a console, tables, progress and JSON.

People read standard error when JSON goes to standard output, so that a pipe holds nothing but JSON.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from worldsim._json import plain
from worldsim.errors import EnvError

__all__ = ["STDOUT", "Progress", "console", "figure", "show_progress", "show_table", "write_json"]

STDOUT = "-"
"""The JSON target that means standard output."""
_PLAIN_WIDTH = 140  # columns, where no terminal says
_PLAIN_EVERY_S = 5.0


class Progress(Protocol):
    """``progress(stage, done, total)``, called as often as the work likes."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` parts of a stage are done."""
        ...


def console(json_target: str | None) -> Console:
    """Return where people's text goes: standard output, or standard error if JSON goes there."""
    stream = sys.stderr if json_target == STDOUT else sys.stdout
    width = None if stream.isatty() else _PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False, soft_wrap=False)


def show_table(out: Console, columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
    """Print a table; columns whose values are numbers stand right."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for i, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(figure, row))
    out.print(table)


def figure(value: Any) -> str:
    """Return a value as people read it: numbers with three digits, a dash for what is not known."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Show progress on standard error: a bar per stage on a terminal, a plain line every few seconds otherwise."""
    out = Console(stderr=True, highlight=False, markup=False)
    if out.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with RichProgress(*columns, console=out, transient=True) as bars:
            tasks: dict[str, Any] = {}

            def on_bar(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=total)
                bars.update(tasks[stage], completed=done, total=total)

            yield on_bar
        return
    printed: dict[str, float] = {}

    def on_line(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total or now - printed.get(stage, -math.inf) >= _PLAIN_EVERY_S:
            printed[stage] = now
            out.print(f"{stage}: {done}/{total}")

    yield on_line


def write_json(target: str | None, data: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON to a file, to standard output for ``-``, nowhere for None; numbers that are not finite become null.

    Raises:
        EnvError: If the file cannot be written.
    """
    if target is None:
        return
    text = json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    if target == STDOUT:
        sys.stdout.write(text + "\n")
        return
    try:
        Path(target).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise EnvError(f"the JSON file {target} cannot be written: {error.strerror}; choose another path") from None
