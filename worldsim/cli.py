"""The command line: one thin command per thing that worldsim does.

Exit codes: 0 done, 1 it ran and found a fault, 2 the user's error (one or two lines on standard error), 130 Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from worldsim._bench_commands import add_to as add_bench_commands
from worldsim._console import STDOUT, console, show_progress, show_table, write_json
from worldsim._first_frame_commands import add_to as add_first_frame_commands
from worldsim._options import Device, Json, Minutes, NoSeed, Resume, Run, Seed, Steps, StorePath, Threads
from worldsim._render_commands import add_to as add_render_commands
from worldsim._store_commands import add_to as add_store_commands
from worldsim.errors import EnvError, WorldsimError

__all__ = ["app", "main", "run"]

TEST_SEED = 200_000
"""First env seed of the range kept for tests."""
INTERRUPTED = 130
"""Exit code after Ctrl-C; some versions of typer return it, others raise."""
_STEPS_SHOWN = (1, 4, 8, 16, 32, 64)

app = typer.Typer(name="worldsim", add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    """A video diffusion model as a world that you can act in, held against pybullet ground truth."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command(epilog="Example: worldsim doctor")
def doctor(seed: Seed = 0, device: Device = "auto", threads: Threads = None, json_target: Json = None) -> int:
    """Check what is installed, what works and how fast this machine is; one fix per problem."""
    from worldsim._doctor import examine

    _use_threads(threads)
    out, findings = console(json_target), []
    for finding in examine(device=device, seed=seed):
        findings.append(finding)
        out.print(f"{'ok ' if finding.is_ok else 'BAD'} {finding.name}: {finding.value}")
        if not finding.is_ok:
            out.print(f"    fix: {finding.fix}")
    problems = [finding for finding in findings if not finding.is_ok]
    out.print(f"{len(problems)} problem(s)" if problems else "All is well; next: worldsim demo")
    write_json(json_target, {"problems": len(problems), "findings": [vars(finding) for finding in findings]})
    return 1 if problems else 0


@app.command(epilog="Example: worldsim demo -o worldsim-demo")
def demo(
    out_dir: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Made if missing.")] = Path(
        "worldsim-demo"
    ),
    model: Annotated[str, typer.Option("--model", metavar="M", help="Bundled name, checkpoint or run.")] = "city-64",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Episode i uses env seed SEED + i.")] = TEST_SEED,
    threads: Threads = None,
    json_target: Json = None,
) -> None:
    """Drive the bundled imagined city beside the true one: 8 episodes, figures, a report to look at."""
    from worldsim.evaluate import demo as run_demo
    from worldsim.evaluate.sentences import limits

    _use_threads(threads)
    out = console(json_target)
    with show_progress() as progress:
        report = run_demo(out_dir, model=model, seed=seed, progress=progress)
    _show_report(out, report.json)
    for name, file in (("report", "report.html"), ("contact sheet", "contact-sheet.png"), ("rollouts", "rollouts")):
        out.print(f"{name}: {out_dir / file}")
    out.print(f"What it cannot do: {limits(report.json)[0]}")
    write_json(json_target, report.json)


@app.command(epilog="Example: worldsim envs")
def envs(seed: NoSeed = 0, json_target: Json = None) -> None:
    """List the worlds: each truth with its cameras and what varies; its dream and its hybrid, with the same spaces."""
    import gymnasium as gym

    from worldsim._register import DREAMS, HYBRIDS, TRUTHS
    from worldsim.model import bundled_renderers, load

    rows = []
    for env_id in TRUTHS:
        env = gym.make(env_id, disable_env_checker=True)
        card = getattr(env.unwrapped, "scene_card")  # noqa: B009 - the truth protocol's, not Gymnasium's
        row = {"id": env_id, "kind": "truth", "of": None, **_spaces(env.observation_space, env.action_space)}
        own = {name: part["factors"] for name, part in card.get("scenarios", card.get("tasks", {})).items()}
        rows.append({**row, "cameras": list(card["cameras"]), "variation": card["factors"], "of_scenarios": own})
        env.close()
    for env_id, (model, truth) in DREAMS.items():
        try:
            spaces = _spaces(*load(model).spaces())
        except WorldsimError:
            spaces = {"observation": f"needs the model {model}, which is not there", "action": None}
        rows.append({"id": env_id, "kind": "dream", "of": truth, **spaces})
    rows.append(
        {"id": "worldsim/Dream-v0", "kind": "dream", "of": "any checkpoint", "observation": None, "action": None}
    )
    for env_id, (renderer, truth) in HYBRIDS.items():
        spaces = {name: rows[list(TRUTHS).index(truth)][name] for name in ("observation", "action")}
        if renderer not in bundled_renderers():
            spaces = {"observation": f"needs the renderer {renderer}, which is not there", "action": None}
        rows.append({"id": env_id, "kind": "hybrid", "of": truth, **spaces})
    out, columns = console(json_target), ["id", "kind", "of", "observation", "action"]
    show_table(out, columns, [[row[column] for column in columns] for row in rows])
    for row in rows[: len(TRUTHS)]:
        factors = dict.fromkeys([*row["variation"], *(name for own in row["of_scenarios"].values() for name in own)])
        out.print(f"{row['id']} is seen from {', '.join(row['cameras'])}; it varies in {', '.join(factors)}")
    write_json(json_target, rows)


@app.command(epilog="Example: worldsim models")
def models(seed: NoSeed = 0, json_target: Json = None) -> None:
    """List the bundled models: world models with their skill, and renderers, which only draw."""
    from worldsim.model import CHECKPOINTS, WorldModel, bundled, bundled_renderers, load, load_renderer

    rows = []
    kinds = [*((name, "world model") for name in bundled()), *((name, "renderer") for name in bundled_renderers())]
    for name, kind in kinds:
        model = load(name) if kind == "world model" else load_renderer(name)
        skill = _skill_of(model.metrics) if kind == "world model" else []
        rows.append(
            {
                "name": name,
                "kind": kind,
                "env": model.spec.env_id,
                "frame": f"{model.spec.height}x{model.spec.width}",
                "parameters": model.num_parameters,
                "megabytes": sum(path.stat().st_size for path in (CHECKPOINTS / name).rglob("*.*")) / 1e6,
                "from_text": model.is_trained_for_first_frames if isinstance(model, WorldModel) else None,
                "trained_minutes": model.meta.get("training", {}).get("minutes_done"),
                **{f"skill_{step}": skill[step - 1] if len(skill) >= step else None for step in (1, 8, 16)},
                "psnr_drawn": model.metrics.get("test", {}).get("rows", {}).get("model", {}).get("psnr"),
                "sha": model.sha,
            }
        )
    out = console(json_target)
    if rows:
        show_table(out, list(rows[0]), [list(row.values()) for row in rows])
    else:
        out.print("No model is bundled; make one with: worldsim collect, then worldsim train")
    write_json(json_target, rows)


@app.command(epilog="Example: worldsim collect worldsim/City-v0 -n 100 -o rollouts --workers 2")
def collect(
    env: Annotated[str, typer.Argument(metavar="ENV", help="Any Gymnasium id; module:Id-v0 imports the module first.")],
    store: Annotated[Path, typer.Option("-o", "--store", metavar="STORE", help="Directory; made if missing.")],
    episodes: Annotated[int, typer.Option("-n", "--episodes", min=1, help="Episodes; those held already count.")] = 16,
    policy: Annotated[str, typer.Option("--policy", help="One of the env's policies.")] = "mixture",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Env seed of the first episode.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes, or Ray actors.")] = 1,
    engine: Annotated[
        str, typer.Option("--engine", metavar="local|ray", help="Ray: the cluster at hand, else one of its own.")
    ] = "local",
    codec: Annotated[
        str | None, typer.Option("--codec", metavar="zstd|lz4|none", help="Of a new store: small, faster, fastest.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option("--max-steps", min=1, help="Truncate episodes here.")] = None,
    prompt_every: Annotated[
        int | None, typer.Option("--prompt-every", min=1, help="Prompt the env about every so many steps.")
    ] = None,
    env_kwargs: Annotated[
        str, typer.Option("--env-kwargs", metavar="JSON", help="Arguments of the env, as a JSON object.")
    ] = "{}",
    variation: Annotated[
        str | None, typer.Option("--variation", metavar="JSON", help="Factors that every episode asks for.")
    ] = None,
    json_target: Json = None,
) -> None:
    """Collect episodes of an env into a store; run it again to go on where it stopped."""
    from worldsim.collect import collect as collect_into
    from worldsim.collect import show_progress as show_collection

    with show_collection() as progress:
        held = collect_into(
            env,
            episodes,
            store,
            policy=policy,
            seed=seed,
            workers=workers,
            engine=engine,
            codec=codec,
            max_steps=max_steps,
            prompt_every=prompt_every,
            env_kwargs=_json_object(env_kwargs),
            variation=None if variation is None else _json_object(variation, "--variation", '{"weather": "rain"}'),
            progress=progress,
        )
    console(json_target).print(
        f"{store}: {len(held)} episodes, {held.num_frames:,} frames of {held.height}x{held.width}"
    )
    facts = {"episodes": len(held), "frames": held.num_frames, "height": held.height, "width": held.width}
    write_json(json_target, {"store": str(store), **facts})


@app.command(epilog="Example: worldsim verify rollouts")
def verify(store: StorePath, seed: NoSeed = 0, json_target: Json = None) -> int:
    """Read every byte of a store and check it against its checksums; exit 1 if something is damaged."""
    from worldsim.store import verify as verify_store

    faults = [str(fault) for fault in verify_store(store)]
    out = console(json_target)
    for fault in faults:
        out.print(f"fault: {fault}")
    out.print(f"{store}: {len(faults)} fault(s)" if faults else f"{store}: whole")
    write_json(json_target, {"store": str(store), "faults": faults})
    return 1 if faults else 0


add_store_commands(app)
add_render_commands(app)
add_first_frame_commands(app)


@app.command(epilog="Example: worldsim train --data rollouts --preset small -o runs/first --minutes 60")
def train(
    data: Annotated[Path, typer.Option("--data", metavar="STORE", help="Store to learn from.")],
    out_dir: Run,
    preset: Annotated[str, typer.Option("--preset", metavar="P", help="Size of the model.")] = "small",
    minutes: Minutes = None,
    steps: Steps = None,
    resume: Resume = False,
    val: Annotated[Path | None, typer.Option("--val", metavar="STORE", help="Store to validate on.")] = None,
    init: Annotated[str | None, typer.Option("--init", metavar="M", help="Checkpoint to start from.")] = None,
    mirror: Annotated[
        str, typer.Option("--mirror", metavar="NAMES", help="Actions that change sign in a mirror, such as steer.")
    ] = "",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Windows per step, of all processes together.")] = 4,
    accumulate: Annotated[
        int, typer.Option("--accumulate", min=1, help="Shares of a step's windows, one after the other: less memory.")
    ] = 1,
    shard: Annotated[bool, typer.Option("--shard", help="Under torchrun: divide the network (FSDP2).")] = False,
    text: Annotated[str, typer.Option("--text", metavar="words|sentence", help="What reads the captions.")] = "words",
    factors: Annotated[
        str, typer.Option("--factors", metavar="NAMES", help="Numbers of the variation to condition on: gravity,...")
    ] = "",
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write events to RUN/tensorboard.")] = False,
    numbers: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A number of TrainConfig, such as own_frames_from=0.2."),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    json_target: Json = None,
) -> None:
    """Train a world model on a store; Ctrl-C saves, --resume goes on; torchrun spreads it over GPUs and machines."""
    from worldsim.model import load
    from worldsim.sim import pick_device
    from worldsim.train import TrainConfig, with_numbers
    from worldsim.train import train as train_on

    if (minutes is None) == (steps is None):
        raise WorldsimError("train needs either --minutes or --steps, for example --minutes 60")
    config = TrainConfig(
        batch=batch,
        accumulate=accumulate,
        shard=shard,
        mirror=_names(mirror),
        text_encoder=text,
        factors=_names(factors),
        tensorboard=tensorboard,
    )
    out = console(json_target)
    checkpoint = train_on(
        data,
        out_dir,
        preset=preset,
        minutes=minutes,
        steps=steps,
        resume=resume,
        val=val,
        init=init,
        seed=seed,
        threads=threads,
        device=pick_device(device),
        config=with_numbers(config, numbers or ()),
        log=out.print,
    )
    if os.environ.get("RANK", "0") != "0":  # the first of several processes speaks for all
        return
    out.print(f"next: worldsim compare --model {out_dir} -o report.html")
    write_json(json_target, {"checkpoint": str(checkpoint), **load(checkpoint).metrics})


@app.command(epilog="Example: worldsim compare --model city-64 --env worldsim/City-v0 -n 8 --horizon 64 -o report.html")
def compare(
    model: Annotated[str, typer.Option("--model", metavar="M", help="Bundled name, checkpoint or run.")] = "city-64",
    env: Annotated[
        str | None, typer.Option("--env", metavar="ENV", help="The truth; the model's own by default.")
    ] = None,
    episodes: Annotated[int, typer.Option("-n", "--episodes", min=1, help="Clips.")] = 8,
    horizon: Annotated[int, typer.Option("--horizon", min=1, help="Steps per clip.")] = 64,
    report_path: Annotated[Path | None, typer.Option("-o", "--report", metavar="REPORT.html")] = None,
    sampler_steps: Annotated[
        int | None, typer.Option("--sampler-steps", min=1, help="Denoiser calls per frame.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Clip i uses env seed SEED + i.")] = TEST_SEED,
    env_kwargs: Annotated[
        str | None,
        typer.Option(
            "--env-kwargs", metavar="JSON", help="Constructor arguments of the truth; the model's if it is its own."
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    json_target: Json = None,
) -> None:
    """Drive a model beside its truth under the same actions, and say how far apart they are."""
    from worldsim.evaluate import compare as compare_with_truth
    from worldsim.model import load
    from worldsim.sim import pick_device

    _use_threads(threads)
    out = console(json_target)
    loaded = load(model).to(pick_device(device))
    with show_progress() as progress:
        report = compare_with_truth(
            loaded,
            env or loaded.spec.env_id,
            episodes=episodes,
            horizon=horizon,
            seed=seed,
            env_kwargs=None if env_kwargs is None else _json_object(env_kwargs),
            sampler_steps=sampler_steps,
            progress=progress,
        )
    _show_report(out, report.json)
    write_json(json_target, report.json)
    if report_path is not None:
        report.save(report_path)
        out.print(f"report: {report_path}")


add_bench_commands(app)


@app.command(epilog="Example: worldsim play --model city-64")
def play(
    env: Annotated[
        str | None, typer.Option("--env", metavar="ENV", help="The truth; the model's own by default.")
    ] = None,
    model: Annotated[str, typer.Option("--model", metavar="M", help="Bundled name, checkpoint or run.")] = "city-64",
    host: Annotated[
        str, typer.Option("--host", help="Beyond this machine, the address carries a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8777,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the page's address.")] = False,
    uncapped: Annotated[bool, typer.Option("--uncapped", help="As fast as it goes, not in real time.")] = False,
    sampler_steps: Annotated[
        int | None, typer.Option("--sampler-steps", min=1, help="Denoiser calls per frame.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Env seed of a page's first drive.")] = TEST_SEED,
    device: Device = "auto",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Torch threads.")] = 1,
    uncertainty: Annotated[
        str | None, typer.Option("--uncertainty", metavar="FILE", help="Calibration; the checkpoint's own by default.")
    ] = None,
    json_target: Json = None,
) -> None:
    """Drive the imagined world in a browser, beside the true one; Ctrl-C ends it."""
    from worldsim.serve import play as serve

    def announce(address: str) -> None:
        console(json_target).print(f"open {address} (Ctrl-C ends it)", soft_wrap=True)
        write_json(json_target, {"address": address})

    serve(
        model,
        env,
        host=host,
        port=port,
        opens_browser=not no_browser,
        seed=seed,
        real_time=not uncapped,
        sampler_steps=sampler_steps,
        device=device,
        threads=threads,
        uncertainty=uncertainty,
        on_ready=announce,
    )


@app.command(epilog='Example: worldsim preview "a rainy night" -o night.gif --seconds 6')
def preview(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="English or Chinese; empty for none.")],
    out_file: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FILE", help="Its ending says as what: .png, .gif, .mp4, .html or .glb."),
    ],
    env: Annotated[str, typer.Option("--env", metavar="ENV", help="The true world.")] = "worldsim/City-v0",
    model: Annotated[
        str | None, typer.Option("--model", metavar="M", help="The imagined world of this model instead.")
    ] = None,
    image: Annotated[Path | None, typer.Option("--image", help="A still that the imagined world continues.")] = None,
    from_text: Annotated[
        bool, typer.Option("--from-text", help="The model imagines its first frame too, from the prompt alone.")
    ] = False,
    camera: Annotated[
        str | None, typer.Option("--camera", metavar="NAMES", help="Cameras of the true world, such as front,chase.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Up to 60.")] = 4.0,
    seed: Seed = 0,
    json_target: Json = None,
) -> None:
    """See a scene, true or imagined: as a picture, an animation, a page with a player, or a 3-D file."""
    from worldsim.serve.preview import preview as preview_scene

    cameras = [name.strip() for name in camera.split(",")] if camera else []
    path = preview_scene(
        prompt,
        out_file,
        env_id=env,
        model=model,
        image=image,
        from_text=from_text,
        cameras=cameras,
        seconds=seconds,
        seed=seed,
    )
    console(json_target).print(f"preview: {path}")
    write_json(json_target, {"file": str(path), "source": "truth" if model is None else "imagined"})


@app.command(epilog='Example: worldsim edit data/city "a foggy night" -o night.gif --model city-64')
def edit(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A picture, an animated GIF, or a rollout store.")],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What it is to show, in English or Chinese.")],
    out_file: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="Its ending says as what: .png, .gif, .mp4 or .html.")
    ],
    model: Annotated[str, typer.Option("--model", metavar="M", help="Bundled name, checkpoint or run.")] = "city-64",
    episode: Annotated[int, typer.Option("--episode", min=0, help="Which episode of a store.")] = 0,
    told: Annotated[
        str | None, typer.Option("--told", metavar="TEXT", help="What it shows now; a store's captions by default.")
    ] = None,
    strength: Annotated[float, typer.Option("--strength", help="0 to 1: how much may change.")] = 1.0,
    seed: Seed = 0,
    json_target: Json = None,
) -> None:
    """Change what a clip shows, and not where it is: the hour, the weather, the light."""
    from worldsim.serve.edit import edit as edit_clip

    with show_progress() as progress:
        path = edit_clip(
            source,
            prompt,
            out_file,
            model=model,
            episode=episode,
            told=told,
            strength=strength,
            seed=seed,
            progress=lambda done, total: progress("edited frames", done, total),
        )
    console(json_target).print(f"edited: {path}")
    write_json(json_target, {"file": str(path), "model": model})


@app.command(epilog="Example: worldsim version")
def version(seed: NoSeed = 0, json_target: Json = None) -> None:
    """Print the version of worldsim."""
    import worldsim

    console(json_target).print(f"worldsim {worldsim.__version__}")
    write_json(json_target, {"worldsim": worldsim.__version__})


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = int(app(_with_json_target(arguments), prog_name="worldsim", standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except WorldsimError as error:
        return _complain(str(error), 2)
    except OSError as error:
        return _complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 2)
    except Exception as error:
        if _is_gymnasium_error(error):
            return _complain(str(error), 2)
        if not hasattr(error, "format_message"):  # not a usage error of typer: a fault of ours, shown whole
            raise
        path = getattr(getattr(error, "ctx", None), "command_path", "worldsim")
        if not error.format_message():  # pyright: ignore[reportAttributeAccessIssue] - the help was shown instead
            return 2
        return _complain(f"{error.format_message()}\nsee: {path} --help", 2)  # pyright: ignore[reportAttributeAccessIssue]
    return _complain("stopped by Ctrl-C", code) if code == INTERRUPTED else code


def main() -> None:
    """Run the command line of this process; env modules in the working directory can be imported."""
    sys.path.append(os.getcwd())
    sys.exit(run(sys.argv[1:]))


def _with_json_target(arguments: Sequence[str]) -> list[str]:
    """Give a bare ``--json``, at the end or before another option, its meaning: standard output."""
    following = [*arguments[1:], "--"][: len(arguments)]
    return [
        f"--json={STDOUT}" if argument == "--json" and after.startswith("-") and after != STDOUT else argument
        for argument, after in zip(arguments, following, strict=True)
    ]


def _complain(text: str, code: int) -> int:
    print(f"worldsim: {text}", file=sys.stderr)
    return code


def _show_warning(message: Any, *_: Any) -> None:
    print(f"worldsim: warning: {message}", file=sys.stderr)


def _is_gymnasium_error(error: Exception) -> bool:
    from gymnasium.error import Error

    return isinstance(error, Error)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _json_object(text: str, option: str = "--env-kwargs", example: str = '{"height": 64}') -> dict[str, Any]:
    wanted = f"{option} must be a JSON object such as '{example}'; got {text!r}"
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise EnvError(f"{wanted} ({error})") from None
    if not isinstance(value, dict):
        raise EnvError(wanted)
    return value


def _spaces(observation: Any, action: Any) -> dict[str, str]:
    return {"observation": str(observation), "action": str(action)}


def _skill_of(metrics: Mapping[str, Any]) -> Sequence[float]:
    """Return skill per step: by `compare` if the checkpoint holds that, else by the training's last validation."""
    if "compare" in metrics:
        return metrics["compare"]["skill"]
    return metrics["validation"][-1]["skill"] if metrics.get("validation") else []


def _show_report(out: Console, figures: Mapping[str, Any]) -> None:
    """Print a comparison: its steps as a table, and how fast the model imagines."""
    columns = {
        "skill": "skill",
        "psnr": "psnr dB",
        "psnr_copy_last": "copy-last dB",
        "sharpness": "sharpness",
        "n": "n",
    }
    steps = [step for step in _STEPS_SHOWN if step <= figures["horizon"]]
    rows = [[step, *(figures[key][step - 1] for key in columns)] for step in steps]
    title = f"{figures['model']} beside {figures['env']}, {figures['episodes']} episodes"
    show_table(out, ["step", *columns.values()], rows, title=title)
    one, many = figures["imagined_frames_per_second"], figures["imagined_frames_per_second_batch64"]
    speed = [f"{one:.0f} in one stream"] * (one is not None) + [f"{many:.0f} in 64"] * (many is not None)
    if speed:
        out.print(f"imagined frames per second: {', '.join(speed)}")
