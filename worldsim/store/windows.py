"""Random windows for training: an endless stream whose order is a function of the seed, and whose state is one number.

All ranks walk one stream, each its own share of it. Without weights, every epoch of the stream shows every window of
the store once, in an order of its own; no permutation is held in memory. With weights, windows are drawn with
replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.errors import StoreError
from worldsim.store.store import RolloutStore

__all__ = ["WindowBatch", "Windows", "eventful", "rare", "recent"]


@dataclass(frozen=True)
class WindowBatch:
    """M windows of L steps."""

    index: np.ndarray
    """(M, 2) int64, episode and first step."""
    obs: np.ndarray
    """(M, L + 1, H, W, 3) uint8."""
    action: np.ndarray
    """(M, L, ...)."""
    reward: np.ndarray
    """(M, L) float32."""


class Windows:
    """An endless stream of batches of random windows of one version of a store.

    Args:
        store: Where they come from.
        length: Steps per window.
        batch_size: Windows per batch.
        seed: Decides the order.
        rank: Which share of the stream is this process's.
        num_ranks: How many shares there are.
        weights: How often windows are drawn, relative to each other: (len(store),) one per episode, or (num_windows,);
            see ``recent``, ``rare`` and ``eventful``. Each window once per epoch if None.

    Raises:
        StoreError: If no episode is long enough, or an argument is out of range.
    """

    def __init__(
        self,
        store: RolloutStore,
        length: int,
        *,
        batch_size: int = 32,
        seed: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
        weights: np.ndarray | None = None,
    ) -> None:
        if length < 1 or batch_size < 1 or not 0 <= rank < num_ranks:
            raise StoreError(
                f"windows need length >= 1, batch_size >= 1 and 0 <= rank < num_ranks; got {length}, {batch_size}, "
                f"{rank} of {num_ranks}"
            )
        self.store, self.length, self.batch_size, self.seed = store, length, batch_size, seed
        self._rank, self._num_ranks = rank, num_ranks
        counts = _counts(store, length)
        self._ends = np.cumsum(counts)  # (episodes,) index of the window behind the last of each episode
        self.num_windows = int(self._ends[-1]) if len(counts) else 0
        """Windows of all ranks, one epoch of the stream."""
        if not self.num_windows:
            longest = int(store.lengths.max()) if len(store) else 0
            raise StoreError(
                f"windows need episodes of at least {length} steps; the longest of {store.path} has {longest}"
            )
        self._cumulative = None if weights is None else _cumulative(weights, counts)
        self._drawn = 0

    def __iter__(self) -> Iterator[WindowBatch]:
        """Yield batches without end."""
        while True:
            yield self.next()

    @property
    def epoch(self) -> int:
        """How often the stream has shown every window."""
        return self._drawn * self._num_ranks // self.num_windows

    def next(self, out: WindowBatch | None = None) -> WindowBatch:
        """Return the next batch.

        Args:
            out: Arrays to fill, for example those of an earlier batch; allocated if None.

        Raises:
            StoreError: If ``out`` has other shapes, or a chunk is damaged; the stream then stays where it was.
        """
        batch = out or self.empty_batch()
        if batch.reward.shape[1:] != (self.length,):
            raise StoreError(f"out must hold windows of {self.length} steps; got {batch.reward.shape[1:]}")
        draws = (self._drawn + np.arange(len(batch.index))) * self._num_ranks + self._rank
        batch.index[:] = self._windows_of(draws)
        self.store.read_windows(batch.index, batch.obs, batch.action, batch.reward)
        self._drawn += len(batch.index)
        return batch

    def empty_batch(self) -> WindowBatch:
        """Return arrays of the right shapes, to be filled by ``next``."""
        schema, shape = self.store.schema, (self.batch_size, self.length)
        return WindowBatch(
            index=np.zeros((self.batch_size, 2), np.int64),
            obs=np.zeros((self.batch_size, self.length + 1, schema.height, schema.width, 3), np.uint8),
            action=np.zeros((*shape, *schema.action_shape), schema.action_dtype),
            reward=np.zeros(shape, np.float32),
        )

    def state(self) -> dict[str, int]:
        """Return where the stream is, as JSON values; the same for all ranks after the same number of batches."""
        return {**self._identity(), "drawn": self._drawn * self._num_ranks}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken, also with another number of ranks.

        Raises:
            StoreError: If it was taken from windows of another length, seed or store.
        """
        wanted = self._identity()
        got = {name: state.get(name) for name in wanted}
        if got != wanted:
            raise StoreError(
                f"the state is of other windows: expected {wanted}, got {got}; open that version, or start anew"
            )
        self._drawn = -(-int(state["drawn"]) // self._num_ranks)

    def _identity(self) -> dict[str, int]:
        return {
            "seed": self.seed,
            "length": self.length,
            "num_windows": self.num_windows,
            "version": self.store.version,
            "weighted": int(self._cumulative is not None),
        }

    def _windows_of(self, draws: np.ndarray) -> np.ndarray:
        """Return (M, 2) episode and first step of some draws of the stream."""
        if self._cumulative is None:
            epochs, places = np.divmod(draws, self.num_windows)
            windows = np.empty(len(draws), np.int64)
            for epoch in np.unique(epochs):
                here = epochs == epoch
                windows[here] = _permuted(places[here], self.num_windows, _hash(self.seed, np.array([epoch]))[0])
        else:
            uniform = (_hash(self.seed, draws) >> np.uint64(11)) * 2.0**-53  # in [0, 1)
            windows = np.searchsorted(self._cumulative, uniform * self._cumulative[-1], side="right")
        episodes = np.searchsorted(self._ends, windows, side="right")
        firsts = np.concatenate([[0], self._ends])[episodes]
        return np.stack([episodes, windows - firsts], axis=1)


def recent(store: RolloutStore, half_life: float) -> np.ndarray:
    """Return weights per episode that halve with every ``half_life`` episodes that came after."""
    return 0.5 ** (np.arange(len(store))[::-1] / half_life)


def rare(store: RolloutStore, factor: str) -> np.ndarray:
    """Return weights per episode that give every value of a factor of variation the same number of windows or so.

    Raises:
        StoreError: If an episode does not have the factor.
    """
    values = []
    for i in range(len(store)):
        variation = store.info(i).variation
        if factor not in variation:
            raise StoreError(f"episode {i} has no factor {factor!r}; it has {', '.join(variation) or 'none'}")
        values.append(str(variation[factor]))
    _, kind = np.unique(values, return_inverse=True)
    return (1 / np.bincount(kind, weights=store.lengths))[kind]


def eventful(
    store: RolloutStore, length: int, is_event: Callable[[int], np.ndarray], *, share: float = 0.5
) -> np.ndarray:
    """Return weights per window that give those with an event a share of all draws.

    Args:
        store: Where the windows are.
        length: Steps per window.
        is_event: Called with each episode; returns (T,) bool, for example ``lambda i: store.rewards(i) < -1``.
        share: Of the draws, between 0 and 1.

    Raises:
        StoreError: If no window, or every window, has an event.
    """
    parts = []
    for i in np.flatnonzero(_counts(store, length)).tolist():
        seen = np.concatenate([[0], np.cumsum(is_event(i))])
        parts.append(seen[length:] > seen[:-length])
    has_event = np.concatenate(parts) if parts else np.zeros(0, bool)
    num_events = int(has_event.sum())
    if num_events in (0, len(has_event)):
        raise StoreError(
            f"weights by event need windows with and without one; {num_events} of {len(has_event)} have one"
        )
    return np.where(has_event, share / num_events, (1 - share) / (len(has_event) - num_events))


def _counts(store: RolloutStore, length: int) -> np.ndarray:
    """Return how many windows each episode has."""
    return np.maximum(store.lengths - length + 1, 0)


def _cumulative(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    total = int(counts.sum())
    if weights.shape not in {(len(counts),), (total,)}:
        raise StoreError(f"weights must be ({len(counts)},) per episode or ({total},) per window; got {weights.shape}")
    each = np.asarray(weights if len(weights) == total else np.repeat(weights, counts), np.float64)
    if not np.isfinite(each).all() or (each < 0).any() or not each.any():
        raise StoreError("weights must be finite, not negative, and not all zero")
    return np.cumsum(each)


def _permuted(places: np.ndarray, size: int, key: np.uint64) -> np.ndarray:
    """Return where a pseudo-random permutation of 0 to size - 1 takes some places.

    A Feistel network permutes the next power of four; what falls outside goes through it again (Black and Rogaway,
    2002).
    """
    half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
    mask = (np.uint64(1) << half) - np.uint64(1)
    values = places.astype(np.uint64)
    outside = np.ones(len(values), bool)
    while outside.any():
        left, right = values[outside] >> half, values[outside] & mask
        for turn in range(4):
            left, right = right, left ^ (_mix(right ^ _mix(key ^ np.uint64(turn))) & mask)
        values[outside] = (left << half) | right
        outside = values >= size
    return values.astype(np.int64)


def _hash(seed: int, numbers: np.ndarray) -> np.ndarray:
    """Return 64 random bits per number (uint64), a pure function of both."""
    return _mix(_mix(np.array([seed], np.int64).astype(np.uint64)) ^ numbers.astype(np.uint64))


def _mix(x: np.ndarray | np.uint64) -> Any:
    """Scramble 64 bits (the finaliser of SplitMix64)."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
