"""A short look at the model during training: rollouts from held-out windows, scored and drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from worldsim.metrics import skill
from worldsim.model import ModelSpec, WorldModel
from worldsim.train.data import Dataset

__all__ = ["Validation", "validate"]


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Figures of some held-out rollouts; lists are per step, index 0 is step 1."""

    skill: list[float]
    """1 - MSE(model) / MSE(copy-last), pooled; NaN where nothing moved."""
    sharpness: list[float]
    """Gradient energy of imagined over true frames."""
    action_shuffle_ratio: float
    """MSE to the last step with actions exchanged between windows over MSE with the true ones; NaN for one window."""

    def line(self) -> str:
        """Return the figures at steps 1, 4, 8 and 16 as one line."""
        steps = [s for s in (1, 4, 8, 16) if s <= len(self.skill)]
        skill = " ".join(f"{self.skill[s - 1]:.2f}" for s in steps)
        sharp = " ".join(f"{self.sharpness[s - 1]:.2f}" for s in steps)
        at = "/".join(map(str, steps))
        shuffle = "of one window none" if math.isnan(self.action_shuffle_ratio) else f"{self.action_shuffle_ratio:.2f}"
        return f"skill at {at}: {skill} | sharpness {sharp} | shuffle {shuffle}"


def validate(
    model: WorldModel, data: Dataset, *, num_windows: int, horizon: int, seed: int = 0, strip: Path | None = None
) -> Validation:
    """Roll the model out from windows of ``data`` and score it.

    Args:
        model: To be scored.
        data: Held-out episodes.
        num_windows: How many; the same ones for one seed.
        horizon: Steps.
        seed: Draws the windows.
        strip: Where to write a picture of the first windows, truth above imagined; none if None.
    """
    context = model.config.num_context
    length = context - 1 + horizon
    rng = np.random.default_rng(seed)
    rows = data.windows(length)
    batch = data.take(np.sort(rng.choice(rows, size=min(num_windows, len(rows)), replace=False)), length)
    frames, raw = batch.frames.numpy(), _decode_actions(model.spec, batch.action.numpy())
    captions = [data.captions[i][0] if i >= 0 else None for i in batch.caption[:, context - 1].tolist()]

    def rollout(order: np.ndarray) -> np.ndarray:
        state = model.encode(frames[:, :context], raw[:, : context - 1], prompts=captions, seeds=np.arange(len(frames)))
        imagined = []
        for t in range(context - 1, length):
            state, prediction = model.step(state, raw[order, t])
            imagined.append(prediction.frames)
        return np.stack(imagined, axis=1)  # (B, horizon, H, W, 3)

    truth = frames[:, context:].astype(np.float32)
    last = frames[:, context - 1 : context].astype(np.float32)
    own = rollout(np.arange(len(frames)))
    model_mse = ((own - truth) ** 2).mean(axis=(0, 2, 3, 4))
    copy_mse = ((last - truth) ** 2).mean(axis=(0, 2, 3, 4))
    shuffle_ratio = math.nan
    if len(frames) > 1:
        shuffled = rollout(np.roll(np.arange(len(frames)), 1))
        shuffle_ratio = float(((shuffled - truth) ** 2).mean() / model_mse.mean())
    if strip is not None:
        _draw(strip, frames[:6, context:], own[:6])
    return Validation(
        skill=skill(model_mse, copy_mse).tolist(),
        sharpness=[float(v) for v in _gradient_energy(own) / _gradient_energy(truth)],
        action_shuffle_ratio=shuffle_ratio,
    )


def _gradient_energy(frames: np.ndarray) -> np.ndarray:
    frames = frames.astype(np.float32)
    dx, dy = np.diff(frames, axis=3), np.diff(frames, axis=2)
    return (dx**2).mean(axis=(0, 2, 3, 4)) + (dy**2).mean(axis=(0, 2, 3, 4))


def _decode_actions(spec: ModelSpec, encoded: np.ndarray) -> np.ndarray:
    """Return (B, T, *A) actions in the units of the space for (B, T, action_dim) encoded ones."""
    if spec.action_kind == "box":
        low, high = np.array(spec.action_low), np.array(spec.action_high)
        raw = low + (encoded + 1) / 2 * (high - low)
        return raw.clip(low, high).reshape(*encoded.shape[:2], *spec.action_shape)
    ends = np.cumsum(spec.action_counts)
    parts = [encoded[..., end - n : end].argmax(-1) for end, n in zip(ends, spec.action_counts, strict=True)]
    choice = np.stack(parts, axis=-1) + spec.action_start
    return choice[..., 0] if spec.action_kind == "discrete" else choice


def _draw(path: Path, truth: np.ndarray, imagined: np.ndarray) -> None:
    steps = [s for s in (1, 2, 4, 8, 12, 16, 24, 32) if s <= truth.shape[1]]
    rows = []
    for clip_truth, clip_imagined in zip(truth, imagined, strict=True):
        rows += [np.concatenate([clip[s - 1] for s in steps], axis=1) for clip in (clip_truth, clip_imagined)]
    picture = np.concatenate(rows, axis=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture)
    image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST).save(path)
