"""Hold a world model against its truth: the same starts, the same actions, frame by frame.

Every figure is defined by a function of :mod:`worldsim.metrics` and pooled over clips before any division. The model
sees the true frames of its context and then actions only; a clip counts up to the truth's end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from worldsim import metrics
from worldsim.errors import EnvError
from worldsim.evaluate.clips import Clip, Pair, record_clips
from worldsim.evaluate.figures import (
    action_shuffle_ratio,
    condition_figures,
    plain,
    row_figures,
    skill_interval,
    termination_figures,
)
from worldsim.evaluate.imagine import Imagined, action_matrix, imagine
from worldsim.evaluate.report import Report
from worldsim.evaluate.scores import (
    Tally,
    copy_last,
    linear_extrapolation,
    perfect,
    reference,
    sample_mean_error,
    sample_variance,
    stack,
    tally,
)
from worldsim.evaluate.setting import setting_warnings
from worldsim.evaluate.speed import measure_speed
from worldsim.model import WorldModel, encode_actions, load
from worldsim.rollout import Rollout
from worldsim.train.git import commit_name

__all__ = ["NUM_SAMPLES", "SHUFFLE_STEPS", "compare"]

NUM_SAMPLES = 8
"""Noise samples per clip behind ``skill_mean8`` and ``sample_spread``; sample 0 is the one that is scored."""
SHUFFLE_STEPS = 16
"""Steps behind ``action_shuffle_ratio``."""
CONDITION_STEPS = (1, 8, 16)
"""Steps of the tables by weather, time of day and traffic."""

Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``."""


def compare(
    model: WorldModel | str,
    env_id: str,
    *,
    episodes: int = 8,
    horizon: int = 64,
    seed: int = 200_000,
    env_kwargs: Mapping[str, Any] | None = None,
    sampler_steps: int | None = None,
    batch_size: int = 64,
    speed: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Imagine ``episodes`` clips beside the truth and score every step.

    Args:
        model: A world model, or the name or path of one.
        env_id: Gymnasium id of the truth; obs or render must be an image of the model's size.
        episodes: Number of clips; clip i uses env seed ``seed + i``.
        horizon: Most steps per clip.
        seed: First env seed; 200,000-209,999 are for tests.
        env_kwargs: Constructor arguments of the truth; None takes those that the model was trained with.
        sampler_steps: Denoiser calls per frame; None takes the checkpoint's own number.
        batch_size: Streams per call of the model; affects speed and memory only.
        speed: Whether to measure imagined frames per second (takes some seconds; the figures are None otherwise).
        progress: Called with (stage, done, total) as work goes on.

    Returns:
        The figures as JSON values in ``report.json``, and both rollouts of every clip in ``report.rollouts``.

    Raises:
        EnvError: If the env cannot be used as a truth, or its frames or actions are not those of the model.
        CheckpointError: If the model cannot be loaded.
    """
    if isinstance(model, str):
        model = load(model)
    if episodes < 1 or horizon < 1:
        raise EnvError(f"compare needs at least 1 episode and 1 step; got episodes={episodes}, horizon={horizon}")
    if env_kwargs is None:
        env_kwargs = model.spec.env_kwargs if env_id == model.spec.env_id else {}
    tell = progress or (lambda stage, done, total: None)
    truth = record_clips(
        env_id,
        episodes=episodes,
        horizon=horizon,
        seed=seed,
        num_context=model.config.num_context,
        env_kwargs=env_kwargs,
        check=lambda clip: _check_fit(model, clip),
        progress=lambda done, total: tell("true clips", done, total),
    )
    clips = truth.clips
    steps = model.config.sampler_steps if sampler_steps is None else sampler_steps

    rows: dict[str, list[Tally]] = {"model": [], "copy_last": [], "linear_extrapolation": [], "truth": []}
    singles, mean_error, variance = [], [], []
    num_samples = NUM_SAMPLES if steps > 1 else 1  # one sampler step draws no noise: all samples are the same frames
    groups = _groups(clips, max(1, batch_size // num_samples))
    for done, group in enumerate(groups):
        tell("imagined clips", done, len(groups))
        imagined = imagine(model, group, action_matrix(group, horizon), samples=range(num_samples), sampler_steps=steps)
        frames = imagined.frames.reshape(num_samples, len(group), *imagined.frames.shape[1:])  # (S, n, T, H, W, 3)
        singles += [imagined.stream(i) for i in range(len(group))]
        target = reference(group, horizon)
        rows["model"].append(tally(frames[0], target))
        rows["copy_last"].append(tally(copy_last(group, horizon), target))
        rows["linear_extrapolation"].append(tally(linear_extrapolation(group, horizon), target))
        rows["truth"].append(perfect(target))
        mean_error.append(sample_mean_error(frames, target))
        variance.append(sample_variance(frames, target))
    tell("imagined clips", len(groups), len(groups))
    tallies = {name: stack(parts) for name, parts in rows.items()}

    shuffle_ratio = None
    if episodes > 1:
        tallies["shuffled_actions"], order = _shuffled(
            model, clips, min(SHUFFLE_STEPS, horizon), steps, batch_size, seed
        )
        shuffle_ratio = action_shuffle_ratio(tallies["shuffled_actions"], tallies["model"], clips, order)

    speeds = measure_speed(model, clips[0], steps, tell) if speed else (None, None)

    num_valid = np.array([sum(len(clip) > t for clip in clips) for t in range(horizon)])  # (T,)
    model_row, copy_row, truth_row = tallies["model"], tallies["copy_last"], tallies["truth"]
    num_values = num_valid * clips[0].last.size
    figures = {
        name: row_figures(row, copy_row, truth_row, num_valid, clips[0].last.size) for name, row in tallies.items()
    }
    copy_error = copy_row.error.sum(axis=0)
    json = {
        "model": model.name,
        "checkpoint_sha": model.sha,
        "env": env_id,
        "policy": truth.policy,
        "episodes": episodes,
        "horizon": horizon,
        "seed": seed,
        "n": num_valid.tolist(),
        "skill": figures["model"]["skill"],
        "skill_ci": skill_interval(model_row.error, copy_row.error),
        "skill_moving": figures["model"]["skill_moving"],
        "skill_mean8": plain(metrics.skill(np.concatenate(mean_error).sum(axis=0), copy_error)),
        "sample_spread": plain(np.sqrt(metrics.pooled_ratio(np.concatenate(variance).sum(axis=0), num_values))),
        "psnr": figures["model"]["psnr"],
        "psnr_copy_last": figures["copy_last"]["psnr"],
        "ssim": figures["model"]["ssim"],
        "sharpness": figures["model"]["sharpness"],
        "action_shuffle_ratio": shuffle_ratio,
        "imagined_frames_per_second": speeds[0],
        "imagined_frames_per_second_batch64": speeds[1],
        "sampler_steps": steps,
        "threads": torch.get_num_threads(),
        "commit": commit_name(),
        "rows": figures,
        "conditions": condition_figures(model_row, copy_row, clips, CONDITION_STEPS),
        "termination": termination_figures(clips, singles, model.terminate_threshold),
        "clips": {
            "seeds": [clip.seed for clip in clips],
            "warm_up": [clip.start for clip in clips],
            "steps": [len(clip) for clip in clips],
            "warm_ups_shortened": truth.warm_ups_shortened,
            "seeds_replaced": truth.seeds_replaced,
        },
        "env_kwargs": dict(env_kwargs),
        "num_context": model.config.num_context,
        "control_dt": model.spec.control_dt,
        "num_parameters": model.num_parameters,
        "warnings": setting_warnings(model, env_id, env_kwargs, [clip.seed for clip in clips]),
    }
    pairs = tuple(
        Pair(truth=clip.window(), imagined=_imagined_rollout(clip, stream, model))
        for clip, stream in zip(clips, singles, strict=True)
    )
    return Report(json=json, rollouts=pairs, card=dict(model.card))


def _groups(clips: Sequence[Clip], size: int) -> list[Sequence[Clip]]:
    return [clips[i : i + size] for i in range(0, len(clips), size)]


def _check_fit(model: WorldModel, clip: Clip) -> None:
    want = (model.spec.height, model.spec.width, 3)
    if clip.last.shape != want:
        raise EnvError(
            f"{model.name} imagines frames of {want[0]}x{want[1]}; {clip.truth.env_id} shows "
            f"{clip.last.shape[0]}x{clip.last.shape[1]}: pass the size as env_kwargs, or train a model on this env"
        )
    encode_actions(model.spec, clip.truth.action)  # refuses those of another space


def _shuffled(
    model: WorldModel, clips: Sequence[Clip], horizon: int, sampler_steps: int, batch_size: int, seed: int
) -> tuple[Tally, np.ndarray]:
    """Imagine every clip with another clip's actions, same start and noise; return the sums and who gave to whom."""
    order = metrics.derangement(len(clips), seed)
    actions = action_matrix([clips[i] for i in order], horizon)
    parts = []
    for first in range(0, len(clips), batch_size):
        group = clips[first : first + batch_size]
        imagined = imagine(model, group, actions[first : first + batch_size], sampler_steps=sampler_steps)
        parts.append(tally(imagined.frames, reference(group, horizon)))
    return stack(parts), order


def _imagined_rollout(clip: Clip, imagined: Imagined, model: WorldModel) -> Rollout:
    """Return what was imagined as a rollout as long as the truth's window; frame 0 is the last context frame."""
    truth, steps = clip.window(), len(clip)
    ended = (np.arange(steps) == steps - 1) & (imagined.terminate_prob[:steps] > model.terminate_threshold)
    return Rollout(
        obs=np.concatenate([truth.obs[:1], imagined.frames[:steps]]),
        action=truth.action,
        reward=imagined.reward[:steps],
        terminated=ended,
        truncated=(np.arange(steps) == steps - 1) & ~ended,
        caption=truth.caption[:1],
        env_id=truth.env_id,
        spec=truth.spec,
        control_dt=truth.control_dt,
        action_spec=truth.action_spec,
        seed=truth.seed,
        policy=truth.policy,
        variation=truth.variation,
        source="imagined",
        model=model.name,
    )
