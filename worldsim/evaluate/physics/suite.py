"""`worldsim bench physics`: record the truth, let a model continue it, score every row, and keep everything.

A run is a folder. ``clips/`` holds the truth, ``rollouts/`` (a rollout store) what was imagined, ``scores/`` the
figures of each clip, ``parts/`` those of control, text and uncertainty. Whatever is there is not made again: a run that
was stopped goes on, and without ``scores/`` and ``parts/`` every figure is computed again from the kept frames.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.errors import EnvError
from worldsim.evaluate.physics import rows, text_facts
from worldsim.evaluate.physics.candidates import Candidate, Request
from worldsim.evaluate.physics.cases import (
    TEST_SEED,
    Case,
    perturbed,
    plan_cases,
    read_cases,
    record_case,
    record_training,
    scenarios_of,
)
from worldsim.evaluate.physics.clip import Clip, noise_seed, record_clip
from worldsim.evaluate.physics.control import (
    PROBES,
    Sweep,
    mirror_signs,
    probe_requests,
    record_sweep,
    score_probe,
)
from worldsim.evaluate.physics.ensembles import CHAOTIC, held, score_ensemble
from worldsim.evaluate.physics.exchange import export_requests, load_clip, save_clip
from worldsim.evaluate.physics.extract import extract
from worldsim.evaluate.physics.plan import Plan
from worldsim.evaluate.physics.scoring import Ruler
from worldsim.metrics import derangement
from worldsim.rollout import Rollout, control_dt_of
from worldsim.store import RolloutStore

__all__ = ["Run", "export_scenes", "run_foreign", "run_suite"]

_PROBE_SEED, _ENSEMBLE_SEED, _TEXT_SEED = TEST_SEED + 8000, TEST_SEED + 8800, TEST_SEED + 9400
_RUN_ID = "physics"
_NOBODY = {"name": "exported, no results yet"}  # whom a run belongs to until results come

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as far as it is: what the summary and the report are made from."""

    folder: Path
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
        return {key: json.loads((self.folder / "scores" / f"{key}.json").read_text()) for key in self.keys}

    def part(self, name: str) -> dict[str, Any]:
        """Return the figures of ``control``, ``text``, ``uncertainty`` or ``corruptions``; empty if not in the plan."""
        path = self.folder / "parts" / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def frames(self, key: str) -> np.ndarray:
        """Return the frames (T, H, W, 3) that were imagined for a request."""
        return _Frames(self.folder).read(key)


class _Frames:
    """Imagined continuations by request key, in a rollout store."""

    def __init__(self, folder: Path) -> None:
        self._store = RolloutStore.open_or_create(folder / "rollouts")
        self._index: dict[str, int] = {}
        self._known = 0
        self._refresh()

    def _refresh(self) -> None:
        for episode in range(self._known, len(self._store)):
            self._index[str(self._store.info(episode).variation["request"])] = episode
        self._known = len(self._store)

    def __contains__(self, key: str) -> bool:
        return key in self._index

    def read(self, key: str) -> np.ndarray:
        return self._store.episode(self._index[key]).obs[1:]

    def add(self, requests: Sequence[Request], frames: Sequence[np.ndarray], **world: Any) -> None:
        rollouts = [
            Rollout(
                obs=np.concatenate([request.frames[-1:], seen]),
                action=request.actions,
                reward=np.zeros(len(seen), np.float32),
                terminated=np.zeros(len(seen), bool),
                truncated=np.arange(len(seen)) == len(seen) - 1,
                seed=request.seed,
                variation={"request": request.key, "prompt": request.prompt or ""},
                source="imagined",
                **world,
            )
            for request, seen in zip(requests, frames, strict=True)
        ]
        self._store.append(rollouts, run_id=_RUN_ID, keys=[request.key for request in requests])
        self._refresh()


@dataclass
class _Work:
    """What the stages of a run share."""

    folder: Path
    plan: Plan
    candidate: Candidate
    env: Any
    """The true world; None where clips come from elsewhere."""
    dt: float
    store: _Frames
    tell: Progress
    workers: int = 1
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

    def kept(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a part's figures, made now if they are not on disk."""
        path = self.folder / "parts" / f"{name}.json"
        if not path.exists():
            _write(path, make())
        return json.loads(path.read_text())


def run_suite(
    candidate: Candidate,
    plan: Plan,
    folder: Path,
    *,
    workers: int = 1,
    minutes: float | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run a suite, or what is left of it.

    Args:
        candidate: The model under test.
        plan: What is asked of it.
        folder: Of the run; another plan's or model's is refused.
        workers: Processes that score clips; the model runs in this one.
        minutes: Begin no further clip after this time; the figures are then of the clips scored, and a later call goes
            on. Control, text and uncertainty come before clips are scored, and in full. None takes all clips.
        progress: Called with (stage, done, total).

    Raises:
        EnvError: If the folder holds another run, or the model sees more frames than the plan's clips show.
    """
    begun = time.monotonic()
    work = _begin(candidate, plan, folder, progress or (lambda stage, done, total: None))
    work.workers = workers
    try:
        cases = plan_cases(work.env, plan)
        _control(work)
        _uncertainty(work)
        _text(work)
        _record(work, cases)
        until = None if minutes is None else begun + 60 * minutes
        _score_cases(work, cases, until)
        if until is None or time.monotonic() < until:
            _corruptions(work, [key for key, _, split, _ in cases if split == "train"])
    finally:
        work.env.close()
        _note_time(work, begun)
    return _finished(work, [key for key, *_ in cases])


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
    plan = Plan(
        suite="foreign",
        size=f"{len(clips)} clips",
        env_id="foreign",
        horizon=first.horizon,
        context=first.num_context,
        seeds=seeds,
        training_clips=0,
    )
    work = _begin(candidate, plan, folder, progress or (lambda stage, done, total: None), dt=first.dt)
    work.workers = workers
    keys = [f"{clip.scenario}.train.{i}" for i, clip in enumerate(clips)]
    try:
        for i, (key, clip) in enumerate(zip(keys, clips, strict=True)):
            alike = [c for c in clips if c is not clip and c.frames.shape == clip.frames.shape]
            wrong = alike[i % len(alike)] if alike else clip
            for name, sibling in (("perturbed", clip), ("wrong", wrong)):
                save_clip(folder / "clips" / f"{key}.{name}.npz", sibling)
            save_clip(folder / "clips" / f"{key}.npz", clip)
        tasks = [task for task in _imagine(work, keys) if not (folder / "scores" / f"{task.key}.json").exists()]
        for _ in _each(work, _score_one, tasks, "scored clips"):
            pass
    finally:
        _note_time(work, begun)
    return _finished(work, keys)


def _note_time(work: _Work, begun: float) -> None:
    """Add what this call took to what earlier calls of the run did."""
    path = work.folder / "time.json"
    spent = json.loads(path.read_text()) if path.exists() else {"seconds": 0.0, "model_s": 0.0, "frames": 0}
    spent["seconds"] += time.monotonic() - begun
    spent["model_s"] += work.model_s
    spent["frames"] += work.num_frames
    _write(path, spent)


def _finished(work: _Work, keys: Sequence[str]) -> Run:
    scored = tuple(key for key in keys if (work.folder / "scores" / f"{key}.json").exists())
    if not scored:
        raise EnvError(f"no clip of {work.folder} was scored yet; give it more minutes and run the command again")
    spent = json.loads((work.folder / "time.json").read_text())
    return Run(
        folder=work.folder,
        plan=work.plan,
        candidate=work.candidate,
        keys=scored,
        num_planned=len(keys),
        minutes=spent["seconds"] / 60,
        ms_per_frame=1000 * spent["model_s"] / spent["frames"] if spent["frames"] else None,
    )


def export_scenes(plan: Plan, folder: Path, out: Path, *, progress: Progress | None = None) -> int:
    """Record a plan's truth into a run and write the scenes for another lab; returns their number.

    Control and the noise samples are among them; text and uncertainty are not.
    """
    nobody = Candidate(name=_NOBODY["name"], imagine=lambda requests: [], draws_noise=False)
    work = _begin(nobody, plan, folder, progress or (lambda stage, done, total: None))
    try:
        cases = plan_cases(work.env, plan)
        _record(work, cases)
        keys = [key for key, *_ in cases]
        requests, clip = [], None
        for case in read_cases(folder / "clips", keys):
            clip = case.clip
            requests.append(_sample(case, 0))
        for sweep, signs in _sweeps(work):
            requests += probe_requests(sweep, signs)
    finally:
        work.env.close()
    assert clip is not None
    export_requests(out, requests, clip, plan.suite)
    return len(requests)


def _begin(candidate: Candidate, plan: Plan, folder: Path, tell: Progress, dt: float | None = None) -> _Work:
    """Open or begin a run; ``dt`` is given where there is no true world to make."""
    if candidate.num_context > plan.context:
        raise EnvError(
            f"{candidate.name} looks at {candidate.num_context} frames and the plan's clips show {plan.context}; "
            f"give --context {candidate.num_context}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    made = {"plan": json.loads(json.dumps(asdict(plan))), "model": _identity(candidate)}
    path = folder / "plan.json"
    if path.exists():
        before = json.loads(path.read_text())
        if before["model"] == _NOBODY:  # its scenes were exported, and here are the results
            before["model"] = made["model"]
            _write(path, before)
        if before != made:
            raise EnvError(f"{folder} holds a run of another plan or model; choose another folder with --run")
    else:
        _write(path, made)
    env = gym.make(plan.env_id, disable_env_checker=True, **plan.env_kwargs) if dt is None else None
    dt = control_dt_of(env) if dt is None else dt
    return _Work(folder=folder, plan=plan, candidate=candidate, env=env, dt=dt, store=_Frames(folder), tell=tell)


def _identity(candidate: Candidate) -> dict[str, Any]:
    """Return what a run belongs to: weights and sampler, under whatever name; the name of what has no weights here."""
    facts = candidate.facts
    if (sha := facts.get("checkpoint_sha")) is not None:
        return {"checkpoint_sha": sha, "sampler_steps": facts.get("sampler_steps")}
    return {"name": candidate.name}


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


# ---- the clips


def _record(work: _Work, cases: Sequence[tuple[str, str, str, int]]) -> None:
    for done, (key, scenario, split, seed) in enumerate(cases, 1):
        record_case(work.env, work.plan, key, scenario, split, seed, work.folder / "clips")
        work.tell("truth", done, len(cases))


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


def _score_cases(work: _Work, cases: Sequence[tuple[str, str, str, int]], until: float | None) -> None:
    """Imagine every clip, scenario by scenario, then score each by itself, the first of every scenario first."""
    tasks = []
    left = {key for key, *_ in cases if not (work.folder / "scores" / f"{key}.json").exists()}
    scenarios = scenarios_of(work.env, work.plan)
    for done, scenario in enumerate(scenarios, 1):
        keys = [key for key, name, _, _ in cases if name == scenario]
        if left & set(keys):
            record_training(work.env, work.plan, scenario, work.folder / "clips")
            tasks += [task for task in _imagine(work, keys) if task.key in left]
        work.tell("imagined scenarios", done, len(scenarios))
    tasks.sort(key=lambda task: int(task.key.rsplit(".", 1)[1]))
    for _ in _each(work, _score_one, tasks, "scored clips", until):
        pass


@dataclass(frozen=True, kw_only=True)
class _Task:
    """One clip to score, in whatever process."""

    folder: Path
    key: str
    answers: Mapping[str, str]
    """Row to request key."""
    num_training: int


def _imagine(work: _Work, keys: list[str]) -> list[_Task]:
    """Let the model continue some clips, and continue them under exchanged actions; frames go to the store."""
    group = list(read_cases(work.folder / "clips", keys))
    samples = range(work.plan.seeds if work.candidate.draws_noise else 1)
    work.answers([_sample(case, s) for case in group for s in samples])
    shuffled = _shuffled(group)
    if shuffled and work.has(shuffled):
        work.answers(shuffled)
    return [
        _Task(
            folder=work.folder,
            key=key,
            answers={
                **{f"model#{s}": f"{key}.sample{s}" for s in samples},
                **({"shuffled_actions": f"{key}.shuffled"} if f"{key}.shuffled" in work.store else {}),
            },
            num_training=work.plan.training_clips,
        )
        for key in keys
    ]


def _score_one(task: _Task) -> None:
    """Score all rows of one clip and write its figures."""
    (case,) = read_cases(task.folder / "clips", [task.key])
    kept = _Frames(task.folder)
    frames = {row: kept.read(key) for row, key in task.answers.items()}
    scenario = task.key.split(".")[0]
    files = [task.folder / "clips" / f"training.{scenario}.{i}.npz" for i in range(task.num_training)]
    frames |= _baselines(case, [load_clip(file) for file in files])
    ruler = Ruler(case.clip, case.perturbed.future)
    found = {row: ruler.score(seen).as_dict() for row, seen in frames.items()}
    _write(task.folder / "scores" / f"{task.key}.json", found)


def _each(
    work: _Work, function: Callable[[Any], Any], tasks: Sequence[Any], stage: str, until: float | None = None
) -> Iterator[Any]:
    """Yield what a function makes of every task, in their order, in as many processes as the run may use.

    No task begins after ``until``, by the monotonic clock.
    """
    pool = (
        ProcessPoolExecutor(work.workers, mp_context=get_context("spawn"))
        if work.workers > 1 and len(tasks) > 1
        else ThreadPoolExecutor(1)
    )
    with pool:
        for first in range(0, len(tasks), work.workers):
            if until is not None and time.monotonic() > until:
                return
            yield from pool.map(function, tasks[first : first + work.workers])
            work.tell(stage, min(first + work.workers, len(tasks)), len(tasks))


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


def _baselines(case: Case, training: list[Clip]) -> dict[str, np.ndarray]:
    clip = case.clip
    found = {
        "copy_last": rows.copy_last(clip),
        "wrong_scene": case.wrong.future,
        "truth_perturbed": case.perturbed.future,
        "truth_codec": rows.codec(clip.future),
        "truth": clip.future,
    }
    if training:
        found["nearest_training_clip"] = rows.nearest_clip(clip, training)
    if clip.objects:
        tracks = extract(clip.frames, clip)
        found["linear"] = rows.linear(clip, tracks)
        found["constant_acceleration"] = rows.constant_acceleration(clip, tracks)
        if (law := rows.known_law(clip, tracks)) is not None:
            found["known_law"] = law
    return found


def _corruptions(work: _Work, keys: Sequence[str]) -> None:
    def make() -> dict[str, Any]:
        chosen = [key for key in keys if int(key.rsplit(".", 1)[1]) < work.plan.corrupted]
        tasks = [(work.folder, key) for key in chosen]
        return dict(zip(chosen, _each(work, _corrupt_one, tasks, "planted corruptions"), strict=True))

    work.kept("corruptions", make)


def _corrupt_one(task: tuple[Path, str]) -> dict[str, dict[str, float]]:
    """Return {corruption: {metric: value}} of one clip; what leaves the frames as they were is left out."""
    folder, key = task
    (case,) = read_cases(folder / "clips", [key])
    planted = {name: plant(case.clip, np.random.default_rng(0)) for name, plant in _plantable(case.clip)}
    planted["wrong_scene"] = case.wrong.future
    if case.gravity is not None:
        planted["gravity_changed"] = case.gravity.future
    ruler = Ruler(case.clip, case.perturbed.future)
    return {
        name: dict(ruler.score(seen).metrics)
        for name, seen in planted.items()
        if not np.array_equal(seen, case.clip.future)
    }


def _plantable(clip: Clip) -> list[tuple[str, rows.Corruption]]:
    """Return the corruptions that a clip can bear: those of single objects need one, and its mask."""
    whole = clip.objects and clip.masks is not None and clip.objects[0].name in clip.mask_names
    return [(name, plant) for name, plant in rows.CORRUPTIONS.items() if whole or name not in rows.OF_OBJECTS]


# ---- control


def _sweeps(work: _Work) -> list[tuple[Sweep, np.ndarray | None]]:
    names = [dim.name for dim in getattr(work.env.unwrapped, "action_spec", ())]
    found = []
    probes = [
        probe
        for probe in PROBES[work.plan.suite]
        if work.plan.scenarios is None or probe.scenario is None or probe.scenario in work.plan.scenarios
    ]
    for done, probe in enumerate(probes, 1):
        for i in range(work.plan.sweeps):
            sweep = record_sweep(work.env, probe, i, seed=_PROBE_SEED + i, num_context=work.plan.context)
            found.append((sweep, mirror_signs(sweep, names)))
        work.tell("true branches", done, len(probes))
    return found


def _control(work: _Work) -> None:
    def make() -> dict[str, Any]:
        groups: dict[str, list[tuple[Sweep, np.ndarray | None]]] = {}
        for sweep, signs in _sweeps(work):
            groups.setdefault(sweep.probe.name, []).append((sweep, signs))
        out: dict[str, Any] = {}
        for done, (name, group) in enumerate(groups.items(), 1):
            requests = [request for sweep, signs in group for request in probe_requests(sweep, signs)]
            sweeps = [sweep for sweep, _ in group]
            still = {r.key: np.repeat(r.frames[-1:], len(r.actions), axis=0) for r in requests}
            out[name] = {"copy_last": score_probe(sweeps, still), "truth_opposite": _opposite(sweeps)}
            if work.has(requests):
                out[name]["model"] = score_probe(sweeps, work.answers(requests))
            work.tell("control", done, len(groups))
        return out

    if work.plan.sweeps:
        work.kept("control", make)


def _opposite(sweeps: Sequence[Sweep]) -> dict[str, Any]:
    """Score the truth with every dose exchanged for its opposite: what a model with a flipped sign would get."""
    answers = {}
    for sweep in sweeps:
        for k, clip in enumerate(reversed(sweep.branches)):
            answers[sweep.key(f"dose{k}")] = clip.future
    return score_probe(sweeps, answers)


# ---- uncertainty


def _uncertainty(work: _Work) -> None:
    plan = work.plan
    chosen = [name for name in scenarios_of(work.env, plan) if name in CHAOTIC] if plan.ensembles else []

    def make() -> dict[str, Any]:
        out: dict[str, Any] = {}
        for done, scenario in enumerate(chosen, 1):
            out[scenario] = [_ensemble(work, scenario, i) for i in range(plan.ensembles)]
            work.tell("ensembles", done, len(chosen))
        return out

    if chosen:
        work.kept("uncertainty", make)


def _ensemble(work: _Work, scenario: str, i: int) -> dict[str, Any]:
    plan, seed = work.plan, _ENSEMBLE_SEED + 20 * CHAOTIC.index(scenario) + i
    clip = record_clip(work.env, scenario, seed, num_context=plan.context, horizon=plan.horizon)
    takes = [
        perturbed(work.env, plan, clip, np.random.default_rng((seed, 2, k)).standard_normal)
        for k in range(2 * plan.members)
    ]
    names = [body.name for body in clip.objects]
    true = np.stack([[take.state[name][plan.context :, :3] for name in names] for take in takes]).swapaxes(1, 2)
    begun = np.stack([clip.state[name][plan.context - 1, :3] for name in names])
    half = plan.members
    out: dict[str, Any] = {
        "truth_again": score_ensemble(true[:half], true[half:]),
        "copy_last": score_ensemble(np.repeat(begun[None, None], plan.horizon, axis=1), true[half:]),
    }
    requests = [
        Request(
            key=f"ensemble.{scenario}.{i}.{s}",
            frames=clip.context,
            past=clip.context_actions,
            actions=clip.future_actions,
            prompt=clip.caption.get("en"),
            seed=noise_seed(clip, s),
        )
        for s in range(plan.members if work.candidate.draws_noise else 1)
    ]
    if work.has(requests):
        answers = work.answers(requests)
        seen = [held(extract(clip.with_future(answers[r.key]), clip).world[plan.context :], begun) for r in requests]
        out["model"] = score_ensemble(np.stack([places for places, _ in seen]), true[half:])
        out["model"]["missing"] = float(np.mean([gaps for _, gaps in seen]))
    return out


# ---- text


def _text(work: _Work) -> None:
    plan = work.plan
    known = scenarios_of(work.env, plan)
    chosen = [name for name in text_facts.GRAVITY_SCENARIOS if name in known] if plan.gravity_pairs else []

    def make() -> dict[str, Any]:
        out: dict[str, Any] = {}
        for done, scenario in enumerate(chosen, 1):
            pairs = [
                text_facts.record_gravity_pair(work.env, scenario, i, seed=_TEXT_SEED + i, num_context=plan.context)
                for i in range(plan.gravity_pairs)
            ]
            requests = [request for pair in pairs for request in text_facts.gravity_requests(pair)]
            truth = {pair.key(w): pair.frames[w] for pair in pairs for w in (0, 1)}
            still = {r.key: np.repeat(r.frames[-1:], len(r.actions), axis=0) for r in requests}
            out[f"gravity.{scenario}"] = {
                "truth": text_facts.score_gravity(pairs, truth),
                "copy_last": text_facts.score_gravity(pairs, still),
            }
            if work.has(requests):
                answers = work.answers(requests)
                out[f"gravity.{scenario}"]["model"] = text_facts.score_gravity(pairs, answers)
            work.tell("text", done, len(chosen))
        if plan.fact_seeds:
            out |= text_facts.fact_figures(
                work.env, work.candidate.begin, lambda requests: list(work.answers(requests).values()), plan.fact_seeds
            )
        return out

    if chosen or plan.fact_seeds:
        work.kept("text", make)
