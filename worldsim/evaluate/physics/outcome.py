"""The whole benchmark as one call: a run, its figures as one JSON value, a CSV of every clip, a report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.evaluate.physics.candidates import Candidate, candidate
from worldsim.evaluate.physics.cases import TEST_SEEDS
from worldsim.evaluate.physics.exchange import load_foreign
from worldsim.evaluate.physics.plan import SUITES, Plan
from worldsim.evaluate.physics.report import report_html
from worldsim.evaluate.physics.suite import Run, run_foreign, run_suite
from worldsim.evaluate.physics.summary import clip_csv, summarise
from worldsim.model import WorldModel
from worldsim.train.git import commit_name

__all__ = ["FACTS", "SCHEMA", "bench", "run_figures"]

FACTS = ("checkpoint_sha", "parameters", "sampler_steps", "training_minutes", "data", "trained_at_commit")
"""What a world model knows of itself."""
SCHEMA = Path(__file__).with_name("result.schema.json")
"""What the JSON of a run holds, as JSON Schema."""


def bench(
    model: str | WorldModel | Candidate,
    plan: Plan,
    *,
    folder: Path | None = None,
    truth: Path | None = None,
    clips: Path | None = None,
    sampler_steps: int | None = None,
    rescore: bool = False,
    workers: int = 1,
    minutes: float | None = None,
    device: str = "cpu",
    report: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Run the physics benchmark, or what is left of it, and return its figures.

    Args:
        model: Anything that `candidates.candidate` takes.
        plan: From `plan.quick` or `plan.full`.
        folder: Where the run is kept and gone on with; named after suite or ``clips``, model and size if None.
        truth: Folder of what needs no model, which runs of several models may share; in ``folder`` if None.
        clips: Folder of clips from elsewhere, to score instead of the suite's.
        sampler_steps: Denoiser calls per frame of a world model.
        rescore: Compute every figure again from the frames that were kept.
        workers: Processes that score clips.
        minutes: Score no further clip after this time; see `run_suite`.
        device: Where a world model runs.
        report: HTML file to write.
        progress: Called with (stage, done, total).

    Returns:
        The JSON of the run; ``result.json`` and ``clips.csv`` are in its folder too.

    Raises:
        EnvError, CheckpointError: If the model, the plan or the folder cannot be used.
    """
    tested = candidate(model, sampler_steps=sampler_steps, device=device)
    if folder is None:
        name = tested.name.replace("/", "-").replace(":", "-")
        suite = plan.suite if clips is None else f"foreign-{clips.resolve().name}"
        folder = Path(f"physics-{suite}-{name}-{plan.size}")
    if rescore:
        for part in (
            folder / "scores",
            folder / "parts",
            *((truth or folder / "truth") / n for n in ("rows", "parts")),
        ):
            shutil.rmtree(part, ignore_errors=True)
    if clips is None:
        run = run_suite(tested, plan, folder, truth=truth, workers=workers, minutes=minutes, progress=progress)
    else:
        run = run_foreign(tested, load_foreign(clips), folder, workers=workers, seeds=plan.seeds, progress=progress)
    figures = _plain(run_figures(run))
    (folder / "result.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (folder / "clips.csv").write_text(clip_csv(run.scores(), figures["run"]), encoding="utf-8")
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(report_html(figures, run), encoding="utf-8")
    return figures


def _plain(value: Any) -> Any:
    """Return JSON values of six digits, in which what is not finite is None."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value


def run_figures(run: Run) -> dict[str, Any]:
    """Return the figures of a run as JSON values; ``SCHEMA`` says which, and ``run`` with what."""
    planted = {key: found for key, found in run.part("corruptions").items() if key in run.keys}
    tables = summarise(run.scores(), planted)
    facts = run_facts(run)
    for row in tables["rows"].values():
        row["run"] = facts
    return {
        "suite": run.plan.suite,
        "model": run.candidate.name,
        **tables,
        "control": run.part("control"),
        "text": run.part("text"),
        "uncertainty": run.part("uncertainty"),
        "notes": _notes(run),
        "folder": str(run.folder),
        "run": facts,
        "minutes": run.minutes,
    }


def run_facts(run: Run) -> dict[str, Any]:
    """Return what is printed on every row: model, sampler, training, data, sizes, speed, code; None if not known."""
    plan = run.plan
    return {
        "model": run.candidate.name,
        **{name: run.candidate.facts.get(name) for name in FACTS},
        "ms_per_frame": run.ms_per_frame,
        "suite": plan.suite,
        "size": plan.size,
        "env": plan.env_id,
        "clips": len(run.keys),
        "horizon": plan.horizon,
        "context": plan.context,
        "noise_seeds": plan.seeds if run.candidate.draws_noise else 1,
        "commit": commit_name(),
    }


def _notes(run: Run) -> list[str]:
    found = run.candidate.doubts(run.plan.env_id, TEST_SEEDS) if run.plan.suite in SUITES else []
    if len(run.keys) < run.num_planned:
        found.append(f"{len(run.keys)} of {run.num_planned} clips are scored; run the command again for the others.")
    if not run.candidate.draws_noise:
        found.append("One sample per clip: this model draws no noise, or no further samples were given.")
    missing = [name for name in ("control", "text", "uncertainty") if "model" not in json.dumps(run.part(name))]
    for name in missing:
        if run.part(name):
            found.append(f"{name}: the model gave no frames for it; only reference rows are shown.")
    return found
