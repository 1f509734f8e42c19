"""What an env remembers of its past so that it can be rewound: a moment now and then, and every action.

Imagination is a function of state and action, so a moment between two kept ones is found again, bit for bit, by
repeating the actions that led to it. A long episode costs little memory that way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from worldsim.errors import EnvError

__all__ = ["KEYFRAME_EVERY", "Tape"]

KEYFRAME_EVERY = 32
"""Steps between two kept moments: the most that a rewind has to imagine again."""

Moment = TypeVar("Moment")


class Tape(Generic[Moment]):
    """The past since a first moment.

    Args:
        first: The moment of the reset, or of a restored snapshot.
        limit: Steps that can be cut off at least; what is older is forgotten. None keeps all.
    """

    def __init__(self, first: Moment, limit: int | None = None) -> None:
        self._limit = limit
        self._keyframes = [(0, first)]  # (steps since the first moment, moment)
        self._actions: list[np.ndarray] = []  # since the oldest keyframe
        self._num_steps = 0

    def record(self, action: Any, now: Callable[[], Moment]) -> None:
        """Add a step: the action, and how to get the moment that it led to."""
        self._actions.append(np.array(action))
        self._num_steps += 1
        if self._num_steps - self._keyframes[-1][0] >= KEYFRAME_EVERY:
            self._keyframes.append((self._num_steps, now()))
        while self._limit is not None and len(self._keyframes) > 1:
            oldest, second = self._keyframes[0][0], self._keyframes[1][0]
            if second > self._num_steps - self._limit:
                break
            del self._keyframes[0], self._actions[: second - oldest]

    def mark(self, now: Moment) -> None:
        """Keep a moment that no action led to, such as the one after a prompt."""
        self._keyframes.append((self._num_steps, now))

    def cut(self, num_steps: int) -> tuple[Moment, list[np.ndarray]]:
        """Forget the last steps; return the nearest kept moment before and the actions that lead on from it.

        Raises:
            EnvError: If the tape is shorter.
        """
        longest = len(self._actions) if self._limit is None else min(len(self._actions), self._limit)
        if not 0 <= num_steps <= longest:
            raise EnvError(
                f"rewind goes back 0 to {longest} steps here, to the last reset or restore; got {num_steps}"
                if self._limit is None or len(self._actions) < self._limit
                else f"rewind goes back 0 to {longest} steps here, its limit; got {num_steps}"
            )
        self._num_steps -= num_steps
        oldest = self._keyframes[0][0]
        del self._actions[self._num_steps - oldest :]
        self._keyframes = [(at, moment) for at, moment in self._keyframes if at <= self._num_steps]
        at, nearest = self._keyframes[-1]
        return nearest, self._actions[at - oldest :]
