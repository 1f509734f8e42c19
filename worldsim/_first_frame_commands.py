"""The command that teaches a world model to begin from text alone: ``worldsim train-first-frames``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worldsim._console import console, write_json
from worldsim._options import Device, Json, Minutes, Resume, Run, Seed, Steps, StorePath, Threads
from worldsim.errors import WorldsimError

__all__ = ["add_to"]

_EXAMPLE = "worldsim train-first-frames data/city --model runs/city -o runs/city-first --minutes 60"


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command("train-first-frames", epilog=f"Example: {_EXAMPLE}")(train_first_frames)


def train_first_frames(
    store: StorePath,
    model: Annotated[str, typer.Option("--model", help="World model: bundled name, run or checkpoint directory.")],
    out_dir: Run,
    minutes: Minutes = None,
    steps: Steps = None,
    resume: Resume = False,
    val: Annotated[Path | None, typer.Option("--val", help="Store with held-out episodes.")] = None,
    init: Annotated[str | None, typer.Option("--init", help="Model whose first frames to begin from.")] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Frames per step.")] = 32,
    numbers: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A number of FirstFrameTrainConfig, such as level_mean=-1.8."),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    json_target: Json = None,
) -> None:
    """Teach a world model to begin from text alone; Ctrl-C saves, --resume goes on."""
    from worldsim.model import load
    from worldsim.sim import pick_device
    from worldsim.train import FirstFrameTrainConfig, with_numbers
    from worldsim.train import train_first_frames as train_on

    if (minutes is None) == (steps is None):
        raise WorldsimError("train-first-frames needs either --minutes or --steps, for example --minutes 60")
    out = console(json_target)
    checkpoint = train_on(
        model,
        store,
        out_dir,
        minutes=minutes,
        steps=steps,
        resume=resume,
        val=val,
        init=init,
        seed=seed,
        threads=threads,
        device=pick_device(device),
        config=with_numbers(FirstFrameTrainConfig(batch=batch), numbers or ()),
        log=out.print,
    )
    write_json(json_target, {"checkpoint": str(checkpoint), "model_sha": load(checkpoint).sha})
