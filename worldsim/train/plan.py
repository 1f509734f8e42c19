"""What one step trains on: a function of (seed, step) and of how far the training is, the same on every rank."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from worldsim.train.config import TrainConfig

__all__ = ["Plan", "make_plan"]

_SEVERAL = (2, 4)  # sampler steps besides the default, which is one as a rule


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The B windows of a step and how they are seen."""

    rows: np.ndarray
    """(B,) first row of each window."""
    is_mirrored: np.ndarray
    """(B,) bool."""
    language: np.ndarray
    """(B,) 0 for English captions, 1 for Chinese ones."""
    seeds: np.ndarray
    """(B,) of the noise of each window."""
    padding: int
    """Frames at the beginning of each window that are replaced by the first one behind them."""
    own_frames_from: int | None
    """From which frame on the context is the model's own."""
    lead: int
    """Steps taken with each window before it, so that it begins deep in a rollout; they teach nothing themselves."""
    sampler_steps: int | None
    """By how many the model imagines its own frames; its default if None."""

    def share(self, windows: slice) -> Plan:
        """Return the plan of some of the windows."""
        return replace(
            self,
            rows=self.rows[windows],
            is_mirrored=self.is_mirrored[windows],
            language=self.language[windows],
            seeds=self.seeds[windows],
        )


def make_plan(
    settings: TrainConfig,
    step: int,
    *,
    rows: np.ndarray,
    end_rows: np.ndarray,
    prompt_rows: np.ndarray,
    deep_rows: np.ndarray,
    num_context: int,
    is_late: bool,
) -> Plan:
    """Return the plan of a step.

    Args:
        settings: Shares of windows that are treated in one way or another.
        step: Its number.
        rows: (M,) first rows of all windows.
        end_rows: (E,) of those that hold an end.
        prompt_rows: (P,) of those in which the caption changes.
        deep_rows: (D,) of windows before which there is room for a context and ``deep_steps``.
        num_context: Frames that the model starts from.
        is_late: Whether contexts may be the model's own.
    """
    rng = np.random.Generator(np.random.Philox(key=[settings.seed, step]))
    chosen = rng.choice(rows, settings.batch)
    if len(end_rows):
        chosen = np.where(rng.random(len(chosen)) < settings.ends_share, rng.choice(end_rows, len(chosen)), chosen)
    if len(prompt_rows) and settings.prompts_share > 0:
        prompted = rng.choice(prompt_rows, len(chosen))
        chosen = np.where(rng.random(len(chosen)) < settings.prompts_share, prompted, chosen)
    padding = 0
    if rng.random() < settings.padded_share:
        padding = int(rng.integers(1, min(num_context, settings.length)))
    own_frames_from = None
    if is_late and rng.random() < settings.own_frames_share:
        own_frames_from = 1 + int((settings.length - 2) * rng.random() ** 2)  # mostly early: long imagined contexts
        own_frames_from = min(max(own_frames_from, padding), settings.length - 2)
    language, seeds = rng.integers(2, size=len(chosen)), rng.integers(2**62, size=len(chosen))
    is_mirrored, lead = rng.random(len(chosen)) < 0.5, 0
    if is_late and len(deep_rows) and rng.random() < settings.deep_share:
        chosen, padding, own_frames_from = rng.choice(deep_rows, settings.batch), 0, num_context
        lead = num_context + int(rng.integers(1, settings.deep_steps + 1))
    sampler_steps = None
    if own_frames_from is not None and not lead and rng.random() < settings.several_steps_share:
        sampler_steps = int(rng.choice(_SEVERAL))
    return Plan(
        rows=chosen,
        is_mirrored=is_mirrored,
        language=language,
        seeds=seeds,
        padding=padding,
        own_frames_from=own_frames_from,
        lead=lead,
        sampler_steps=sampler_steps,
    )
