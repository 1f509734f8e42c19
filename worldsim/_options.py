"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Device", "Json", "Minutes", "NoSeed", "Resume", "Run", "Seed", "Steps", "StorePath", "Threads"]

Json = Annotated[
    str | None,
    typer.Option("--json", metavar="[FILE]", help="Write the result as JSON to FILE; '-' or nothing: standard output."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Everything random follows from it.")]
NoSeed = Annotated[int, typer.Option("--seed", min=0, help="Taken by every command; nothing here is random.")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where the model runs.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Torch threads; torch's choice if not given.")]
StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="Directory of a rollout store.")]
Run = Annotated[Path, typer.Option("-o", "--run", metavar="RUN", help="Directory of the run; made if missing.")]
Minutes = Annotated[float | None, typer.Option("--minutes", help="Train this long.")]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Or this many steps.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the run's last saved step.")]
