"""Actions of a batch of streams as one array. Whether they lie in the space is checked where the model encodes them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.errors import ActionError

__all__ = ["action_batch", "neutral_actions"]


def action_batch(actions: Any, space: gym.Space, num: int) -> np.ndarray:
    """Return ``num`` actions as an array (num, *A).

    Raises:
        ActionError: If the shape is another one.
    """
    shape = (num, *(space.shape or ()))
    try:
        batch = np.asarray(actions)
    except ValueError:
        raise ActionError(f"expected {num} action(s) of {space}; got {actions!r}") from None
    if batch.shape != shape:
        raise ActionError(f"expected {num} action(s) of {space}: an array of shape {shape}; got shape {batch.shape}")
    return batch


def neutral_actions(space: gym.Space, num: int) -> np.ndarray:
    """Return ``num`` actions (num, *A) that say as little as the space allows: zero, or its nearest value."""
    if isinstance(space, gym.spaces.Box):
        return np.repeat(np.clip(np.zeros(space.shape, space.dtype), space.low, space.high)[None], num, axis=0)
    start = space.start if isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete) else 0
    return np.full((num, *(space.shape or ())), start, dtype=np.int64)
