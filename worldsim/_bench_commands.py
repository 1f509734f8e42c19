"""The commands that measure: ``worldsim bench physics|speed|storage``."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from worldsim._console import console, show_progress, show_table, write_json
from worldsim._options import Device, Json, NoSeed, Seed, Threads
from worldsim.errors import EnvError

__all__ = ["add_to"]

_TEST_SEED = 200_000


def add_to(app: typer.Typer) -> None:
    """Add the commands to an app."""
    bench = typer.Typer(name="bench", help="Measure, and say what with.", no_args_is_help=True)
    bench.callback()(lambda: None)  # keeps the name of a single command
    bench.command(epilog="Example: worldsim bench speed --model city-64 --quick --json speed.json")(speed)
    bench.command(epilog="Example: worldsim bench physics --model lab-64 --suite lab --quick -o physics.html")(physics)
    bench.command(epilog="Example: worldsim bench storage --quick --json storage.json")(storage)
    app.add_typer(bench)


def speed(
    model: Annotated[str, typer.Option("--model", metavar="M", help="Bundled name, checkpoint or run.")] = "city-64",
    env: Annotated[
        str | None, typer.Option("--env", metavar="ENV", help="The truth; the model's own by default.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="About a minute.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Some minutes, for figures to publish; the default.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of actions, streams, the truth's episodes.")] = _TEST_SEED,
    device: Device = "auto",
    threads: Threads = None,
    json_target: Json = None,
) -> None:
    """Time imagination, one stream and batches, beside the truth; and every true world beside its camera."""
    import torch

    from worldsim._register import TRUTHS
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
            worlds=list(TRUTHS),
            seed=seed,
            progress=progress,
        )
    out = console(json_target)
    columns = ["what", "n", "sampler_steps", "frames_per_second", "ratio", "vs"]
    title = f"{result['model']} beside {result['env']}, {result['frame']}, {result['threads']} thread(s)"
    names = ["what", "streams", "sampler steps", "frames per second", "ratio", "over"]
    show_table(out, names, [[row[column] for column in columns] for row in result["rows"]], title=title)
    scaling = ", ".join(f"{ratio:.1f} at {steps}" for steps, ratio in result["scaling"].items())
    out.print(f"most streams over one, by sampler steps: {scaling}")
    write_json(json_target, result)


def storage(
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="STORE", help="Measure on these; else on rollouts collected for it."),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="ENV", help="What to collect, 64 and 128 pixels; else City and Lab."),
    ] = None,
    length: Annotated[int, typer.Option("--length", min=1, help="Steps per window.")] = 16,
    quick: Annotated[bool, typer.Option("--quick", help="A minute or two, on little data.")] = False,
    full: Annotated[bool, typer.Option("--full", help="For figures to publish; the default.")] = False,
    seed: Seed = 0,
    json_target: Json = None,
) -> None:
    """Time random windows of frames from the rollout store and from others, on the same episodes in the same run."""
    from worldsim.collect import collect
    from worldsim.evaluate.bench.storage import StorageBudget, bench_storage
    from worldsim.store import RolloutStore

    if quick and full:
        raise EnvError("bench storage takes --quick or --full, not both")
    names = [path.resolve().name for path in data or ()]
    if len(set(names)) < len(names):
        raise EnvError(
            f"bench storage tells stores apart by the last part of their path; got {', '.join(names)}: rename one, or "
            "measure one at a time"
        )
    episodes, max_steps = (4, 60) if quick else (16, 200)
    budget = StorageBudget(length=length, num_turns=4, turn_s=0.1) if quick else StorageBudget(length=length)
    with tempfile.TemporaryDirectory() as folder, show_progress() as progress:
        stores = {name: RolloutStore.open(path) for name, path in zip(names, data or (), strict=True)}
        envs = env or ["worldsim/City-v0", "worldsim/Lab-v0"]
        for env_id, size in () if data else product(envs, (64, 128)):
            name = f"{env_id.split('/')[-1]}-{size}"
            progress(f"collecting {name}", len(stores), 2 * len(envs))
            kwargs = {"height": size, "width": size}
            path = Path(folder) / name
            stores[name] = collect(env_id, episodes, path, max_steps=max_steps, seed=seed, env_kwargs=kwargs)
        result = bench_storage(stores, Path(folder) / "copies", budget=budget, seed=seed, progress=progress)
    out = console(json_target)
    names = ["system", "data", "codec", "cpu_us_per_window", "rel_memmap", "over_floor", "bytes_per_frame"]
    show_table(out, names, [[row[name] for name in names] for row in result["rows"]], title=f"{length}-step windows")
    names = ["data", "codec", "cpu_over_floor", "over_zarr_python", "over_hdf5_gzip", "over_mp4", "over_minari"]
    show_table(
        out, names, [[row[name] for name in names] for row in result["ratios"]], title="times faster than others"
    )
    for speed in result["writing"]:
        out.print(f"writing {speed['data']} {speed['codec']}: {speed['mb_per_cpu_s']:.0f} MB/s of frames per core")
    for item in result["skipped"]:
        out.print(f"skipped {item['system']} on {item['data']}: {item['reason']}")
    write_json(json_target, result)


def physics(
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="M", help="Bundled name, checkpoint, run, module:function, env id, or folder of results."
        ),
    ] = None,
    suite: Annotated[str, typer.Option("--suite", metavar="lab|city|tabletop", help="Which true world.")] = "lab",
    quick: Annotated[bool, typer.Option("--quick", help="Some minutes, few clips; the default.")] = False,
    full: Annotated[bool, typer.Option("--full", help="For figures to publish.")] = False,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="Kept here, and gone on with; else physics-SUITE-MODEL-SIZE."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth", metavar="DIR", help="What needs no model, shared by runs; made whole now if there is no --model."
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option("-o", "--report", metavar="FILE", help="HTML, with clips.")] = None,
    scenarios: Annotated[str | None, typer.Option("--scenarios", metavar="A,B", help="Only these.")] = None,
    noise_seeds: Annotated[int | None, typer.Option("--noise-seeds", min=1, help="Samples per clip.")] = None,
    context: Annotated[int | None, typer.Option("--context", min=1, help="Frames that a model is shown.")] = None,
    sampler_steps: Annotated[int | None, typer.Option("--sampler-steps", min=1, help="Denoiser calls.")] = None,
    rescore: Annotated[bool, typer.Option("--rescore", help="Compute every figure again from kept frames.")] = False,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="DIR", help="Write the scenes for others to continue, and end.")
    ] = None,
    clips: Annotated[
        Path | None, typer.Option("--clips", metavar="DIR", help="Score on clips from elsewhere (npz) instead.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that score clips.")] = 2,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Score no further clip after; go on later.")
    ] = None,
    seed: NoSeed = 0,
    device: Device = "auto",
    threads: Threads = None,
    json_target: Json = None,
) -> None:
    """Measure how far a model is from the laws of physics, in metres and seconds, beside baselines and the truth."""
    import torch

    from worldsim.evaluate.physics import bench, export_scenes, full_plan, prepare_truth, quick_plan

    if quick and full:
        raise EnvError("bench physics takes --quick or --full, not both")
    if threads is not None:
        torch.set_num_threads(threads)
    plan = (full_plan if full else quick_plan)(suite)
    changes = {
        "seeds": noise_seeds,
        "context": context,
        "scenarios": tuple(scenarios.split(",")) if scenarios else None,
    }
    plan = replace(plan, **{name: value for name, value in changes.items() if value is not None})
    of_suites = {"--minutes": minutes, "--truth": truth, "--scenarios": scenarios}
    if clips is not None and (given := [name for name, value in of_suites.items() if value is not None]):
        raise EnvError(f"clips from elsewhere have no truth to ask and are scored all at once: leave {given[0]} out")
    out = console(json_target)
    with show_progress() as progress:
        if export is not None:
            folder = run or Path(f"physics-{suite}-results-{plan.size}")
            count = export_scenes(plan, folder, export, progress=progress)
            how = f"--model RESULTS --run {folder}, the rest as here"
            out.print(f"{count} scenes: {export}; score the results with {how}")
            write_json(json_target, {"scenes": count, "folder": str(export), "run": str(folder)})
            return
        if model is None and truth is not None:
            count = prepare_truth(plan, truth, workers=workers, progress=progress)
            how = f"--model M --truth {truth}, the rest as here"
            out.print(f"{count} clips: {truth}; score models on them with {how}")
            write_json(json_target, {"clips": count, "truth": str(truth)})
            return
        if model is None:
            raise EnvError(
                "bench physics needs --model (or --export DIR, or --truth DIR); worldsim models lists the bundled ones"
            )
        figures = bench(
            model,
            plan,
            folder=run,
            truth=truth,
            clips=clips,
            sampler_steps=sampler_steps,
            rescore=rescore,
            workers=workers,
            minutes=minutes,
            device=device,
            report=report,
            progress=progress,
        )
    from worldsim.evaluate.physics.report import ROW_NAMES, verdict

    out.print(verdict(figures))
    lines = []
    for name, label in ROW_NAMES.items():
        if row := figures["rows"].get(name):
            values = [row["metrics"].get(metric, {}).get("value") for metric in ("ade", "mse_moving", "iq_verified")]
            outside = row["headline_out_of_range"] or {"value": None}
            lines.append([label, row["headline"]["value"], outside["value"], *values])
    names = ["row", "score in range", "out of range", "ADE m", "MSE moving", "Physics-IQ terms, own scenes"]
    show_table(out, names, lines, title=f"{figures['suite']}, {figures['run']['clips']} clips")
    for note in figures["notes"]:
        out.print(note)
    out.print(f"run: {figures['folder']}" + (f", report: {report}" if report else ""))
    write_json(json_target, figures)
