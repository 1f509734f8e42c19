"""Self-rollout: part of the training windows carry the model's own frames as context, marked by their age.

A rollout feeds the model its own output. Without having seen that in training it drifts; with it unmarked it learns
to distrust true frames too. So the age of the context is an input, and true contexts keep age 0.

A blurred road looks the same wherever it is moved, so that no error of colours tells a flow to go on, and a rollout
comes to rest. What the networks see behind the true frames of the same window does tell it: that flow is the guide.

The noisy frames of such a window are mixed from own frames too. The memory keeps what the networks saw of them: of true
ones it would tell, behind every own frame, what should have been there, and no rollout has that. Besides, a sampler of
several steps hands the networks a mixture of noise and their own guesses, and what has learned from truth alone takes
the grain for detail. So in some windows the sampler takes several steps, and the noisy frames are points of its path,
from each of which the networks are asked for the same frame: a consistency objective (Song et al. 2023) whose teacher
is the truth.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from worldsim.model.denoiser import MAX_AGE, Denoiser
from worldsim.model.sampler import sample_frame, schedule
from worldsim.train.draws import Draws, Inputs

__all__ = ["with_guide", "with_own_frames"]


@torch.no_grad()
def with_own_frames(
    denoiser: Denoiser,
    inputs: Inputs,
    text: torch.Tensor,
    first: int,
    draws: Draws,
    *,
    sampler_steps: int | None = None,
) -> Inputs:
    """Return inputs whose context behind frame ``first`` is what the denoiser itself imagines, step by step.

    The noisy frames are mixed from what it imagines too, with the same noise at the same levels. Where the sampler
    takes several steps, those from ``first`` on are what it meets at one of its levels, drawn for each frame.

    Args:
        denoiser: Imagines; no gradient flows through it.
        inputs: True windows of T frames.
        text: (B, T, C) encoded captions and factors.
        first: Position in 1 to T - 2 of the first imagined frame; contexts from ``first + 1`` on change.
        draws: Draws the sampler's noise.
        sampler_steps: Of each imagined frame; the denoiser's default if None.
    """
    num_steps = denoiser.config.sampler_steps if sampler_steps is None else sampler_steps
    previous, age = inputs.previous.clone(), inputs.age.clone()
    met: list[torch.Tensor] = []  # of each frame from ``first`` on, each (B, num_steps - 1, 3, H, W)
    known = slice(0, first)
    pure = torch.zeros_like(inputs.tau[:, known])
    out = denoiser(None, pure, previous[:, known], inputs.action[:, known], age[:, known], text[:, known])
    cache, guesses = out.cache, [out.frame]
    for i in range(first, previous.shape[1]):
        here = slice(i, i + 1)
        path: list[torch.Tensor] = []
        out = sample_frame(
            denoiser,
            draws.normal(*inputs.target[:, here].shape[1:]).to(inputs.target.device),
            num_steps=num_steps,
            previous=previous[:, here],
            action=inputs.action[:, here],
            age=age[:, here],
            text=text[:, here],
            cache=cache,
            visit=path.append,
        )
        cache = out.cache
        met += [torch.cat(path, dim=1)] if path else []
        guesses.append(out.frame)
        if i + 1 == previous.shape[1]:
            break
        frame = ((out.frame[:, 0].clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1  # as a step quantises it
        previous[:, i + 1, 0] = frame
        age[:, i + 1] = min(i + 1 - first, MAX_AGE)
        if i + 2 < previous.shape[1]:
            previous[:, i + 2, 1] = frame
    guess = torch.cat(guesses, dim=1).clamp(-1, 1).to(inputs.noisy.dtype)
    noisy, tau = inputs.noisy + inputs.tau[:, :, None, None, None] * (guess - inputs.target), inputs.tau
    if met:
        which = (draws.uniform(len(met)) * (num_steps - 1)).long().to(tau.device)  # (B, T - first)
        levels = torch.tensor(schedule(num_steps)[1:], dtype=tau.dtype, device=tau.device)
        points = torch.stack(met, dim=1).to(noisy.dtype)  # (B, T - first, num_steps - 1, 3, H, W)
        index = which[:, :, None, None, None, None].expand(-1, -1, 1, *points.shape[3:])
        noisy = torch.cat([noisy[:, :first], points.gather(2, index)[:, :, 0]], dim=1)
        tau = torch.cat([tau[:, :first], torch.where(tau[:, first:] > 0, levels[which], 0)], dim=1)
    return replace(inputs, noisy=noisy, tau=tau, previous=previous, age=age)


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
