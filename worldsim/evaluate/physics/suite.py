"""`worldsim bench physics`: let a model continue the truth, score every row, and keep everything.

A run is a folder. ``truth/`` holds what needs no model (see `reference`; another folder may be named, which runs of
several models share), ``rollouts/`` (a rollout store) what was imagined, ``scores/`` the model's figures of each clip,
``parts/`` those of control, text and uncertainty. Whatever is there is not made again: a run that was stopped goes on,
and without ``scores/`` and ``parts/`` every figure is computed again from the kept frames.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.errors import EnvError
from worldsim.evaluate.physics import text_facts
from worldsim.evaluate.physics.candidates import Candidate, Request
from worldsim.evaluate.physics.cases import TEST_SEED, Case, read_cases, record_training
from worldsim.evaluate.physics.clip import Clip, noise_seed
from worldsim.evaluate.physics.control import probe_requests, score_probe
from worldsim.evaluate.physics.ensembles import held, score_ensemble
from worldsim.evaluate.physics.exchange import export_requests, refuse_existing, save_clip
from worldsim.evaluate.physics.extract import extract
from worldsim.evaluate.physics.imagined import Imagined
from worldsim.evaluate.physics.plan import Plan
from worldsim.evaluate.physics.reference import Ensemble, Progress, Task, Truth, each, merged, score_task, write_json
from worldsim.metrics import derangement
from worldsim.rollout import control_dt_of

__all__ = ["Run", "export_scenes", "prepare_truth", "run_foreign", "run_suite"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as far as it is: what the summary and the report are made from."""

    folder: Path
    truth: Path
    """Folder of what needs no model."""
    plan: Plan
    candidate: Candidate
    keys: tuple[str, ...]
    """Of the cases that were scored."""
    num_planned: int
    """Cases of the plan."""
    minutes: float
    """Of all calls that it took."""
    ms_per_frame: float | None
    """Time of the model per imagined frame, batches and all; None if it imagined nothing."""

    def scores(self) -> dict[str, dict[str, Any]]:
        """Return {case: {row: {"metrics", "failed", "curves"}}}."""
        return {key: merged(_read(self.truth / "rows", key), _read(self.folder / "scores", key)) for key in self.keys}

    def part(self, name: str) -> dict[str, Any]:
        """Return the figures of ``control``, ``text``, ``uncertainty`` or ``corruptions``; empty if not in the plan."""
        return merged(_read(self.truth / "parts", name), _read(self.folder / "parts", name))

    def frames(self, key: str) -> np.ndarray:
        """Return the frames (T, H, W, 3) that were imagined for a request."""
        return Imagined(self.folder / "rollouts").read(key)


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@dataclass
class _Work:
    """What the stages of a run share."""

    folder: Path
    truth: Path
    plan: Plan
    candidate: Candidate
    dt: float
    store: Imagined
    tell: Progress
    workers: int
    model_s: float = 0.0
    num_frames: int = 0

    def answers(self, requests: Sequence[Request]) -> dict[str, np.ndarray]:
        """Return frames by key; those that are not kept yet are imagined and kept."""
        missing = [request for request in requests if request.key not in self.store]
        if missing:
            begun = time.perf_counter()
            frames = self.candidate.imagine(missing)
            self.model_s += time.perf_counter() - begun
            self.num_frames += sum(len(seen) for seen in frames)
            self.store.add(missing, frames, model=self.candidate.name, env_id=self.plan.env_id, control_dt=self.dt)
        return {request.key: self.store.read(request.key) for request in requests}

    def has(self, requests: Sequence[Request]) -> bool:
        return all(request.key in self.store or self.candidate.has(request.key) for request in requests)

    def kept(self, name: str, make: Callable[[], dict[str, Any]]) -> None:
        """Make the model's figures of a part and write them, unless they are on disk."""
        path = self.folder / "parts" / f"{name}.json"
        if not path.exists():
            write_json(path, make())

    def score(self, tasks: Sequence[Task], until: float | None = None) -> None:
        for _ in each(score_task, tasks, self.workers, lambda *n: self.tell("scored clips", *n), until):
            pass


def run_suite(
    candidate: Candidate,
    plan: Plan,
    folder: Path,
    *,
    truth: Path | None = None,
    workers: int = 1,
    minutes: float | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run a suite, or what is left of it.

    Args:
        candidate: The model under test.
        plan: What is asked of it.
        folder: Of the run; another plan's or model's is refused.
        truth: Folder of what needs no model, which runs may share; ``folder / "truth"`` if None.
        workers: Processes that score clips; the model runs in this one.
        minutes: Begin no further clip after this time; the figures are then of the clips scored, and a later call goes
            on. Control, text and uncertainty come before clips are scored, and in full. None takes all clips.
        progress: Called with (stage, done, total).

    Raises:
        EnvError: If a folder holds another run, or the model sees more frames than the plan's clips show.
    """
    begun = time.monotonic()
    tell = progress or (lambda stage, done, total: None)
    _refuse_wide(candidate, plan)
    true = Truth(truth or folder / "truth", plan, workers=workers, tell=tell)
    work = _begin(candidate, plan, folder, true.folder, control_dt_of(true.env), workers, tell)
    try:
        _control(work, true)
        _uncertainty(work, true)
        _text(work, true)
        true.record()
        until = None if minutes is None else begun + 60 * minutes
        _score_cases(work, true, until)
        if until is None or time.monotonic() < until:
            true.corruptions()
    finally:
        true.env.close()
        _note_time(work, begun)
    return _finished(work, [key for key, *_ in true.cases])


def prepare_truth(plan: Plan, folder: Path, *, workers: int = 1, progress: Progress | None = None) -> int:
    """Record and score everything of a suite that needs no model; returns the number of clips.

    Args:
        plan: What is recorded.
        folder: What `run_suite` takes as ``truth``.
        workers: Processes that score clips.
        progress: Called with (stage, done, total).
    """
    tell = progress or (lambda stage, done, total: None)
    true = Truth(folder, plan, workers=workers, tell=tell)
    try:
        true.control()
        true.uncertainty()
        true.text()
        true.record()
        for scenario in true.scenarios:
            record_training(true.env, plan, scenario, true.clips)
        left = [key for key, *_ in true.cases if not (folder / "rows" / f"{key}.json").exists()]
        tasks = [Task(truth=folder, key=key, num_training=plan.training_clips) for key in left]
        for _ in each(score_task, tasks, workers, lambda *n: tell("scored clips", *n)):
            pass
        true.corruptions()
    finally:
        true.env.close()
    return len(true.cases)


def run_foreign(
    candidate: Candidate,
    clips: Sequence[Clip],
    folder: Path,
    *,
    workers: int = 1,
    seeds: int = 3,
    progress: Progress | None = None,
) -> Run:
    """Score clips from elsewhere, whose objects were tracked there, by the same code.

    There is no simulator to ask: no second take (the truth itself is 100), no control, no text.

    Args:
        candidate: The model under test.
        clips: From `exchange.load_foreign`.
        folder: Of the run.
        workers: Processes that score clips.
        seeds: Noise samples per clip.
        progress: Called with (stage, done, total).
    """
    begun = time.monotonic()
    first = clips[0]
    if others := {clip.horizon for clip in clips} - {first.horizon}:
        raise EnvError(
            f"clips are scored together that have as many frames behind their context; got {first.horizon} and "
            f"{', '.join(map(str, sorted(others)))}: give them folder by folder"
        )
    plan = Plan(
        suite="foreign",
        size=f"{len(clips)} clips",
        env_id="foreign",
        env_kwargs={"clips": [_fingerprint(clip) for clip in clips]},
        horizon=first.horizon,
        context=first.num_context,
        seeds=seeds,
        training_clips=0,
    )
    _refuse_wide(candidate, plan)
    tell = progress or (lambda stage, done, total: None)
    work = _begin(candidate, plan, folder, folder / "truth", first.dt, workers, tell)
    keys = [f"{clip.scenario}.train.{i}" for i, clip in enumerate(clips)]
    try:
        for i, (key, clip) in enumerate(zip(keys, clips, strict=True)):
            alike = [c for c in clips if c is not clip and c.frames.shape == clip.frames.shape]
            wrong = alike[i % len(alike)] if alike else clip
            for name, sibling in (("perturbed", clip), ("wrong", wrong)):
                save_clip(work.truth / "clips" / f"{key}.{name}.npz", sibling)
            save_clip(work.truth / "clips" / f"{key}.npz", clip)
        work.score([task for task in _imagine(work, keys) if not _is_scored(work, task.key)])
    finally:
        _note_time(work, begun)
    return _finished(work, keys)


def export_scenes(plan: Plan, folder: Path, out: Path, *, progress: Progress | None = None) -> int:
    """Record the truth of a run to come and write its scenes for another lab; returns their number.

    Control and the noise samples are among them; text and uncertainty are not.
    """
    refuse_existing(out)  # before minutes of recording
    true = Truth(folder / "truth", plan, tell=progress or (lambda stage, done, total: None))
    try:
        true.record()
        requests, clip = [], None
        for case in read_cases(true.clips, [key for key, *_ in true.cases]):
            clip = case.clip
            requests.append(_sample(case, 0))
        for group in true.sweeps().values():
            requests += [request for sweep, signs in group for request in probe_requests(sweep, signs)]
    finally:
        true.env.close()
    assert clip is not None
    export_requests(out, requests, clip, plan.suite)
    return len(requests)


def _refuse_wide(candidate: Candidate, plan: Plan) -> None:
    if candidate.num_context > plan.context:
        raise EnvError(
            f"{candidate.name} looks at {candidate.num_context} frames and the plan's clips show {plan.context}; "
            f"give --context {candidate.num_context}"
        )


def _begin(
    candidate: Candidate, plan: Plan, folder: Path, truth: Path, dt: float, workers: int, tell: Progress
) -> _Work:
    """Open or begin a run."""
    made = {"plan": json.loads(json.dumps(asdict(plan))), "model": _identity(candidate)}
    before = _read(folder, "plan")
    if before and before != made:
        raise EnvError(
            f"{folder} holds a run of another plan or model; choose another folder with --run, and --truth {truth} "
            "to use what it recorded"
        )
    write_json(folder / "plan.json", made)
    store = Imagined(folder / "rollouts")
    return _Work(folder, truth, plan, candidate, dt, store, tell, workers)


def _identity(candidate: Candidate) -> dict[str, Any]:
    """Return what a run belongs to: weights and sampler, under whatever name; the name of what has no weights here."""
    facts = candidate.facts
    if (sha := facts.get("checkpoint_sha")) is not None:
        return {"checkpoint_sha": sha, "sampler_steps": facts.get("sampler_steps")}
    return {"name": candidate.name}


def _fingerprint(clip: Clip) -> str:
    """Return what tells a clip from elsewhere from others: a hash of what is shown, known and done in it."""
    facts = (clip.scenario, clip.num_context, float(clip.dt), list(clip.palette.items()))
    digest = hashlib.sha256(repr(facts).encode())
    objects = np.array([(*body.half, body.mass) for body in clip.bodies.values()])
    for array in (clip.frames, clip.actions, clip.gravity, clip.K, clip.c2w, objects, *clip.state.values()):
        digest.update(repr((array.shape, array.dtype.str)).encode() + array.tobytes())
    return digest.hexdigest()[:16]


def _note_time(work: _Work, begun: float) -> None:
    """Add what this call took to what earlier calls of the run did."""
    spent = _read(work.folder, "time") or {"seconds": 0.0, "model_s": 0.0, "frames": 0}
    spent["seconds"] += time.monotonic() - begun
    spent["model_s"] += work.model_s
    spent["frames"] += work.num_frames
    write_json(work.folder / "time.json", spent)


def _is_scored(work: _Work, key: str) -> bool:
    return (work.folder / "scores" / f"{key}.json").exists() and (work.truth / "rows" / f"{key}.json").exists()


def _finished(work: _Work, keys: Sequence[str]) -> Run:
    scored = tuple(key for key in keys if _is_scored(work, key))
    if not scored:
        raise EnvError(f"no clip of {work.folder} was scored yet; give it more minutes and run the command again")
    spent = _read(work.folder, "time")
    return Run(
        folder=work.folder,
        truth=work.truth,
        plan=work.plan,
        candidate=work.candidate,
        keys=scored,
        num_planned=len(keys),
        minutes=spent["seconds"] / 60,
        ms_per_frame=1000 * spent["model_s"] / spent["frames"] if spent["frames"] else None,
    )


# ---- the clips


def _sample(case: Case, sample: int) -> Request:
    clip = case.clip
    return Request(
        key=f"{case.key}.sample{sample}",
        frames=clip.context,
        past=clip.context_actions,
        actions=clip.future_actions,
        prompt=clip.caption.get("en"),
        seed=noise_seed(clip, sample),
    )


def _score_cases(work: _Work, true: Truth, until: float | None) -> None:
    """Imagine every clip, scenario by scenario, then score each by itself, the first of every scenario first."""
    tasks = []
    left = {key for key, *_ in true.cases if not _is_scored(work, key)}
    for done, scenario in enumerate(true.scenarios, 1):
        keys = [key for key, name, _, _ in true.cases if name == scenario]
        if left & set(keys):
            record_training(true.env, work.plan, scenario, true.clips)
            tasks += [task for task in _imagine(work, keys) if task.key in left]
        work.tell("imagined scenarios", done, len(true.scenarios))
    tasks.sort(key=lambda task: int(task.key.rsplit(".", 1)[1]))
    work.score(tasks, until)


def _imagine(work: _Work, keys: list[str]) -> list[Task]:
    """Let the model continue some clips, and continue them under exchanged actions; frames go to the store."""
    group = list(read_cases(work.truth / "clips", keys))
    samples = range(work.plan.seeds if work.candidate.draws_noise else 1)
    work.answers([_sample(case, s) for case in group for s in samples])
    shuffled = _shuffled(group)
    if shuffled and work.has(shuffled):
        work.answers(shuffled)
    return [
        Task(
            truth=work.truth,
            run=work.folder,
            key=key,
            answers={
                **{f"model#{s}": f"{key}.sample{s}" for s in samples},
                **({"shuffled_actions": f"{key}.shuffled"} if f"{key}.shuffled" in work.store else {}),
            },
            num_training=work.plan.training_clips,
        )
        for key in keys
    ]


def _shuffled(group: Sequence[Case]) -> list[Request]:
    """Return the requests for every case under another case's actions; none for a single case."""
    if len(group) < 2:
        return []
    order = derangement(len(group), TEST_SEED)
    return [
        Request(
            key=f"{case.key}.shuffled",
            frames=case.clip.context,
            past=case.clip.context_actions,
            actions=group[order[i]].clip.future_actions,
            prompt=case.clip.caption.get("en"),
            seed=noise_seed(case.clip, 0),
        )
        for i, case in enumerate(group)
    ]


# ---- control, uncertainty, text


def _control(work: _Work, true: Truth) -> None:
    def make() -> dict[str, Any]:
        out, sweeps_by_probe = {}, true.sweeps()
        for done, (name, group) in enumerate(sweeps_by_probe.items(), 1):
            requests = [request for sweep, signs in group for request in probe_requests(sweep, signs)]
            if work.has(requests):
                out[name] = {"model": score_probe([sweep for sweep, _ in group], work.answers(requests))}
            work.tell("control", done, len(sweeps_by_probe))
        return out

    true.control()
    work.kept("control", make)


def _uncertainty(work: _Work, true: Truth) -> None:
    def make() -> dict[str, Any]:
        out: dict[str, Any] = {}
        for scenario, group in true.ensembles().items():
            figures = [_ensemble(work, f"ensemble.{scenario}.{i}", ensemble) for i, ensemble in enumerate(group)]
            if all(figures):
                out[scenario] = figures
        return out

    true.uncertainty()
    work.kept("uncertainty", make)


def _ensemble(work: _Work, key: str, ensemble: Ensemble) -> dict[str, Any]:
    """Return the model's figures of one ensemble; none where it gave no frames."""
    clip, plan = ensemble.clip, work.plan
    requests = [
        Request(
            key=f"{key}.{s}",
            frames=clip.context,
            past=clip.context_actions,
            actions=clip.future_actions,
            prompt=clip.caption.get("en"),
            seed=noise_seed(clip, s),
        )
        for s in range(plan.members if work.candidate.draws_noise else 1)
    ]
    if not work.has(requests):
        return {}
    begun = np.stack([clip.state[body.name][plan.context - 1, :3] for body in clip.objects])
    answers = work.answers(requests)
    seen = [held(extract(clip.with_future(answers[r.key]), clip).world[plan.context :], begun) for r in requests]
    figures = score_ensemble(np.stack([places for places, _ in seen]), ensemble.truths[plan.members :])
    return {"model": {**figures, "missing": float(np.mean([gaps for _, gaps in seen]))}}


def _text(work: _Work, true: Truth) -> None:
    def make() -> dict[str, Any]:
        out: dict[str, Any] = {}
        for scenario, pairs in true.pairs().items():
            requests = [request for pair in pairs for request in text_facts.gravity_requests(pair)]
            if work.has(requests):
                out[f"gravity.{scenario}"] = {"model": text_facts.score_gravity(pairs, work.answers(requests))}
        some, num = work.candidate, work.plan.fact_seeds

        def facts(begin: Callable[..., Any], num_seeds: int, row: str = "model") -> dict[str, Any]:
            def imagine(asked: Sequence[Request]) -> list[np.ndarray]:
                return list(work.answers(asked).values())

            return text_facts.imagined_facts(true.env, begin, imagine, num_seeds, row)

        if num and some.begin is not None:
            # Of a pair all comes from its texts: without noise a second seed would show the same frames again.
            out |= facts(some.begin, num if some.draws_noise else 1)
        if num and some.draw is not None:
            for name, rows in facts(some.draw, num, "model, first frame imagined").items():
                out[name] = out.get(name, {}) | rows
        return out

    true.text()
    work.kept("text", make)
