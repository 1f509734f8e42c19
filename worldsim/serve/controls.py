"""How keys, sticks and buttons become actions of any space.

The page knows axes from -1 to 1, each with two keys, or numbered choices; what they mean is said here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.errors import ActionError
from worldsim.rollout import ActionDim

__all__ = ["controls_of", "to_action"]

_TURNS = frozenset({"steer", "steering", "turn", "yaw"})
"""Axes whose positive side is left, as angles are counted."""
_SIDEWAYS = (("ArrowLeft", "KeyA"), ("ArrowRight", "KeyD"))
_ALONG = (("ArrowDown", "KeyS"), ("ArrowUp", "KeyW"))
_FURTHER = ((("KeyQ",), ("KeyE",)), (("KeyJ",), ("KeyL",)), (("KeyK",), ("KeyI",)))
"""Keys of the third axis and on; later ones rest."""


def controls_of(space: gym.Space, action_spec: Sequence[ActionDim] = ()) -> dict[str, Any]:
    """Return what the page needs to make actions of a space, as JSON values.

    ``axes``: each with ``name``, ``low`` and ``high`` (the keys of its two ends), ``reach`` (how far a key goes; Shift
    goes to 1) and ``rate`` (per second; how fast it gets there); ``choices``: number of choices per discrete dimension.
    """
    if not isinstance(space, gym.spaces.Box):
        return {"axes": [], "choices": _counts(space)}
    axes = []
    for i in range(int(np.prod(space.shape))):
        name = action_spec[i].name if i < len(action_spec) else f"axis {i}"
        low, high = (_SIDEWAYS, _ALONG, *_FURTHER)[i] if i < 2 + len(_FURTHER) else ((), ())
        is_turn = name in _TURNS
        if is_turn:
            low, high = high, low
        axes.append(
            {
                "name": name,
                "low": list(low),
                "high": list(high),
                "reach": 0.5 if is_turn else 1.0,
                "rate": 3.0 if is_turn else 8.0,
            }
        )
    return {"axes": axes, "choices": []}


def to_action(space: gym.Space, axes: Sequence[float], choices: Sequence[int]) -> np.ndarray:
    """Return an action of a space: an axis at 0 rests (0, or the nearest value there is), at -1 and 1 it is at its end.

    Raises:
        ActionError: If the numbers do not fit the space.
    """
    if isinstance(space, gym.spaces.Box):
        if len(axes) != int(np.prod(space.shape)):
            raise ActionError(f"this world has {int(np.prod(space.shape))} axes; got {len(axes)}")
        value = np.asarray(axes, np.float32).reshape(space.shape)  # in [-1, 1]
        rest = np.clip(0, space.low, space.high)
        toward = np.where(value > 0, space.high - rest, rest - space.low)
        return np.clip(rest + value * toward, space.low, space.high).astype(np.float32)
    counts = _counts(space)
    if len(choices) != len(counts) or any(not 0 <= c < n for c, n in zip(choices, counts, strict=True)):
        raise ActionError(f"this world has choices of {counts}; got {list(choices)}")
    start = space.start if isinstance(space, gym.spaces.Discrete) else 0
    return np.asarray(choices, np.int64).reshape(space.shape or ()) + start


def _counts(space: gym.Space) -> list[int]:
    if isinstance(space, gym.spaces.Discrete):
        return [int(space.n)]
    return [int(n) for n in space.nvec]  # pyright: ignore[reportAttributeAccessIssue]
