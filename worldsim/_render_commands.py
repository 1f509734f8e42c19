"""The command that trains a renderer: ``worldsim train-renderer``."""

from __future__ import annotations

from typing import Annotated

import typer

from worldsim._console import console, write_json
from worldsim._options import Device, Json, Minutes, Resume, Run, Seed, Steps, Threads
from worldsim.errors import WorldsimError

__all__ = ["add_to"]

_EXAMPLE = "worldsim train-renderer worldsim/City-v0 -o runs/render --minutes 45 --vary sun_height,cloud,rain"


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command("train-renderer", epilog=f"Example: {_EXAMPLE}")(train_renderer)


def train_renderer(
    env: Annotated[str, typer.Argument(metavar="ENV", help="A truth that offers plain pictures.")],
    out_dir: Run,
    minutes: Minutes = None,
    steps: Steps = None,
    resume: Resume = False,
    episodes: Annotated[int, typer.Option("-n", "--episodes", min=1, help="Episodes to collect pairs from.")] = 1200,
    moments: Annotated[int, typer.Option("--moments", min=2, help="Pairs per episode.")] = 40,
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", metavar="NAMES", help="Factors that a fifth of the episodes draws evenly; repeatable."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pairs per step.")] = 16,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    json_target: Json = None,
) -> None:
    """Train a renderer, which draws frames from plain pictures of a truth; Ctrl-C saves, --resume goes on."""
    from worldsim.model import load_renderer
    from worldsim.sim import pick_device
    from worldsim.train import RenderTrainConfig
    from worldsim.train import train_renderer as train_on

    if (minutes is None) == (steps is None):
        raise WorldsimError("train-renderer needs either --minutes or --steps, for example --minutes 45")
    out = console(json_target)
    groups = tuple(tuple(name.strip() for name in group.split(",")) for group in vary or [])
    checkpoint = train_on(
        env,
        out_dir,
        minutes=minutes,
        steps=steps,
        resume=resume,
        seed=seed,
        threads=threads,
        device=pick_device(device),
        config=RenderTrainConfig(episodes=episodes, moments=moments, vary=groups, batch=batch),
        log=out.print,
    )
    write_json(json_target, {"checkpoint": str(checkpoint), **load_renderer(checkpoint).metrics})
