"""Self-rollout: part of the training windows carry the model's own frames as context, marked by their age.

A rollout feeds the model its own output. Without having seen that in training it drifts; with it unmarked it learns
to distrust true frames too. So the age of the context is an input, and true contexts keep age 0.

A blurred road looks the same wherever it is moved, so that no error of colours tells a flow to go on, and a rollout
comes to rest. What the networks see behind the true frames of the same window does tell it: that flow is the guide.

The noisy frames of such a window are mixed from own frames too. The memory keeps what the networks saw of them: of true
ones it would tell, behind every own frame, what should have been there, and no rollout has that. Besides, a sampler of
several steps hands the networks a mixture of noise and their own first guess, and what has learned from truth alone
takes the grain for detail.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from worldsim.model.denoiser import MAX_AGE, Denoiser
from worldsim.model.sampler import sample_frame
from worldsim.train.draws import Draws, Inputs

__all__ = ["with_guide", "with_own_frames"]


@torch.no_grad()
def with_own_frames(denoiser: Denoiser, inputs: Inputs, text: torch.Tensor, first: int, draws: Draws) -> Inputs:
    """Return inputs whose context behind frame ``first`` is what the denoiser itself imagines, step by step.

    The noisy frames are mixed from what it imagines too, with the same noise at the same levels.

    Args:
        denoiser: Imagines with its default sampler; no gradient flows through it.
        inputs: True windows of T frames.
        text: (B, T, C) encoded captions and factors.
        first: Position in 1 to T - 2 of the first imagined frame; contexts from ``first + 1`` on change.
        draws: Draws the sampler's noise.
    """
    previous, age = inputs.previous.clone(), inputs.age.clone()
    known = slice(0, first)
    pure = torch.zeros_like(inputs.tau[:, known])
    out = denoiser(None, pure, previous[:, known], inputs.action[:, known], age[:, known], text[:, known])
    cache, guesses = out.cache, [out.frame]
    for i in range(first, previous.shape[1]):
        here = slice(i, i + 1)
        out = sample_frame(
            denoiser,
            draws.normal(*inputs.target[:, here].shape[1:]).to(inputs.target.device),
            num_steps=denoiser.config.sampler_steps,
            previous=previous[:, here],
            action=inputs.action[:, here],
            age=age[:, here],
            text=text[:, here],
            cache=cache,
        )
        cache = out.cache
        guesses.append(out.frame)
        if i + 1 == previous.shape[1]:
            break
        frame = ((out.frame[:, 0].clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1  # as a step quantises it
        previous[:, i + 1, 0] = frame
        age[:, i + 1] = min(i + 1 - first, MAX_AGE)
        if i + 2 < previous.shape[1]:
            previous[:, i + 2, 1] = frame
    guess = torch.cat(guesses, dim=1).clamp(-1, 1).to(inputs.noisy.dtype)
    noisy = inputs.noisy + inputs.tau[:, :, None, None, None] * (guess - inputs.target)
    return replace(inputs, noisy=noisy, previous=previous, age=age)


@torch.no_grad()
def with_guide(denoiser: Denoiser, inputs: Inputs, text: torch.Tensor, lead: int) -> Inputs:
    """Return inputs with the flow that the denoiser gives behind their contexts, which are to be true.

    Args:
        denoiser: As it is now; no gradient flows through it.
        inputs: True windows of T frames.
        text: (B, T, C) encoded captions and factors.
        lead: Frames at the beginning that need no guide.
    """
    rest = slice(lead, None)
    out = denoiser(
        None,
        torch.zeros_like(inputs.tau[:, rest]),
        inputs.previous[:, rest],
        inputs.action[:, rest],
        inputs.age[:, rest],
        text[:, rest],
    )
    return replace(inputs, guide=torch.cat([inputs.guide[:, :lead], out.flow.to(inputs.guide.dtype)], dim=1))
