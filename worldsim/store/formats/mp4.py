"""A folder with a film per episode, which any player shows, and a table of its steps beside it.

``episode_000000.mp4`` has T + 1 frames, ``episode_000000.csv`` T rows: action_0 .., reward, terminated, truncated.
Films are H.264; the export measures how far they are from the frames.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from worldsim.errors import StoreError
from worldsim.rollout import Rollout
from worldsim.store.formats.episodes import Item, Progress, build, describe, has_states
from worldsim.store.formats.films import FilmWriter, decibels, read_film
from worldsim.store.store import RolloutStore

__all__ = ["is_at", "read", "write"]

_FACTS = "episodes.jsonl"


def is_at(path: Path) -> bool:
    """Return whether a path is a folder of films."""
    return path.is_dir() and any(path.glob("*.mp4"))


def write(store: RolloutStore, path: Path, progress: Progress) -> list[str]:
    """Write a store as a folder of films and tables."""
    path.mkdir()
    squared, count = 0.0, 0
    with open(path / _FACTS, "x", encoding="utf-8") as facts:
        for i in range(len(store)):
            rollout, name = store.episode(i), f"episode_{i:06d}"
            _write_film(path / f"{name}.mp4", rollout)
            _write_table(path / f"{name}.csv", rollout)
            shape = list(rollout.action.shape[1:])
            line = {**describe(store, i), "bodies": None, "action": [rollout.action.dtype.name, shape]}
            facts.write(json.dumps(line, ensure_ascii=False) + "\n")
            error = read_film(path / f"{name}.mp4").astype(np.float32) - rollout.obs
            squared, count = squared + float((error**2).sum(dtype=np.float64)), count + error.size
            progress(i + 1)
    losses = [f"frames are lossy H.264: {decibels(squared, count):.1f} dB from the originals"]
    return [*losses, "the states of bodies have no place in it"] if has_states(store) else losses


def read(path: Path) -> Iterator[Item]:
    """Yield the episodes of a folder of films that each have a table, in the order of their names.

    Raises:
        StoreError: If a table is missing or does not fit its film.
    """
    sidecar = path / _FACTS
    lines = sidecar.read_text(encoding="utf-8").splitlines() if sidecar.exists() else []
    for i, film in enumerate(sorted(path.glob("*.mp4"))):
        facts = json.loads(lines[i]) if lines else {}
        columns = _read_table(film.with_suffix(".csv"))
        names = [name for name in columns if name.startswith("action")]
        dtype, shape = facts.get("action", ("float32", [len(names)]))
        values = [[np.dtype(dtype).type(value) for value in columns[name]] for name in names]
        num_steps = len(values[0]) if values else 0
        obs = read_film(film)
        if not values or len(obs) != num_steps + 1:
            raise StoreError(
                f"{film} has {len(obs)} frames; its table needs one row less, with action_0; got {num_steps}"
            )
        terminated = _flags(columns, "terminated", num_steps)
        is_last = np.arange(num_steps) == num_steps - 1
        yield build(
            facts,
            obs=obs,
            action=np.array(values, dtype).T.reshape(num_steps, *shape),
            reward=np.array(columns.get("reward", np.zeros(num_steps)), np.float32),
            terminated=terminated,
            truncated=_flags(columns, "truncated", num_steps) if "truncated" in columns else is_last & ~terminated,
        )


def _write_film(path: Path, rollout: Rollout) -> None:
    _, height, width, _ = rollout.obs.shape
    with FilmWriter(path, height, width, Fraction(1 / rollout.control_dt).limit_denominator(1000)) as film:
        film.add(rollout.obs)


def _write_table(path: Path, rollout: Rollout) -> None:
    actions = rollout.action.reshape(len(rollout), -1)
    with open(path, "x", newline="") as file:
        table = csv.writer(file)
        table.writerow([*(f"action_{k}" for k in range(actions.shape[1])), "reward", "terminated", "truncated"])
        for action, reward, *ends in zip(actions, rollout.reward, rollout.terminated, rollout.truncated, strict=True):
            table.writerow([*map(str, action), str(reward), *map(int, ends)])  # str of a float reads back exactly


def _read_table(path: Path) -> dict[str, list[str]]:
    if not path.exists():
        raise StoreError(f"{path} is missing; every film needs a table of its steps")
    with open(path, newline="") as file:
        names, *rows = csv.reader(file)
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def _flags(columns: dict[str, list[str]], name: str, num_steps: int) -> np.ndarray:
    return np.array([value.lower() in {"1", "true"} for value in columns.get(name, ["0"] * num_steps)], bool)
