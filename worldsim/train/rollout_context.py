"""Self-rollout: part of the training windows carry the model's own frames as context, marked by their age.

A rollout feeds the model its own output. Without having seen that in training it drifts; with it unmarked it learns
to distrust true frames too. So the age of the context is an input, and true contexts keep age 0.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from worldsim.model.denoiser import MAX_AGE, Denoiser
from worldsim.train.objective import Inputs

__all__ = ["with_own_frames"]


@torch.no_grad()
def with_own_frames(denoiser: Denoiser, inputs: Inputs, text: torch.Tensor, first: int) -> Inputs:
    """Return inputs whose context from frame ``first`` on is what the denoiser itself predicted, step by step.

    Args:
        denoiser: Predicts; no gradient flows through the prediction.
        inputs: True windows of T frames.
        text: (B, T, text_dim) encoded captions.
        first: Index in 1 to T - 1 of the first frame that is replaced.
    """
    previous, age = inputs.previous.clone(), inputs.age.clone()
    num_frames = previous.shape[1]

    def predict(start: int, stop: int, cache: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        span = slice(start, stop)
        tau = torch.zeros_like(inputs.tau[:, span])
        out = denoiser(None, tau, previous[:, span], inputs.action[:, span], age[:, span], text[:, span], cache)
        frame = ((out.frame[:, -1].clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1  # as a step would quantise it
        return frame, out.cache

    frame, cache = predict(0, first + 1, None)
    for i in range(first, num_frames - 1):
        # `frame` was predicted at position i: it is the last frame before position i + 1.
        previous[:, i + 1, 0] = frame
        age[:, i + 1] = min(i + 1 - first, MAX_AGE)
        if i + 2 < num_frames:
            previous[:, i + 2, 1] = frame
            frame, cache = predict(i + 1, i + 2, cache)
    return replace(inputs, previous=previous, age=age)
