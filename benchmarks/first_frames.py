"""First frames from text alone: do they show what a prompt says, and are they like true ones?

`PER_PROMPT` frames are drawn for each value of what a world can be asked for (City: time of day, weather, traffic; Lab:
scenario and colour; Tabletop: task, light and colour) in each of four wordings, and read: colours of the bench by their
hue, all else by a probe trained on true frames, as in prompts.py. As many frames as there are test episodes are drawn
under those episodes' captions and held against the true ones: the Frechet distance of Gaussians over their colours in
an 8 x 8 grid, their sharpness, and how much two of them differ. Beside them: true frames of other episodes (the
ceiling), the checkpoint's start with the nearest caption (what a prompt without first frames begins from), and the mean
of the starts.

python benchmarks/first_frames.py city-64 -o benchmarks/city/2026-11-23-first-frames [--guidance 1.5] [--steps 32]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from first_frame_worlds import WORDINGS, World, world_of
from PIL import Image
from prompts import TEST_SEED, features
from scipy.linalg import sqrtm

from worldsim.evaluate.setting import provenance
from worldsim.metrics import gradient_energy
from worldsim.model import WorldModel, load

PER_PROMPT = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-o", "--out", type=Path, required=True, help="directory of figures and pictures")
    parser.add_argument("--episodes", type=int, default=128, help="true episodes, and as many drawn frames")
    parser.add_argument("--steps", type=int, default=None, help="sampler steps; the model's own if not given")
    parser.add_argument("--guidance", type=float, default=None)
    parser.add_argument("--seed", type=int, default=TEST_SEED, help="of the first episode")
    options = parser.parse_args()
    model = load(options.model)
    if not model.is_trained_for_first_frames:
        raise SystemExit(f"error: {model.name} draws no first frames; teach it with `worldsim train-first-frames`")
    world = world_of(model)
    options.out.mkdir(parents=True, exist_ok=True)
    sampling = {"sampler_steps": options.steps, "guidance": options.guidance}

    began = time.perf_counter()
    model.first_frames([world.shown[0]] * 8, range(8), **sampling)
    seconds = (time.perf_counter() - began) / 8
    print(f"{seconds:.2f} s per frame in a batch of 8, {torch.get_num_threads()} threads", flush=True)
    draw_pictures(model, world, options.out, sampling)
    obeyed, ceiling = read_prompts(model, world, sampling)
    likeness = compare(model, world, options.episodes, options.seed, sampling)
    net = model.first_frame_net
    assert net is not None
    result = {
        "model": model.name,
        "checkpoint_sha": model.sha,
        "sampler_steps": options.steps or net.config.sampler_steps,
        "guidance": options.guidance or net.config.guidance,
        "seconds_per_frame": seconds,
        "threads": torch.get_num_threads(),
        "seed": options.seed,
        "probe_on_truth": ceiling,
        "prompts": obeyed,
        "likeness": likeness,
        **provenance(),
    }
    (options.out / "first_frames.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def draw_pictures(model: WorldModel, world: World, out: Path, sampling: dict) -> None:
    """Draw a row per prompt: eight first frames, and what is imagined 1, 2, 4, 8 and 16 steps behind the first two."""
    rows = []
    for prompt in world.shown:
        frames = model.first_frames([prompt] * 8, range(8), **sampling)
        behind = frames[:2, None]
        blank = np.zeros((2, 0, *model.spec.action_shape), np.float32)
        state = model.encode(behind, blank, prompts=[prompt] * 2, seeds=range(2))
        action = world.action(model)
        actions = np.broadcast_to(action, (2, 16, *action.shape))
        later = model.rollout(state, actions)[1].frames[:, [0, 1, 3, 7, 15]]  # (2, 5, H, W, 3)
        rows.append(np.concatenate([*frames, *rearrange(later, "n t h w c -> (n t) h w c")], axis=1))
    Image.fromarray(np.concatenate(rows)).save(out / "first_frames.png")


def read_prompts(model: WorldModel, world: World, sampling: dict) -> tuple[list[dict], dict[str, float]]:
    """Return the shares in which what was asked for is read, and how well it is read in true frames."""
    readers, ceiling = world.readers(model)
    print("read in true frames:", {name: round(value, 3) for name, value in ceiling.items()}, flush=True)
    starts = np.stack([start.frames[-1] for start in model.starts])
    plain = model.first_frames([None] * PER_PROMPT, range(PER_PROMPT), **sampling)
    rng, rows = np.random.default_rng(0), []
    for factor, values in world.factors.items():
        for i, value in enumerate(values):
            row: dict = {"factor": factor, "asked": value, "n": PER_PROMPT}
            for wording in WORDINGS:
                prompts = [world.prompt(factor, value, wording, rng) for _ in range(PER_PROMPT)]
                frames = model.first_frames(prompts, range(PER_PROMPT), **sampling)
                row[wording] = float(readers[factor](frames, i).mean())
                if wording == WORDINGS[0]:
                    nearest = starts[[model.nearest_start(prompt) for prompt in prompts]]
                    row["nearest start"] = float(readers[factor](nearest, i).mean())
            row["no prompt"] = float(readers[factor](plain, i).mean())
            rows.append(row)
            print(row, flush=True)
    return rows, ceiling


def compare(model: WorldModel, world: World, num: int, seed: int, sampling: dict) -> dict[str, dict[str, float]]:
    """Return how like true frames some are, by kind."""
    frames, captions = world.true_frames(model, 2 * num, seed)
    true, other, captions = frames[:num], frames[num:], captions[:num]
    nearest = [model.nearest_start(caption) for caption in captions]
    starts = np.stack([start.frames[-1] for start in model.starts])
    kinds = {
        "true frames of other episodes": other,
        "drawn from the captions": model.first_frames(captions, range(num), **sampling),
        "nearest start": starts[nearest],
        "mean of the starts": np.repeat(starts.mean(axis=0, keepdims=True).round().astype(np.uint8), num, axis=0),
    }
    result = {}
    for kind, frames in kinds.items():
        result[kind] = {
            "frechet_distance": frechet(features(frames).numpy(), features(true).numpy()),
            "sharpness": float(gradient_energy(frames).mean() / gradient_energy(true).mean()),
            "variety": variety(frames) / variety(true),
        }
        print(kind, {name: round(value, 3) for name, value in result[kind].items()}, flush=True)
    return result


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Frechet distance between Gaussians of features (N, F) in [0, 1]."""
    covariance = [np.cov(some, rowvar=False) + 1e-6 * np.eye(some.shape[1]) for some in (one, other)]
    root = np.real(sqrtm(covariance[0] @ covariance[1]))
    distance = np.square(one.mean(axis=0) - other.mean(axis=0)).sum()
    return float(distance + np.trace(covariance[0] + covariance[1] - 2 * root))


def variety(frames: np.ndarray) -> float:
    """Return the mean root-mean-square difference of two frames, in levels."""
    flat = frames.reshape(len(frames), -1).astype(np.float32)
    other = np.roll(flat, len(flat) // 2, axis=0)
    return float(np.sqrt(np.square(flat - other).mean(axis=1)).mean())


if __name__ == "__main__":
    main()
