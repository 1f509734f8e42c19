"""What acts while a store is filled: the env's own policies, else smooth random actions.

A smooth action holds its direction for about a second, so that what it does can be seen in the frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.errors import EnvError
from worldsim.rollout import Policy, control_dt_of

__all__ = ["policies_of", "smooth_random"]


def policies_of(env: gym.Env) -> Mapping[str, Callable[[int], Policy]]:
    """Return the policies of an env by name, each ``make(seed) -> policy``; ``mixture`` is always among them.

    Raises:
        EnvError: If it has none of its own and its action space is not Box, Discrete or MultiDiscrete.
    """
    own = getattr(env.unwrapped, "policies", None)
    if own is not None:
        return own
    space, control_dt = env.action_space, control_dt_of(env)
    if not isinstance(space, gym.spaces.Box | gym.spaces.Discrete | gym.spaces.MultiDiscrete):
        raise EnvError(f"random actions need a Box, Discrete or MultiDiscrete action space; got {space}")
    return {"mixture": lambda seed: smooth_random(space, control_dt, seed)}


def smooth_random(space: gym.Space, control_dt: float, seed: int) -> Policy:
    """Return a policy of random actions that change slowly.

    Box actions follow an Ornstein-Uhlenbeck process over the whole range with a time constant drawn per episode between
    0.3 and 2 s; discrete ones are held for a geometric time of 0.5 s on average. Infinite bounds count as 1.
    """
    rng = np.random.default_rng(seed)
    if isinstance(space, gym.spaces.Box):
        return _smooth_box(space, control_dt, rng)
    return _held_discrete(space, control_dt, rng)


def _smooth_box(space: gym.spaces.Box, control_dt: float, rng: np.random.Generator) -> Policy:
    low, high = np.where(np.isfinite(space.low), space.low, -1.0), np.where(np.isfinite(space.high), space.high, 1.0)
    keep = np.exp(-control_dt / rng.uniform(0.3, 2.0))
    value = rng.normal(size=space.shape)

    def policy(obs: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
        nonlocal value
        value = keep * value + np.sqrt(1 - keep**2) * rng.normal(size=space.shape)  # unit variance
        unit = np.clip(0.5 + 0.35 * value, 0, 1)
        return np.clip(low + unit * (high - low), low, high).astype(space.dtype)

    return policy


def _held_discrete(space: gym.Space, control_dt: float, rng: np.random.Generator) -> Policy:
    change = min(1.0, control_dt / 0.5)
    low = space.start  # pyright: ignore[reportAttributeAccessIssue]
    count = space.n if isinstance(space, gym.spaces.Discrete) else space.nvec  # pyright: ignore[reportAttributeAccessIssue]
    held = rng.integers(low, low + count)

    def policy(obs: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
        nonlocal held
        if rng.random() < change:
            held = rng.integers(low, low + count)
        return np.asarray(held, space.dtype)

    return policy
