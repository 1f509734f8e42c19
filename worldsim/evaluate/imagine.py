"""Roll a world model out from true contexts: frames up to the start go in, then actions only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.evaluate.clips import Clip
from worldsim.model import WorldModel

__all__ = ["Imagined", "action_matrix", "imagine", "noise_seed"]


@dataclass(frozen=True, kw_only=True)
class Imagined:
    """What a model predicted for N streams over T steps; without the first axis for one stream."""

    frames: np.ndarray
    """(N, T, H, W, 3) uint8; index 0 is step 1."""
    reward: np.ndarray
    """(N, T) float32."""
    terminate_prob: np.ndarray
    """(N, T) float32 in [0, 1]."""

    def stream(self, i: int) -> Imagined:
        """Return stream ``i`` alone, with copies of its arrays and without the stream axis."""
        return Imagined(
            frames=self.frames[i].copy(), reward=self.reward[i].copy(), terminate_prob=self.terminate_prob[i].copy()
        )


def noise_seed(clip: Clip, sample: int) -> int:
    """Return the noise seed of sample ``sample`` of a clip; no two clips or samples share one."""
    return int(np.random.SeedSequence([clip.seed, sample]).generate_state(1, np.uint32)[0] >> 1)


def action_matrix(clips: Sequence[Clip], horizon: int) -> np.ndarray:
    """Stack the actions after each start, (clips, horizon, ...); behind the truth's end its last action is repeated.

    Streams keep stepping there, so that a batch stays whole, but nothing of those steps is counted.
    """
    steps = np.arange(horizon)
    return np.stack([clip.actions[np.minimum(steps, len(clip) - 1)] for clip in clips])


def imagine(
    model: WorldModel,
    clips: Sequence[Clip],
    actions: np.ndarray,
    *,
    samples: Sequence[int] = (0,),
    sampler_steps: int | None = None,
) -> Imagined:
    """Imagine every clip once per noise sample, all in one batch.

    Args:
        model: The world model.
        clips: n clips; only their contexts are read.
        actions: (n, T, ...) actions after the start.
        samples: Numbers of the noise samples.
        sampler_steps: Denoiser calls per frame; None takes the checkpoint's own number.

    Returns:
        Predictions of ``len(samples) * n`` streams, sample by sample, in the order of the clips.
    """
    num_samples = len(samples)
    contexts = [clip.context(model.config.num_context) for clip in clips]
    state = model.encode(
        np.stack([frames for frames, _ in contexts] * num_samples),  # (N, C, H, W, 3)
        np.stack([past for _, past in contexts] * num_samples),  # (N, C - 1, ...)
        prompts=[None] * (num_samples * len(clips)),
        seeds=np.array([noise_seed(clip, sample) for sample in samples for clip in clips], np.int64),
    )
    actions = np.concatenate([actions] * num_samples)  # (N, T, ...)
    predictions = []
    for t in range(actions.shape[1]):
        state, prediction = model.step(state, actions[:, t], sampler_steps=sampler_steps)
        predictions.append(prediction)
    return Imagined(
        frames=np.stack([p.frames for p in predictions], axis=1),
        reward=np.stack([p.reward for p in predictions], axis=1),
        terminate_prob=np.stack([p.terminate_prob for p in predictions], axis=1),
    )
