"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Device", "Json", "NoSeed", "Seed", "StorePath", "Threads"]

Json = Annotated[
    str | None,
    typer.Option("--json", metavar="[FILE]", help="Write the result as JSON to FILE; '-' or nothing: standard output."),
]
Seed = Annotated[int, typer.Option("--seed", help="Everything random follows from it.")]
NoSeed = Annotated[int, typer.Option("--seed", help="Taken by every command; nothing here is random.")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where the model runs.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Torch threads; torch's choice if not given.")]
StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="Directory of a rollout store.")]
