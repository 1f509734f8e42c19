"""A store's frames in memory, and windows over them that depend on (seed, step) alone.

A run resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from worldsim.errors import StoreError
from worldsim.model import ModelSpec, Start, encode_actions
from worldsim.rollout import Caption
from worldsim.store import RolloutStore

__all__ = ["Batch", "Dataset", "bytes_needed", "mirrored"]


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


def bytes_needed(store: RolloutStore) -> int:
    """Return the memory that a `Dataset` of a store takes."""
    return store.num_frames * store.height * store.width * 3


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
        self.raw_actions: list[np.ndarray] = []
        texts: dict[tuple[str, str], int] = {}
        for i, episode in enumerate(self.episodes):
            rollout = store.episode(episode)
            first, length = int(self.offsets[i]), len(rollout)
            self.frames[first : first + length + 1] = torch.from_numpy(np.ascontiguousarray(rollout.obs))
            self.action[first : first + length] = torch.from_numpy(encode_actions(spec, rollout.action))
            self.reward[first : first + length] = torch.from_numpy(rollout.reward.astype(np.float32))
            self.terminated[first : first + length] = torch.from_numpy(rollout.terminated.astype(np.float32))
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

    def windows(self, length: int) -> np.ndarray:
        """Return (M,) rows at which a window of ``length`` steps fits into its episode.

        Raises:
            StoreError: If no episode is long enough.
        """
        rows = [
            np.arange(self.offsets[i], self.offsets[i] + n - length + 1)
            for i, n in enumerate(self.lengths)
            if n >= length
        ]
        if not rows:
            raise StoreError(
                f"training needs episodes of at least {length} steps; the longest here has {self.lengths.max()}"
            )
        return np.concatenate(rows)

    def ends(self, rows: np.ndarray, length: int) -> np.ndarray:
        """Return (M,) which windows of ``length`` steps hold a terminated step."""
        ended = np.concatenate([[0], np.cumsum(self.terminated.numpy())])
        return ended[rows + length] > ended[rows]

    def take(self, rows: np.ndarray, length: int) -> Batch:
        """Return the windows of ``length`` steps that begin at some rows."""
        steps = torch.from_numpy(rows)[:, None] + torch.arange(length + 1)  # (B, T + 1)
        acts = steps[:, :-1]
        return Batch(
            frames=self.frames[steps],
            action=self.action[acts],
            reward=self.reward[acts],
            terminated=self.terminated[acts],
            caption=self.caption[steps[:, 1:]],
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
