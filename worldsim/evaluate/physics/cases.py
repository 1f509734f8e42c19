"""The true clips of a suite: each with a second take, a wrong scene and a changed gravity, on disk as they come.

A second take is the same episode from a slightly different start: every number among the scenario's own factors moves
by 2% of its training range, up or down by the seed (10 to 30 mm, 20 to 30 mm/s, 1.6 degrees); in a world without
scenarios the actions of the context are off by a tenth. What differs then is what physics itself leaves open: 100.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.errors import EnvError
from worldsim.evaluate.physics.clip import Clip, record_clip
from worldsim.evaluate.physics.exchange import load_clip, save_clip
from worldsim.evaluate.physics.plan import Plan

__all__ = [
    "SPLITS",
    "TEST_SEED",
    "TEST_SEEDS",
    "Case",
    "perturbed",
    "plan_cases",
    "read_cases",
    "record_case",
    "record_training",
    "scenarios_of",
]

TEST_SEEDS = range(200_000, 210_000)
"""Env seeds kept for tests."""
TEST_SEED = TEST_SEEDS[0]
SPLITS = ("train", "low", "high", "combination")
_PER_SCENARIO, _PER_SPLIT, _WRONG = 380, 95, 47  # seeds: 20 scenarios end at 207,600
PERTURBED = 0.02
"""Of a factor's training range, by which a second take differs."""
_SHAKEN = 0.1  # of an action in the context, where there are no factors
_TRIES = 10
SIBLINGS = ("perturbed", "wrong", "gravity")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One true clip and its siblings; a sibling is None where the world has none."""

    key: str
    clip: Clip
    perturbed: Clip
    wrong: Clip
    gravity: Clip | None = None
    """The same start under half or twice the gravity, for cases into which corruptions are planted."""


def scenarios_of(env: gym.Env, plan: Plan) -> tuple[str, ...]:
    """Return the scenarios of a plan; one named after the suite where the world has none.

    Raises:
        EnvError: If a wished one is unknown.
    """
    known = tuple(getattr(env.unwrapped, "scene_card", {}).get("scenarios", {}))
    if plan.scenarios is None:
        return known or (plan.suite,)
    unknown = set(plan.scenarios) - set(known or (plan.suite,))
    if unknown:
        raise EnvError(f"{plan.env_id} has the scenarios {', '.join(known)}; got {', '.join(sorted(unknown))}")
    return plan.scenarios


def plan_cases(env: gym.Env, plan: Plan) -> list[tuple[str, str, str, int]]:
    """Return (key, scenario, split, env seed) of every case."""
    known = tuple(getattr(env.unwrapped, "scene_card", {}).get("scenarios", {})) or (plan.suite,)
    return [
        (f"{scenario}.{split}.{i}", scenario, split, _seed(known.index(scenario), split, i))
        for scenario in scenarios_of(env, plan)
        for split, count in plan.clips.items()
        for i in range(count)
    ]


def _seed(scenario: int, split: str, i: int) -> int:
    return TEST_SEED + _PER_SCENARIO * scenario + _PER_SPLIT * SPLITS.index(split) + i


def record_case(env: gym.Env, plan: Plan, key: str, scenario: str, split: str, seed: int, folder: Path) -> None:
    """Record a case into ``folder``, unless it is there."""
    if (folder / f"{key}.npz").exists():
        return
    named = _named(env, scenario)
    clip = _recorded(env, plan, named, split, seed)
    siblings = {"perturbed": _second_take(env, plan, clip), "wrong": _wrong_scene(env, plan, clip)}
    planted = named and split == "train" and int(key.rsplit(".", 1)[1]) < plan.corrupted
    if planted and (changed := _changed_gravity(env, plan, clip)) is not None:
        siblings["gravity"] = changed
    for name, sibling in siblings.items():
        save_clip(folder / f"{key}.{name}.npz", sibling)
    save_clip(folder / f"{key}.npz", clip)  # last: its being there says that the case is whole


def read_cases(folder: Path, keys: list[str]) -> Iterator[Case]:
    """Yield recorded cases one by one."""
    for key in keys:
        found = {name: folder / f"{key}.{name}.npz" for name in SIBLINGS}
        yield Case(
            key=key,
            clip=load_clip(folder / f"{key}.npz"),
            perturbed=load_clip(found["perturbed"]),
            wrong=load_clip(found["wrong"]),
            gravity=load_clip(found["gravity"]) if found["gravity"].exists() else None,
        )


def record_training(env: gym.Env, plan: Plan, scenario: str, folder: Path) -> None:
    """Record clips under training seeds, unless they are there."""
    for i in range(plan.training_clips):
        path = folder / f"training.{scenario}.{i}.npz"
        if not path.exists():
            save_clip(path, _recorded(env, plan, _named(env, scenario), "train", i))


def _named(env: gym.Env, scenario: str) -> str | None:
    return scenario if scenario in getattr(env.unwrapped, "scene_card", {}).get("scenarios", {}) else None


def _recorded(env: gym.Env, plan: Plan, scenario: str | None, split: str, seed: int, **more: Any) -> Clip:
    """Record a clip; where the truth ends too early, the seed 40 later is taken, up to ten times."""
    for attempt in range(_TRIES):
        try:
            return record_clip(
                env,
                scenario,
                seed + 40 * attempt if scenario is None else seed,
                num_context=plan.context,
                horizon=plan.horizon,
                split=split,
                **more,
            )
        except EnvError as error:
            if scenario is not None or "ended" not in str(error) or attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _again(env: gym.Env, plan: Plan, clip: Clip, changes: Mapping[str, Any]) -> Clip:
    """Record a clip's episode with the same actions and some factors changed."""
    kept = {name: value for name, value in clip.variation.items() if name not in ("scenario", "split")}
    return _recorded(
        env, plan, clip.scenario, clip.split, clip.seed, variation={**kept, **changes}, actions=clip.actions
    )


def _second_take(env: gym.Env, plan: Plan, clip: Clip) -> Clip:
    rng = np.random.default_rng((clip.seed, 1))
    return perturbed(env, plan, clip, lambda: float(rng.choice([-1.0, 1.0])))


def perturbed(env: gym.Env, plan: Plan, clip: Clip, draw: Callable[[], float]) -> Clip:
    """Record a clip's episode again from a slightly different start, by the rule of this module.

    Args:
        env: The true world.
        plan: The lengths.
        clip: What is recorded again.
        draw: Called once per number of the start; by how many times its share it moves.
    """
    if not clip.scenario:
        actions = clip.actions.astype(np.float32)
        past = slice(0, clip.num_context - 1)
        kicks = np.array([draw() for _ in range(actions[past].size)]).reshape(actions[past].shape)
        actions[past] = np.clip(actions[past] + _SHAKEN * kicks, -1, 1)
        try:
            return record_clip(env, None, clip.seed, num_context=plan.context, horizon=plan.horizon, actions=actions)
        except EnvError as error:
            if "ended" not in str(error):
                raise
            return clip  # the shaken world ends early: nothing is known to be left open
    factors = getattr(env.unwrapped, "scene_card", {})["scenarios"][clip.scenario]["factors"]
    changes = {}
    for name, factor in factors.items():
        if "train" not in factor or factor["integer"]:
            continue
        low, high = factor["train"]
        least, most = factor.get("low", factor["train"])[0], factor.get("high", factor["train"])[1]
        moved = clip.variation[name] + PERTURBED * (high - low) * draw()
        changes[name] = float(np.clip(moved, least, most))
    return _again(env, plan, clip, changes)


def _wrong_scene(env: gym.Env, plan: Plan, clip: Clip) -> Clip:
    """Record another episode; on the bench its first object has the same colour, which would give it away."""
    if not clip.scenario:
        return _recorded(env, plan, None, clip.split, clip.seed + _WRONG)
    variation = {"change": "none", "hue": clip.variation["hue"]}
    return _recorded(env, plan, clip.scenario, clip.split, clip.seed + _WRONG, variation=variation)


def _changed_gravity(env: gym.Env, plan: Plan, clip: Clip) -> Clip | None:
    if "gravity" not in clip.variation:
        return None
    gravity = float(clip.variation["gravity"])
    return _again(env, plan, clip, {"gravity": gravity * (2.0 if gravity < 8 else 0.5)})
