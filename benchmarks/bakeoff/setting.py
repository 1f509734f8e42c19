"""The data of a bake-off: opened once, the same for every arm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from design import World
from judge import Clips, make_clips

from worldsim.errors import StoreError
from worldsim.model import Vocabulary
from worldsim.store import RolloutStore
from worldsim.train.data import Dataset, by_seed
from worldsim.train.world import world_of

__all__ = ["Setting", "open_clips", "open_setting", "open_world"]

_SAMPLE_EPISODES, _SAMPLE_FRAMES = 24, 600


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all arms share."""

    world: World
    data: Dataset
    clips: Clips


def open_world(store: Path) -> World:
    """Return what designs are built for: the spaces of a store's world, its words, and a few of its frames.

    Raises:
        StoreError: If there is no store, or it is empty.
    """
    rollouts = RolloutStore.open(store)
    if len(rollouts) == 0:
        raise StoreError(f"{store} holds no episode; collect some first")
    spec, _ = world_of(rollouts)
    ordered = by_seed(rollouts)
    rng = np.random.default_rng(0)
    episodes = rng.permutation(len(rollouts))[:_SAMPLE_EPISODES]
    sample = Dataset(rollouts, spec, episodes=[ordered[i] for i in np.sort(episodes)])
    rows = rng.choice(sample.num_frames, min(_SAMPLE_FRAMES, sample.num_frames), replace=False)
    texts = [english for i in ordered for _, english, _ in rollouts.info(i).captions]
    return World(spec=spec, vocabulary=Vocabulary.from_texts(texts), frames=sample.frames[torch.from_numpy(rows)])


def open_clips(world: World, held_out: RolloutStore, num: int) -> Clips:
    """Return the clips that designs are judged by."""
    return make_clips(Dataset(held_out, world.spec, episodes=by_seed(held_out)), num)


def open_setting(
    store: Path, val: Path, *, num_clips: int, num_episodes: int | None, progress: Callable[[float], None]
) -> Setting:
    """Return the setting of a bake-off.

    Args:
        store: To learn from.
        val: Held-out episodes.
        num_clips: For the judge.
        num_episodes: So many episodes of ``store``, spread over it; all if None.
        progress: Called with the share that is loaded.

    Raises:
        StoreError: If a store is missing or empty, its episodes are too short, or both stores hold the same seeds.
    """
    world = open_world(store)
    rollouts, held_out = RolloutStore.open(store), RolloutStore.open(val)
    seeds = {rollouts.info(i).seed for i in range(len(rollouts))}
    shared = [seed for i in range(len(held_out)) if (seed := held_out.info(i).seed) in seeds and seed is not None]
    if shared:
        raise StoreError(f"{store} and {val} share {len(shared)} env seeds, {shared[0]} for one; hold out others")
    chosen = np.sort(np.random.default_rng(0).permutation(len(rollouts))[:num_episodes])
    ordered = by_seed(rollouts)
    data = Dataset(rollouts, world.spec, episodes=[ordered[i] for i in chosen], progress=progress)
    clips = open_clips(world, held_out, num_clips)
    return Setting(world=world, data=data, clips=clips)
