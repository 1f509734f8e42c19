"""The state of imagined streams: a value that holds everything the next step depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import safetensors.torch
import torch

from worldsim.errors import CheckpointError
from worldsim.model.memory import Memory

__all__ = ["WorldState"]


@dataclass(frozen=True, kw_only=True)
class WorldState:
    """Everything that the next step of N streams depends on."""

    memory: Memory
    """Keys and values of the last P frames."""
    frames: torch.Tensor
    """(N, 2, H, W, 3) uint8, the last frame and the one before it."""
    text: torch.Tensor
    """(N, C) encoded prompt, followed by encoded factors where the model knows any; zeros for none."""
    age: torch.Tensor
    """(N,) int64 own predictions in a row, at most MAX_AGE."""
    step_count: torch.Tensor
    """(N,) int64 env steps since the start."""
    seeds: torch.Tensor
    """(N,) int64 noise seed."""

    @property
    def num_streams(self) -> int:
        """Number of streams N."""
        return len(self.seeds)

    @property
    def cache(self) -> torch.Tensor:
        """(N, L, 2, patches, heads, P, D / heads) keys and values of the last P frames; not to be written to."""
        return self.memory.cache

    def take(self, indices: Sequence[int] | np.ndarray) -> WorldState:
        """Return the state of some streams, in the given order; a stream may be taken twice."""
        rows = torch.as_tensor(np.asarray(indices, dtype=np.int64))
        return WorldState(
            memory=self.memory.take(rows),
            **{name: value[rows.to(value.device)] for name, value in self._tensors().items()},
        )

    def branch(self, n: int) -> WorldState:
        """Return a state with every stream n times, side by side; under the same actions they stay equal."""
        return self.take(np.repeat(np.arange(self.num_streams), n))

    @staticmethod
    def cat(states: Sequence[WorldState]) -> WorldState:
        """Return one state with the streams of all given ones."""
        if len(states) == 1:
            return states[0]
        parts = [state._tensors() for state in states]
        return WorldState(
            memory=Memory.cat([state.memory for state in states]),
            **{name: torch.cat([part[name] for part in parts]) for name in parts[0]},
        )

    def put(self, rows: Sequence[int] | np.ndarray, fresh: WorldState) -> WorldState:
        """Return the state with the streams of ``fresh`` in these rows."""
        where = torch.as_tensor(np.asarray(rows, dtype=np.int64))
        tensors = {name: value.clone() for name, value in self._tensors().items()}
        for name, value in fresh._tensors().items():
            tensors[name][where.to(value.device)] = value
        return WorldState(memory=self.memory.put(where, fresh.memory), **tensors)

    def compact(self) -> WorldState:
        """Return an equal state of about half the size, without room for the steps to come; the next step makes it."""
        return replace(self, memory=self.memory.compact())

    def to_bytes(self) -> bytes:
        """Return the state as safetensors bytes."""
        tensors = {"cache": self.cache, **self._tensors()}
        return safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()})

    @staticmethod
    def from_bytes(data: bytes) -> WorldState:
        """Return the state that `to_bytes` wrote.

        Raises:
            CheckpointError: If the bytes are not a whole state.
        """
        try:
            tensors = safetensors.torch.load(data)
            return WorldState(memory=Memory.of(tensors.pop("cache")), **tensors)
        except Exception as error:
            raise CheckpointError(f"these {len(data)} bytes are not a saved WorldState: {error}") from None

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "memory"}
