"""What the formats share: everything of an episode but its arrays, as JSON values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from worldsim.errors import StoreError
from worldsim.rollout import ActionDim, Caption, Event, Rollout
from worldsim.store.store import RolloutStore

__all__ = ["STEP_FIELDS", "Item", "Progress", "build", "describe", "has_states"]

Item = tuple[str, str | None, Rollout]
"""run_id, key and the rollout."""
Progress = Callable[[int], None]
"""Called with the number of episodes that are done."""
STEP_FIELDS = ("action", "reward", "terminated", "truncated")


def describe(store: RolloutStore, episode: int) -> dict[str, Any]:
    """Return everything of an episode but its arrays."""
    info = store.info(episode)
    return {
        "run_id": info.run_id,
        "key": info.key,
        "env_id": info.env_id,
        "spec": dict(info.spec),
        "control_dt": info.control_dt,
        "action_spec": [dict(dim) for dim in info.action_spec],
        "seed": info.seed,
        "policy": info.policy,
        "variation": dict(info.variation),
        "captions": [list(caption) for caption in info.captions],
        "events": [[t, dict(facts)] for t, facts in info.events],
        "bodies": None if info.bodies is None else list(info.bodies),
        "source": info.source,
        "model": info.model,
    }


def build(
    facts: Mapping[str, Any],
    *,
    obs: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    state: Mapping[str, np.ndarray] | None = None,
) -> Item:
    """Return an episode from its arrays and what ``describe`` said of it; a foreign one has no such facts.

    Raises:
        StoreError: If the frames are not RGB images.
    """
    if obs.ndim != 4 or obs.shape[-1] != 3 or obs.dtype != np.uint8:
        raise StoreError(f"only episodes of (T + 1, H, W, 3) uint8 frames can be imported; got {obs.shape} {obs.dtype}")
    rollout = Rollout(
        obs=obs,
        action=action,
        reward=reward.astype(np.float32),
        terminated=terminated.astype(bool),
        truncated=truncated.astype(bool),
        state=state,
        caption=tuple(Caption(*caption) for caption in facts.get("captions", ())),
        events=tuple(Event(*event) for event in facts.get("events", ())),
        env_id=facts.get("env_id", ""),
        spec=facts.get("spec", {}),
        control_dt=facts.get("control_dt", 0.1),
        action_spec=tuple(ActionDim(**dim) for dim in facts.get("action_spec", ())),
        seed=facts.get("seed"),
        policy=facts.get("policy", ""),
        variation=facts.get("variation", {}),
        source=facts.get("source", "truth"),
        model=facts.get("model"),
    )
    return facts.get("run_id", ""), facts.get("key"), rollout


def has_states(store: RolloutStore) -> bool:
    """Return whether any episode has the states of bodies."""
    return any(store.info(i).bodies for i in range(len(store)))
