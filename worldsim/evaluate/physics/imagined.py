"""What a model imagined, by the key of the request, kept in a rollout store so that every score can be made again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.evaluate.physics.candidates import Request
from worldsim.rollout import Rollout
from worldsim.store import RolloutStore

__all__ = ["Imagined"]

_RUN_ID = "physics"


class Imagined:
    """The continuations of a run.

    Args:
        folder: Of the store; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._store = RolloutStore.open_or_create(folder)
        self._index: dict[str, int] = {}
        self._known = 0
        self._refresh()

    def __contains__(self, key: str) -> bool:
        return key in self._index

    def read(self, key: str) -> np.ndarray:
        """Return the frames (T, H, W, 3) of a request."""
        return self._store.episode(self._index[key]).obs[1:]

    def add(self, requests: Sequence[Request], frames: Sequence[np.ndarray], **world: Any) -> None:
        """Keep the frames (T, H, W, 3) of some requests; ``world`` are further fields of their rollouts."""
        rollouts = [
            Rollout(
                obs=np.concatenate([request.frames[-1:], seen]),
                action=request.actions,
                reward=np.zeros(len(seen), np.float32),
                terminated=np.zeros(len(seen), bool),
                truncated=np.arange(len(seen)) == len(seen) - 1,
                seed=request.seed,
                variation={"request": request.key, "prompt": request.prompt or ""},
                source="imagined",
                **world,
            )
            for request, seen in zip(requests, frames, strict=True)
        ]
        self._store.append(rollouts, run_id=_RUN_ID, keys=[request.key for request in requests])
        self._refresh()

    def _refresh(self) -> None:
        for episode in range(self._known, len(self._store)):
            self._index[str(self._store.info(episode).variation["request"])] = episode
        self._known = len(self._store)
