"""One checkpoint by one, two and four sampler steps: what more of them give, on the same held-out clips.

    python benchmarks/sampler_steps.py city-64 --clips 32 --horizon 16 --json sampler_steps.json

Several models are compared on the same clips: those of the first one's world, from the seeds kept for validation.
Skill is 1 - squared error / that of the last frame copied, pooled over clips; that of one sample, and of the mean of
all. Spread is the standard deviation between samples, in levels. Copying has the skill 0, the truth 1.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import worldsim
from worldsim._console import show_progress, write_json
from worldsim.errors import WorldsimError
from worldsim.evaluate.clips import Clip, record_clips
from worldsim.evaluate.imagine import action_matrix, noise_seed
from worldsim.evaluate.setting import provenance
from worldsim.evaluate.uncertainty import VALIDATION_SEED
from worldsim.metrics import gradient_energy, pooled_ratio, skill, squared_error
from worldsim.model import WorldModel

_SHOWN = (1, 4, 8, 16, 32, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="bundled models, runs or checkpoints of one world")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4], help="sampler steps")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--horizon", type=int, default=16)
    parser.add_argument("--samples", type=int, default=4, help="noise samples of each clip")
    parser.add_argument("--seed", type=int, default=VALIDATION_SEED)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    models = [worldsim.load(name) for name in args.models]
    with show_progress() as progress:
        clips = record_clips(
            models[0].spec.env_id,
            episodes=args.clips,
            horizon=args.horizon,
            seed=args.seed,
            num_context=models[0].config.num_context,
            env_kwargs=models[0].spec.env_kwargs,
            progress=lambda done, total: progress("true clips", done, total),
        ).clips
    rows = []
    for name, model in zip(args.models, models, strict=True):
        for steps in args.steps:
            rows.append({"model": name, "sha": model.sha, **_row(model, clips, args.horizon, steps, args.samples)})
            print(_line(rows[-1]), flush=True)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        settings = {name: getattr(args, name) for name in ("clips", "horizon", "samples", "seed")}
        write_json(str(args.json), {**provenance(), **settings, "rows": rows})


def _row(model: WorldModel, clips: Sequence[Clip], horizon: int, num_steps: int, num_samples: int) -> dict[str, Any]:
    """Return the figures of a model by a number of sampler steps; lists are per step."""
    samples = 1 if num_steps == 1 else num_samples  # one step draws no noise
    contexts = [clip.context(model.config.num_context) for clip in clips for _ in range(samples)]
    state = model.encode(
        np.stack([frames for frames, _ in contexts]),
        np.stack([past for _, past in contexts]),
        prompts=[None] * len(contexts),
        seeds=np.array([noise_seed(clip, k) for clip in clips for k in range(samples)], np.int64),
    )
    actions = action_matrix(clips, horizon).repeat(samples, axis=0)  # (n S, T, *A)
    sums = {name: np.zeros(horizon) for name in ("one", "mean", "copy", "edges", "true_edges", "variance", "pixels")}
    seconds = 0.0
    for t in range(horizon):
        began = time.perf_counter()
        state, predicted = model.step(state, actions[:, t], sampler_steps=num_steps)
        seconds += time.perf_counter() - began
        drawn = predicted.frames.reshape(len(clips), samples, *predicted.frames.shape[1:]).astype(np.float32)
        for clip, own in zip(clips, drawn, strict=True):
            if t >= len(clip):
                continue
            truth = clip.future[t].astype(np.float32)
            sums["one"][t] += squared_error(own, truth).mean()
            sums["mean"][t] += squared_error(own.mean(axis=0), truth)
            sums["copy"][t] += squared_error(clip.last.astype(np.float32), truth)
            sums["edges"][t] += gradient_energy(own).mean()
            sums["true_edges"][t] += gradient_energy(truth)
            sums["variance"][t] += own.var(axis=0, ddof=1).sum() if samples > 1 else 0.0
            sums["pixels"][t] += truth.size
    return {
        "sampler_steps": num_steps,
        "samples": samples,
        "skill": skill(sums["one"], sums["copy"]).tolist(),
        "skill_of_mean": skill(sums["mean"], sums["copy"]).tolist(),
        "sharpness": pooled_ratio(sums["edges"], sums["true_edges"]).tolist(),
        "spread": np.sqrt(pooled_ratio(sums["variance"], sums["pixels"])).tolist(),
        "frames_per_second": len(contexts) * horizon / seconds,
    }


def _line(row: dict[str, Any]) -> str:
    steps = [step for step in _SHOWN if step <= len(row["skill"])]
    parts = [f"{name} {' '.join(f'{row[name][s - 1]:.2f}' for s in steps)}" for name in _TOLD]
    at = "/".join(map(str, steps))
    return f"{row['model']}, {row['sampler_steps']} sampler steps, at {at}: {' | '.join(parts)}"


_TOLD = ("skill", "skill_of_mean", "sharpness", "spread")


if __name__ == "__main__":
    try:
        main()
    except WorldsimError as error:
        raise SystemExit(f"error: {error}") from None
