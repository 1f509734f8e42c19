"""A store's frames in memory, and windows over them that depend on (seed, step) alone.

A run resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from worldsim.errors import StoreError, WorldsimError
from worldsim.model import ModelSpec, Start, encode_actions, encode_factors
from worldsim.rollout import Caption
from worldsim.store import RolloutStore

__all__ = ["Batch", "Dataset", "action_numbers", "by_seed", "factor_ranges", "mirrored"]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B windows of T steps."""

    frames: torch.Tensor
    """(B, T + 1, H, W, 3) uint8."""
    action: torch.Tensor
    """(B, T, A) float32, encoded."""
    reward: torch.Tensor
    """(B, T) float32."""
    terminated: torch.Tensor
    """(B, T) float32."""
    caption: torch.Tensor
    """(B, T) int64 row of `Dataset.captions`, -1 for none."""
    is_changed: torch.Tensor
    """(B,) bool, whether a caption is not the one that the episode began with: a change may be under way."""
    factors: torch.Tensor
    """(B, T, 2 K) float32, encoded; K = 0 for a model that knows none."""


class Dataset:
    """Every episode of a store, decoded.

    Args:
        store: Where the rollouts are.
        spec: Encodes the actions.
        episodes: Which ones; all if None.
        progress: Called with the share that is loaded.
    """

    def __init__(
        self,
        store: RolloutStore,
        spec: ModelSpec,
        *,
        episodes: Sequence[int] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self.episodes = list(range(len(store)) if episodes is None else episodes)
        self.lengths = np.array([store.info(i).length for i in self.episodes])
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths + 1)])
        rows = int(self.offsets[-1])
        self.frames = torch.empty((rows, store.height, store.width, 3), dtype=torch.uint8)
        self.action = torch.zeros((rows, spec.action_dim))
        self.reward = torch.zeros(rows)
        self.terminated = torch.zeros(rows)
        self.caption = torch.full((rows,), -1, dtype=torch.long)
        self.factors = torch.zeros((rows, 2 * len(spec.factor_names)))
        self.raw_actions: list[np.ndarray] = []
        texts: dict[tuple[str, str], int] = {}
        for i, episode in enumerate(self.episodes):
            rollout = store.episode(episode)
            first, length = int(self.offsets[i]), len(rollout)
            self.frames[first : first + length + 1] = torch.from_numpy(np.ascontiguousarray(rollout.obs))
            self.action[first : first + length] = torch.from_numpy(encode_actions(spec, rollout.action))
            self.reward[first : first + length] = torch.from_numpy(rollout.reward.astype(np.float32))
            self.terminated[first : first + length] = torch.from_numpy(rollout.terminated.astype(np.float32))
            self.factors[first : first + length + 1] = torch.from_numpy(encode_factors(spec, [rollout.variation]))
            self.raw_actions.append(rollout.action)
            for caption in rollout.caption:
                row = texts.setdefault((caption.en, caption.zh), len(texts))
                self.caption[first + caption.t : first + length + 1] = row
            if progress is not None:
                progress((i + 1) / len(self.episodes))
        self.captions = list(texts)

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.frames)

    def mean_change(self, num_frames: int = 4096) -> float:
        """Return the mean squared levels between two frames, of some frames that are always the same."""
        rng = np.random.default_rng(0)
        episode = rng.choice(len(self.lengths), num_frames, p=self.lengths / self.lengths.sum())
        rows = torch.from_numpy(self.offsets[episode] + rng.integers(self.lengths[episode]))
        return float((self.frames[rows + 1].float() - self.frames[rows].float()).square().mean())

    def windows(self, length: int, *, lead: int = 0) -> np.ndarray:
        """Return (M,) rows at which a window of ``length`` steps fits into its episode, ``lead`` steps after its start.

        Raises:
            StoreError: If no episode is long enough; with a ``lead`` none need be.
        """
        rows = [
            np.arange(self.offsets[i] + lead, self.offsets[i] + n - length + 1)
            for i, n in enumerate(self.lengths)
            if n >= length + lead
        ]
        if lead and not rows:
            return np.zeros(0, np.int64)
        if not rows:
            raise StoreError(
                f"training needs episodes of at least {length} steps; the longest here has {self.lengths.max()}"
            )
        return np.concatenate(rows)

    def ends(self, rows: np.ndarray, length: int) -> np.ndarray:
        """Return (M,) which windows of ``length`` steps hold a terminated step."""
        ended = np.concatenate([[0], np.cumsum(self.terminated.numpy())])
        return ended[rows + length] > ended[rows]

    def changes(self, rows: np.ndarray, length: int) -> np.ndarray:
        """Return (M,) which windows of ``length`` steps see the caption change after their first step."""
        caption = self.caption.numpy()
        changed = np.concatenate([[0, 0], np.cumsum(caption[1:] != caption[:-1])])  # before row i
        return changed[rows + length + 1] > changed[rows + 2]

    def take(self, rows: np.ndarray, length: int) -> Batch:
        """Return the windows of ``length`` steps that begin at some rows."""
        steps = torch.from_numpy(rows)[:, None] + torch.arange(length + 1)  # (B, T + 1)
        acts = steps[:, :-1]
        caption = self.caption[steps[:, 1:]]
        starts = self.offsets[np.searchsorted(self.offsets, rows, side="right") - 1]
        return Batch(
            frames=self.frames[steps],
            action=self.action[acts],
            reward=self.reward[acts],
            terminated=self.terminated[acts],
            caption=caption,
            is_changed=(caption != self.caption[starts][:, None]).any(dim=1),
            factors=self.factors[acts],
        )

    def starts(self, num_starts: int, context: int, seed: int) -> list[Start]:
        """Return contexts from distinct episodes, spread over their captions."""
        rng = np.random.default_rng(seed)
        usable = [i for i in rng.permutation(len(self.episodes)) if self.lengths[i] >= context + 1]
        groups: dict[int, list[int]] = {}
        for i in usable:
            groups.setdefault(int(self.caption[self.offsets[i]]), []).append(int(i))
        order = [
            group[k]
            for k in range(max(map(len, groups.values()), default=0))
            for group in groups.values()
            if k < len(group)
        ]
        result = []
        for i in order[:num_starts]:
            t = int(rng.integers(0, self.lengths[i] - context + 1))
            first = int(self.offsets[i]) + t
            row = int(self.caption[first + context - 1])
            en, zh = self.captions[row] if row >= 0 else ("", "")
            frames = self.frames[first : first + context].numpy().copy()
            result.append(
                Start(frames=frames, actions=self.raw_actions[i][t : t + context - 1], caption=Caption(0, en, zh))
            )
        return result


def by_seed(store: RolloutStore) -> list[int]:
    """Return the episodes of a store in the order of their seeds.

    Several workers write episodes as they end, in another order each time; so ordered, a store that was collected again
    gives the same windows.
    """
    seeds = [store.info(i).seed for i in range(len(store))]
    return sorted(range(len(store)), key=lambda i: (seeds[i] is None, seeds[i] or 0))


def mirrored(batch: Batch, which: np.ndarray, signs: Sequence[int]) -> Batch:
    """Return a batch with some windows seen in a mirror, left to right.

    Args:
        batch: B windows.
        which: (B,) bool.
        signs: Numbers of the action that change their sign.
    """
    turned = torch.from_numpy(which)
    action = batch.action.clone()
    action[..., list(signs)] *= torch.where(turned, -1.0, 1.0)[:, None, None]
    return replace(
        batch, frames=torch.where(turned[:, None, None, None, None], batch.frames.flip(3), batch.frames), action=action
    )


def action_numbers(spec: ModelSpec, names: Sequence[int | str]) -> tuple[int, ...]:
    """Return the numbers of actions that are given by name or number and can be mirrored.

    Raises:
        WorldsimError: If there is no such action, or its two ends are not each other's mirror image.
    """
    if names and spec.action_kind != "box":
        raise WorldsimError(f"mirror needs a Box action space; this one is {spec.action_kind}")
    known = [dim.name for dim in spec.action_spec]
    numbers = []
    for name in names:
        number = known.index(str(name)) if str(name) in known else int(name) if str(name).isdigit() else -1
        if not 0 <= number < spec.action_dim:
            raise WorldsimError(
                f"mirror: there is no action {name!r}; name one of {', '.join(known) or 'none'}, or give a number "
                f"from 0 to {spec.action_dim - 1}"
            )
        if spec.action_low[number] != -spec.action_high[number]:
            raise WorldsimError(
                f"mirror: action {name!r} goes from {spec.action_low[number]:g} to {spec.action_high[number]:g}, which "
                "is not the same to both sides"
            )
        numbers.append(number)
    return tuple(numbers)


def factor_ranges(store: RolloutStore, names: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a `ModelSpec` that name some numeric factors and their ranges in a store.

    Raises:
        StoreError: If a factor is in no episode's variation, is no number, or never changes.
    """
    variations = [store.info(i).variation for i in range(len(store))] if names else []
    low, high = [], []
    for name in names:
        values = [variation[name] for variation in variations if variation.get(name) is not None]
        numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if not numbers or len(numbers) < len(values) or min(numbers) == max(numbers):
            known = sorted({key for variation in variations for key in variation})
            raise StoreError(
                f"factor {name!r} must be a number that differs between episodes; got {values[:3]}; the episodes vary "
                f"in {', '.join(known) or 'nothing'}"
            )
        low.append(min(numbers))
        high.append(max(numbers))
    return {"factor_names": tuple(names), "factor_low": tuple(low), "factor_high": tuple(high)}
