"""What an env remembers of its episode so that it can be rewound: a snapshot now and then, and every action.

Imagination is a function of state and action, so a moment between two snapshots is found again, bit for bit, by
repeating the actions that led to it. A long episode costs little memory that way.
"""

from __future__ import annotations

import numpy as np

from worldsim.errors import EnvError
from worldsim.sim.stream import Snapshot

__all__ = ["KEYFRAME_EVERY", "Tape"]

KEYFRAME_EVERY = 32
"""Steps between two kept snapshots: the most that a rewind has to imagine again."""


class Tape:
    """The episode since a first moment.

    Args:
        first: The moment of the reset, or of a restored snapshot.
    """

    def __init__(self, first: Snapshot) -> None:
        self._keyframes = [first]
        self._actions: list[np.ndarray] = []

    def record(self, action: np.ndarray, now: Snapshot) -> None:
        """Add a step: the action and the moment that it led to."""
        self._actions.append(np.array(action))
        if now.elapsed - self._keyframes[-1].elapsed >= KEYFRAME_EVERY:
            self._keyframes.append(now)

    def mark(self, now: Snapshot) -> None:
        """Keep a moment that no action led to, such as the one after a prompt."""
        self._keyframes.append(now)

    def cut(self, num_steps: int) -> tuple[Snapshot, list[np.ndarray]]:
        """Forget the last steps; return the nearest kept moment before and the actions that lead on from it.

        Raises:
            EnvError: If the tape is shorter.
        """
        if not 0 <= num_steps <= len(self._actions):
            raise EnvError(
                f"rewind goes back 0 to {len(self._actions)} steps here, to the last reset or restore; got {num_steps}"
            )
        first = self._keyframes[0].elapsed
        kept = len(self._actions) - num_steps
        del self._actions[kept:]
        self._keyframes = [keyframe for keyframe in self._keyframes if keyframe.elapsed <= first + kept]
        nearest = self._keyframes[-1]
        return nearest, self._actions[nearest.elapsed - first :]
