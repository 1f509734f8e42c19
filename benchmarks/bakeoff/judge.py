"""The judge, the same for all designs: clips from held-out windows, scored as `worldsim compare` scores them.

Errors are pooled over clips before they are divided. Index 0 of a list is step 1.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from design import NUM_CONTEXT, Codec, Design
from torch import nn

from worldsim import metrics
from worldsim.model import autocast, compute_dtype
from worldsim.train.data import Dataset
from worldsim.train.validate import _draw

__all__ = [
    "HORIZON",
    "Clips",
    "Scores",
    "ceiling",
    "copy_last",
    "for_imagination",
    "imagined",
    "judge",
    "make_clips",
    "score",
]

HORIZON = 16
"""Steps of a clip."""
_STRIP_CLIPS = 4


@dataclass(frozen=True, kw_only=True)
class Clips:
    """N held-out windows of a context and what came after it."""

    frames: torch.Tensor
    """(N, C + T, H, W, 3) uint8."""
    action: torch.Tensor
    """(N, C - 1 + T, A) encoded."""
    captions: list[str | None]
    """(N,) English, at the end of the context."""

    @property
    def truth(self) -> np.ndarray:
        """(N, T, H, W, 3) uint8."""
        return self.frames[:, NUM_CONTEXT:].numpy()

    @property
    def last(self) -> np.ndarray:
        """(N, 1, H, W, 3) uint8, the last frame that a design sees."""
        return self.frames[:, NUM_CONTEXT - 1 : NUM_CONTEXT].numpy()

    def every(self, n: int) -> Clips:
        """Return every n-th clip, at least two, since actions are exchanged between clips."""
        n = max(1, min(n, len(self.captions) - 1))
        return Clips(frames=self.frames[::n], action=self.action[::n], captions=self.captions[::n])


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Figures of one design, or of a row beside them; lists are per step."""

    num_clips: int
    skill: list[float]
    skill_low: list[float]
    """Lower end of the 95% bootstrap interval over clips."""
    skill_high: list[float]
    skill_moving: list[float]
    """On pixels that left the last context frame."""
    sharpness: list[float]
    action_shuffle_ratio: float | None
    """Pooled error with actions exchanged between clips over that with the true ones; None if not asked."""


def make_clips(data: Dataset, num: int, seed: int = 0) -> Clips:
    """Draw windows of held-out episodes; the same ones for one seed."""
    length = NUM_CONTEXT - 1 + HORIZON
    rows = data.windows(length)
    rng = np.random.default_rng(seed)
    batch = data.take(np.sort(rng.choice(rows, size=min(num, len(rows)), replace=False)), length)
    captions = [data.captions[i][0] if i >= 0 else None for i in batch.caption[:, NUM_CONTEXT - 1].tolist()]
    return Clips(frames=batch.frames, action=batch.action, captions=captions)


def for_imagination(design: Design) -> Design:
    """Return a frozen copy with its matrices and kernels in `compute_dtype`, as a loaded world model holds them."""
    frozen = copy.deepcopy(design)
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    for module in frozen.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            module.to(compute_dtype())
    return frozen


@torch.inference_mode()
def imagined(design: Design, clips: Clips, order: np.ndarray) -> np.ndarray:
    """Return (N, T, H, W, 3) uint8 frames under the actions of the clips in ``order``."""
    known = NUM_CONTEXT - 1
    text = design.text.features(clips.captions)
    seeds = torch.arange(len(clips.captions))
    with autocast():
        state = design.begin(clips.frames[:, :NUM_CONTEXT], clips.action[:, :known], text, seeds)
        frames = []
        for t in range(HORIZON):
            state, shown = design.step(state, clips.action[order, known + t])
            frames.append(shown.numpy())
    return np.stack(frames, axis=1)


def score(frames: np.ndarray, clips: Clips, shuffled: np.ndarray | None = None) -> Scores:
    """Score frames (N, T, H, W, 3), and those under exchanged actions if there are any."""
    truth, last = clips.truth, clips.last
    own, naive = metrics.squared_error(frames, truth), metrics.squared_error(last, truth)  # (N, T)
    low, high = metrics.pooled_ratio_interval(own, naive)
    moving = metrics.moving_mask(truth, last)
    own_moving = metrics.squared_error(frames, truth, moving).sum(axis=0)
    naive_moving = metrics.squared_error(last, truth, moving).sum(axis=0)
    ratio = None
    if shuffled is not None:
        ratio = float(metrics.squared_error(shuffled, truth).sum() / own.sum())
    return Scores(
        num_clips=len(truth),
        skill=metrics.skill(own.sum(axis=0), naive.sum(axis=0)).tolist(),
        skill_low=(1 - high).tolist(),
        skill_high=(1 - low).tolist(),
        skill_moving=metrics.skill(own_moving, naive_moving).tolist(),
        sharpness=[metrics.sharpness(frames[:, t], truth[:, t]) for t in range(truth.shape[1])],
        action_shuffle_ratio=ratio,
    )


def judge(design: Design, clips: Clips, strip: Path | None = None) -> Scores:
    """Roll a design out and score it; draw truth above imagined into ``strip``."""
    design = for_imagination(design)
    num = len(clips.captions)
    own = imagined(design, clips, np.arange(num))
    if strip is not None:
        _draw(strip, clips.truth[:_STRIP_CLIPS], own[:_STRIP_CLIPS])
    return score(own, clips, imagined(design, clips, metrics.derangement(num, seed=0)))


def copy_last(clips: Clips) -> Scores:
    """Score the last context frame, repeated."""
    return score(np.broadcast_to(clips.last, clips.truth.shape), clips)


@torch.inference_mode()
def ceiling(design: Design, clips: Clips) -> Scores | None:
    """Score the truth through a design's codec, which bounds what it can reach; None for a design of pixels."""
    if not isinstance(design, Codec):
        return None
    frozen = for_imagination(design)
    assert isinstance(frozen, Codec)
    truth = torch.from_numpy(clips.truth)
    with autocast():
        frames = [frozen.round_trip(clip) for clip in truth]
    return score(torch.stack(frames).numpy(), clips)
