"""A Minari dataset, written and read by Minari itself, with frames as raw arrays instead of its lossy default.

Captions, variation and provenance stand in ``worldsim.jsonl`` beside it; states of bodies are its ``infos``. The path
is the dataset's directory: ``MinariDataset(path / "data")`` opens it, and so does ``minari.load_dataset`` with
``MINARI_DATASETS_PATH`` set to its parent.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.errors import MissingExtraError, StoreError
from worldsim.store.formats.episodes import Item, Progress, build, describe
from worldsim.store.store import RolloutStore

__all__ = ["is_at", "read", "write"]

_FACTS = "worldsim.jsonl"


def is_at(path: Path) -> bool:
    """Return whether a path is the directory of a Minari dataset."""
    return (path / "data" / "metadata.json").exists()


def write(store: RolloutStore, path: Path, progress: Progress) -> list[str]:
    """Write a store as a Minari dataset."""
    from importlib.metadata import version

    storage_class, buffer_class = _minari()
    (path / "data").mkdir(parents=True)
    losses = ["Minari shows no captions, variation or provenance; they stand in worldsim.jsonl beside its data"]
    action_space, is_known = _action_space(store)
    if not is_known:
        losses.append("the bounds of the action space are those of the actions that occur")
    ids = {store.info(i).env_id for i in range(len(store))}
    spec = _env_spec(store) if len(ids) == 1 else None
    if spec is None:
        losses.append("no env can be recovered from it: the env is not registered, or there are several")
    storage = storage_class.new(
        path / "data",
        observation_space=gym.spaces.Box(0, 255, (store.height, store.width, 3), np.uint8),
        action_space=action_space,
        env_spec=spec,
        data_format="hdf5",
        jpeg_encoding=False,
    )
    storage.update_metadata({"dataset_id": path.name, "minari_version": version("minari")})
    with open(path / "data" / _FACTS, "x", encoding="utf-8") as facts:
        for i in range(len(store)):
            rollout = store.episode(i)
            buffer = buffer_class(
                id=i,
                seed=rollout.seed,
                observations=rollout.obs,  # pyright: ignore[reportArgumentType]
                actions=rollout.action,  # pyright: ignore[reportArgumentType]
                rewards=rollout.reward,  # pyright: ignore[reportArgumentType]
                terminations=rollout.terminated,  # pyright: ignore[reportArgumentType]
                truncations=rollout.truncated,  # pyright: ignore[reportArgumentType]
                infos={"state": dict(rollout.state)} if rollout.state else None,
            )
            storage.update_episodes([buffer])
            facts.write(json.dumps(describe(store, i), ensure_ascii=False) + "\n")
            progress(i + 1)
    return losses


def read(path: Path) -> Iterator[Item]:
    """Yield the episodes of a Minari dataset whose observations are images.

    Raises:
        StoreError: If its observations are something else.
    """
    storage_class, _ = _minari()
    storage = storage_class.read(path / "data")
    sidecar = path / "data" / _FACTS
    lines = sidecar.read_text(encoding="utf-8").splitlines() if sidecar.exists() else []
    metadata = storage_class.read_raw_metadata(path / "data")
    foreign = {"env_id": json.loads(metadata.get("env_spec") or "{}").get("id") or ""}
    for i in range(storage.total_episodes):
        (episode,) = storage.get_episodes([i])
        facts = json.loads(lines[i]) if lines else foreign
        obs = episode["observations"]
        if not isinstance(obs, np.ndarray):
            raise StoreError(f"only image observations can be imported; {path} has {storage.observation_space}")
        states = (episode["infos"] or {}).get("state") if lines else None
        yield build(
            facts,
            obs=obs,
            action=np.asarray(episode["actions"]),
            reward=episode["rewards"],
            terminated=episode["terminations"],
            truncated=episode["truncations"],
            state={body: states[body] for body in facts["bodies"]} if states else None,
        )


def _action_space(store: RolloutStore) -> tuple[gym.Space, bool]:
    """Return the action space, and whether its bounds are known and not only seen."""
    actions = np.concatenate([store.actions(i) for i in range(len(store))])
    if actions.dtype.kind == "f":
        is_known = bool(store.info(0).action_spec)  # every action with a spec is normalised
        low, high = (-1.0, 1.0) if is_known else (actions.min(), actions.max())
        return gym.spaces.Box(low, high, actions.shape[1:], actions.dtype.type), is_known
    most = actions.max(axis=0) + 1
    return (gym.spaces.Discrete(int(most)) if actions.ndim == 1 else gym.spaces.MultiDiscrete(most)), False


def _env_spec(store: RolloutStore) -> Any:
    info = store.info(0)
    try:
        spec = copy.deepcopy(gym.spec(info.env_id))  # the registry holds the original
    except gym.error.Error:
        return None
    spec.kwargs = {**spec.kwargs, **info.spec}
    return spec


def _minari() -> tuple[Any, Any]:
    try:
        from minari.data_collector import EpisodeBuffer
        from minari.dataset.minari_storage import MinariStorage
    except ImportError:
        raise MissingExtraError("minari", "minari", "read and write Minari datasets") from None
    return MinariStorage, EpisodeBuffer
