"""The commands that measure: ``worldsim bench speed``."""

from __future__ import annotations

from typing import Annotated

import typer

from worldsim._console import console, show_progress, show_table, write_json
from worldsim._options import Device, Json, Threads
from worldsim.errors import EnvError

__all__ = ["add_to"]

_TEST_SEED = 200_000


def add_to(app: typer.Typer) -> None:
    """Add the commands to an app."""
    bench = typer.Typer(name="bench", help="Measure, and say what with.", no_args_is_help=True)
    bench.callback()(lambda: None)  # keeps the name of a single command
    bench.command(epilog="Example: worldsim bench speed --model city-64 --quick --json speed.json")(speed)
    app.add_typer(bench)


def speed(
    model: Annotated[str, typer.Option("--model", metavar="M", help="Bundled name, checkpoint or run.")] = "city-64",
    env: Annotated[
        str | None, typer.Option("--env", metavar="ENV", help="The truth; the model's own by default.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="About a minute.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Some minutes, for figures to publish; the default.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of actions, streams and the truth's episodes.")] = _TEST_SEED,
    device: Device = "auto",
    threads: Threads = None,
    json_target: Json = None,
) -> None:
    """Time imagination, one stream and batches, beside the truth in the same run."""
    import torch

    from worldsim.evaluate.bench import bench_speed
    from worldsim.evaluate.bench import full as full_budget
    from worldsim.evaluate.bench import quick as quick_budget
    from worldsim.model import load
    from worldsim.sim import pick_device

    if quick and full:
        raise EnvError("bench speed takes --quick or --full, not both")
    if threads is not None:
        torch.set_num_threads(threads)
    with show_progress() as progress:
        result = bench_speed(
            load(model).to(pick_device(device)),
            budget=quick_budget() if quick else full_budget(),
            env_id=env,
            seed=seed,
            progress=progress,
        )
    out = console(json_target)
    columns = ["what", "n", "sampler_steps", "frames_per_second", "ratio"]
    title = f"{result['model']} beside {result['env']}, {result['frame']}, {result['threads']} thread(s)"
    names = ["what", "streams", "sampler steps", "frames per second", "over the truth"]
    show_table(out, names, [[row[column] for column in columns] for row in result["rows"]], title=title)
    scaling = ", ".join(f"{ratio:.1f} at {steps}" for steps, ratio in result["scaling"].items())
    out.print(f"most streams over one, by sampler steps: {scaling}")
    write_json(json_target, result)
