"""The side of a suite that no model changes: true clips, branches, ensembles and pairs, and the rows beside a model.

The one idea to know: all of it lies in one folder, made when it is first asked for and read from then on. Runs of
several models may share the folder, so that what stands beside them is recorded and scored once.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.collect import env_fingerprint
from worldsim.errors import EnvError
from worldsim.evaluate.physics import rows, text_facts
from worldsim.evaluate.physics.cases import TEST_SEED, Case, perturbed, plan_cases, read_cases, record_case
from worldsim.evaluate.physics.clip import Clip, record_clip
from worldsim.evaluate.physics.control import PROBES, Sweep, mirror_signs, probe_requests, record_sweep, score_probe
from worldsim.evaluate.physics.ensembles import CHAOTIC, score_ensemble
from worldsim.evaluate.physics.exchange import load_clip, save_clip
from worldsim.evaluate.physics.extract import extract
from worldsim.evaluate.physics.imagined import Imagined
from worldsim.evaluate.physics.plan import Plan
from worldsim.evaluate.physics.scoring import Ruler

__all__ = ["Ensemble", "Progress", "Task", "Truth", "each", "merged", "score_task", "write_json"]

_PROBE_SEED, _ENSEMBLE_SEED, _TEXT_SEED = TEST_SEED + 8000, TEST_SEED + 8800, TEST_SEED + 9400
_OF_MODEL = ("seeds",)  # what a plan asks of a model alone

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """One context and many truths that begin a little apart."""

    clip: Clip
    truths: np.ndarray
    """(members, T, N, 3) metres."""


class Truth:
    """What a plan's models are held against.

    Args:
        folder: Where it is kept and read from; another plan's is refused.
        plan: What is recorded.
        workers: Processes that score clips.
        tell: Called with (stage, done, total).

    Raises:
        EnvError: If the folder holds the truth of another plan, or of a world that has changed since.
    """

    def __init__(self, folder: Path, plan: Plan, *, workers: int = 1, tell: Progress) -> None:
        self.folder, self.plan, self.workers, self.tell = folder, plan, workers, tell
        asked = {name: value for name, value in asdict(plan).items() if name not in _OF_MODEL}
        made = {"plan": json.loads(json.dumps(asked)), "fingerprint": env_fingerprint(plan.env_id, plan.env_kwargs)}
        before = _read_json(folder / "plan.json")
        if before is not None and before["plan"] != made["plan"]:
            raise EnvError(f"{folder} holds the truth of another plan; choose another folder with --run or --truth")
        if before is not None and before != made:
            raise EnvError(f"{plan.env_id} no longer looks as it does in {folder}; choose another folder")
        self.env = gym.make(plan.env_id, disable_env_checker=True, **plan.env_kwargs)
        self.cases = plan_cases(self.env, plan)
        """(key, scenario, split, env seed) of every case."""
        write_json(folder / "plan.json", made)

    @property
    def clips(self) -> Path:
        """Folder of recorded clips."""
        return self.folder / "clips"

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Names of the scenarios, in the order of the cases."""
        return tuple(dict.fromkeys(scenario for _, scenario, _, _ in self.cases))

    def kept(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a part's figures, made now if they are not on disk."""
        path = self.folder / "parts" / f"{name}.json"
        if not path.exists():
            write_json(path, make())
        return json.loads(path.read_text())

    def record(self) -> None:
        """Record every case that is not there."""
        for done, (key, scenario, split, seed) in enumerate(self.cases, 1):
            record_case(self.env, self.plan, key, scenario, split, seed, self.clips)
            self.tell("truth", done, len(self.cases))

    def _clip(self, name: str, make: Callable[[], Clip]) -> Clip:
        path = self.clips / f"{name}.npz"
        if not path.exists():
            save_clip(path, make())
        return load_clip(path)

    # ---- control

    def sweeps(self) -> dict[str, list[tuple[Sweep, np.ndarray | None]]]:
        """Return the true branches by probe, each with the signs that a mirror gives its actions."""
        plan, found = self.plan, {}
        names = [dim.name for dim in getattr(self.env.unwrapped, "action_spec", ())]
        probes = [p for p in PROBES[plan.suite] if p.scenario is None or p.scenario in self.scenarios]
        for done, probe in enumerate(probes if plan.sweeps else (), 1):
            group = [self._sweep(probe, i) for i in range(plan.sweeps)]
            found[probe.name] = [(sweep, mirror_signs(sweep, names)) for sweep in group]
            self.tell("true branches", done, len(probes))
        return found

    def _sweep(self, probe: Any, number: int) -> Sweep:
        begin = f"probe.{probe.name}.{number}"
        names = [f"dose{k}" for k in range(len(probe.doses))]
        if not (self.clips / f"{begin}.{names[-1]}.npz").exists():
            sweep = record_sweep(self.env, probe, number, seed=_PROBE_SEED + number, num_context=self.plan.context)
            if sweep.loop is not None:
                save_clip(self.clips / f"{begin}.loop.npz", sweep.loop)
            for name, clip in zip(names, sweep.branches, strict=True):
                save_clip(self.clips / f"{begin}.{name}.npz", clip)
        branches = tuple(load_clip(self.clips / f"{begin}.{name}.npz") for name in names)
        loop = load_clip(self.clips / f"{begin}.loop.npz") if probe.loops else None
        index = [dim.name for dim in self.env.unwrapped.action_spec].index(probe.dimension)  # type: ignore[attr-defined]
        return Sweep(probe=probe, index=index, number=number, branches=branches, loop=loop)

    def control(self) -> dict[str, Any]:
        """Return {probe: {row: figures}} of a frozen video and of the truth under opposite doses."""

        def make() -> dict[str, Any]:
            out = {}
            for name, group in self.sweeps().items():
                sweeps = [sweep for sweep, _ in group]
                still = {
                    request.key: np.repeat(request.frames[-1:], len(request.actions), axis=0)
                    for sweep, signs in group
                    for request in probe_requests(sweep, signs)
                }
                out[name] = {"copy_last": score_probe(sweeps, still), "truth_opposite": _opposite(sweeps)}
            return out

        return self.kept("control", make) if self.plan.sweeps else {}

    # ---- uncertainty

    def ensembles(self) -> dict[str, list[Ensemble]]:
        """Return the ensembles of every chaotic scenario."""
        plan, found = self.plan, {}
        chosen = [name for name in self.scenarios if name in CHAOTIC] if plan.ensembles else []
        for done, scenario in enumerate(chosen, 1):
            found[scenario] = [self._ensemble(scenario, i) for i in range(plan.ensembles)]
            self.tell("true ensembles", done, len(chosen))
        return found

    def _ensemble(self, scenario: str, i: int) -> Ensemble:
        plan, seed = self.plan, _ENSEMBLE_SEED + 20 * CHAOTIC.index(scenario) + i
        clip = self._clip(
            f"ensemble.{scenario}.{i}",
            lambda: record_clip(self.env, scenario, seed, num_context=plan.context, horizon=plan.horizon),
        )
        path = self.clips / f"ensemble.{scenario}.{i}.truths.npy"
        if not path.exists():
            names = [body.name for body in clip.objects]
            draws = [np.random.default_rng((seed, 2, k)).standard_normal for k in range(2 * plan.members)]
            takes = [perturbed(self.env, plan, clip, draw) for draw in draws]
            places = [[take.state[name][plan.context :, :3] for name in names] for take in takes]
            partial = path.with_suffix(".partial.npy")
            np.save(partial, np.array(places).swapaxes(1, 2))
            partial.replace(path)
        return Ensemble(clip=clip, truths=np.load(path))

    def uncertainty(self) -> dict[str, Any]:
        """Return {scenario: [{row: figures}]} of another half of the truths and of a frozen video."""

        def figures(ensemble: Ensemble) -> dict[str, Any]:
            clip, half = ensemble.clip, self.plan.members
            begun = np.stack([clip.state[body.name][clip.num_context - 1, :3] for body in clip.objects])
            still = np.repeat(begun[None, None], clip.horizon, axis=1)
            again, held_against = ensemble.truths[:half], ensemble.truths[half:]
            return {
                "truth_again": score_ensemble(again, held_against),
                "copy_last": score_ensemble(still, held_against),
            }

        def make() -> dict[str, Any]:
            return {scenario: [figures(found) for found in group] for scenario, group in self.ensembles().items()}

        return self.kept("uncertainty", make) if self.plan.ensembles else {}

    # ---- text

    def pairs(self) -> dict[str, list[text_facts.GravityPair]]:
        """Return the pairs of the gravities of moon and earth by scenario."""
        plan, found = self.plan, {}
        chosen = [name for name in text_facts.GRAVITY_SCENARIOS if name in self.scenarios] if plan.gravity_pairs else []
        for done, scenario in enumerate(chosen, 1):
            found[scenario] = [self._pair(scenario, i) for i in range(plan.gravity_pairs)]
            self.tell("true pairs", done, len(chosen))
        return found

    def _pair(self, scenario: str, i: int) -> text_facts.GravityPair:
        path, futures = (self.clips / f"gravity.{scenario}.{i}{ending}.npz" for ending in ("", ".futures"))
        if not path.exists():
            pair = text_facts.record_gravity_pair(
                self.env, scenario, i, seed=_TEXT_SEED + i, num_context=self.plan.context
            )
            np.savez_compressed(futures, moon=pair.frames[0], earth=pair.frames[1], prompts=np.array(pair.prompts))
            save_clip(path, pair.clip)
        with np.load(futures) as data:
            moon, earth = (str(text) for text in data["prompts"])
            frames = (data["moon"], data["earth"])
        return text_facts.GravityPair(clip=load_clip(path), number=i, prompts=(moon, earth), frames=frames)

    def text(self) -> dict[str, Any]:
        """Return {pair: {row: figures}} of the truth and of a frozen video."""

        def make() -> dict[str, Any]:
            out: dict[str, Any] = {}
            for scenario, pairs in self.pairs().items():
                requests = [request for pair in pairs for request in text_facts.gravity_requests(pair)]
                true = {pair.key(w): pair.frames[w] for pair in pairs for w in (0, 1)}
                still = {r.key: np.repeat(r.frames[-1:], len(r.actions), axis=0) for r in requests}
                out[f"gravity.{scenario}"] = {
                    "truth": text_facts.score_gravity(pairs, true),
                    "copy_last": text_facts.score_gravity(pairs, still),
                }
            if self.plan.fact_seeds:
                out |= text_facts.true_facts(self.env, self.plan.fact_seeds)
            return out

        return self.kept("text", make) if self.plan.gravity_pairs or self.plan.fact_seeds else {}

    # ---- corruptions

    def corruptions(self) -> dict[str, Any]:
        """Return {case: {corruption: {metric: value}}} of the cases into which some are planted."""

        def make() -> dict[str, Any]:
            in_range = [key for key, _, split, _ in self.cases if split == "train"]
            chosen = [key for key in in_range if int(key.rsplit(".", 1)[1]) < self.plan.corrupted]
            tasks = [(self.clips, key) for key in chosen]
            done = each(corrupt_one, tasks, self.workers, lambda *n: self.tell("planted corruptions", *n))
            return dict(zip(chosen, done, strict=True))

        return self.kept("corruptions", make)


def _opposite(sweeps: Sequence[Sweep]) -> dict[str, Any]:
    """Score the truth with every dose exchanged for its opposite: what a model with a flipped sign would get."""
    answers = {}
    for sweep in sweeps:
        for k, clip in enumerate(reversed(sweep.branches)):
            answers[sweep.key(f"dose{k}")] = clip.future
    return score_probe(sweeps, answers)


# ---- one clip, many rows, in whatever process


@dataclass(frozen=True, kw_only=True)
class Task:
    """One clip to score."""

    truth: Path
    """Folder of the truth, where the rows beside a model go."""
    key: str
    num_training: int
    run: Path | None = None
    """Folder of the run, where the model's rows go."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """The model's rows, to request keys."""


def score_task(task: Task) -> None:
    """Score the rows of one clip that are not scored yet and write their figures."""
    (case,) = read_cases(task.truth / "clips", [task.key])
    ruler = Ruler(case.clip, case.perturbed.future)

    def write(path: Path, frames: Mapping[str, np.ndarray]) -> None:
        write_json(path, {row: ruler.score(seen).as_dict() for row, seen in frames.items()})

    beside = task.truth / "rows" / f"{task.key}.json"
    if not beside.exists():
        scenario = task.key.split(".")[0]
        files = [task.truth / "clips" / f"training.{scenario}.{i}.npz" for i in range(task.num_training)]
        write(beside, _beside(case, [load_clip(file) for file in files]))
    if task.run is not None:
        imagined = Imagined(task.run / "rollouts")
        frames = {row: imagined.read(key) for row, key in task.answers.items()}
        write(task.run / "scores" / f"{task.key}.json", frames)


def each(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    tell: Callable[[int, int], None],
    until: float | None = None,
) -> Iterator[Any]:
    """Yield what a function makes of every task, in their order, in several processes.

    Args:
        function: Of a module, since processes import it.
        tasks: Its arguments.
        workers: Processes.
        tell: Called with (done, total).
        until: No task is handed out after this time of the monotonic clock.
    """
    pool = (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        if workers > 1 and len(tasks) > 1
        else ThreadPoolExecutor(1)
    )
    done, waiting = 0, deque[Future[Any]]()
    with pool:
        for task in tasks:
            if until is not None and time.monotonic() > until:
                break
            waiting.append(pool.submit(function, task))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
                done += 1
                tell(done, len(tasks))
        for future in waiting:
            yield future.result()
            done += 1
            tell(done, len(tasks))


def _beside(case: Case, training: list[Clip]) -> dict[str, np.ndarray]:
    """Return the rows beside a model, (T, H, W, 3) each."""
    clip = case.clip
    found = {
        "copy_last": rows.copy_last(clip),
        "wrong_scene": case.wrong.future,
        "truth_perturbed": case.perturbed.future,
        "truth_codec": rows.codec(clip.future),
        "truth": clip.future,
    }
    if find_spec("av") is not None:
        found["truth_film"] = rows.film(clip.future, clip.dt)
    if training:
        found["nearest_training_clip"] = rows.nearest_clip(clip, training)
    if clip.objects:
        tracks = extract(clip.frames, clip)
        found["linear"] = rows.linear(clip, tracks)
        found["constant_acceleration"] = rows.constant_acceleration(clip, tracks)
        if (law := rows.known_law(clip, tracks)) is not None:
            found["known_law"] = law
    return found


def corrupt_one(task: tuple[Path, str]) -> dict[str, dict[str, float]]:
    """Return {corruption: {metric: value}} of one clip; what leaves the frames as they were is left out.

    Args:
        task: Folder of the clips, and the case's key.
    """
    folder, key = task
    (case,) = read_cases(folder, [key])
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


# ---- files


def write_json(path: Path, value: Any) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def merged(first: Any, second: Any) -> Any:
    """Return figures of the same shape as one: objects by name, lists entry by entry; the second's values count."""
    if isinstance(first, dict) and isinstance(second, dict):
        both = {name: merged(first[name], second[name]) for name in first if name in second}
        return {**first, **second, **both}
    if isinstance(first, list) and isinstance(second, list):
        return [merged(a, b) for a, b in zip(first, second, strict=True)]
    return second
