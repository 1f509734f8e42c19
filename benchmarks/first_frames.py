"""First frames of the city from text alone: do they show what a prompt says, and are they like true ones?

`PER_PROMPT` frames are drawn for each time of day, weather and traffic in each of four wordings, and a probe trained on
true frames reads them, as in prompts.py. As many frames as there are test drives are drawn under those drives'
captions and held against the true ones: the Frechet distance of Gaussians over their colours in an 8 x 8 grid, their
sharpness, and how much two of them differ. Beside them: true frames of other drives (the ceiling), the checkpoint's
start with the nearest caption (what a prompt without first frames begins from), and the mean frame of each caption's
starts.

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
from PIL import Image
from prompts import CHECK_SEED, FACTORS, TEST_SEED, TRAIN_SEED, conditions, features, train_probe, true_frames, truth_of
from scipy.linalg import sqrtm
from worldsim_envs.city.words import SCENE

from worldsim.evaluate.setting import provenance
from worldsim.metrics import gradient_energy
from worldsim.model import WorldModel, load

PER_PROMPT = 16
SHOWN = (
    "noon, clear sky, light traffic",
    "a clear night with light traffic",
    "rain at dusk, heavy traffic",
    "thick fog by day",
    "雨夜,车流密集",
    "晴朗的白天",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-o", "--out", type=Path, required=True, help="directory of figures and pictures")
    parser.add_argument("--drives", type=int, default=128, help="true frames, and as many drawn ones")
    parser.add_argument("--steps", type=int, default=None, help="sampler steps; the model's own if not given")
    parser.add_argument("--guidance", type=float, default=None)
    parser.add_argument("--seed", type=int, default=TEST_SEED, help="of the first drive")
    options = parser.parse_args()
    model = load(options.model)
    if not model.is_trained_for_first_frames:
        raise SystemExit(f"error: {model.name} draws no first frames; teach it with `worldsim train-first-frames`")
    options.out.mkdir(parents=True, exist_ok=True)
    sampling = {"sampler_steps": options.steps, "guidance": options.guidance}

    began = time.perf_counter()
    model.first_frames([SHOWN[0]] * 8, range(8), **sampling)
    seconds = (time.perf_counter() - began) / 8
    print(f"{seconds:.2f} s per frame in a batch of 8, {torch.get_num_threads()} threads", flush=True)
    draw_pictures(model, options.out, sampling)
    obeyed, ceiling = read_prompts(model, sampling)
    likeness = compare(model, options.drives, options.seed, sampling)
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


def draw_pictures(model: WorldModel, out: Path, sampling: dict) -> None:
    """Draw a row per prompt: eight first frames, and what is imagined 1, 2, 4, 8 and 16 steps behind the first two."""
    rows = []
    for prompt in SHOWN:
        frames = model.first_frames([prompt] * 8, range(8), **sampling)
        behind = frames[:2, None]
        blank = np.zeros((2, 0, *model.spec.action_shape), np.float32)
        state = model.encode(behind, blank, prompts=[prompt] * 2, seeds=range(2))
        forward = np.tile(np.array([0.0, 0.5], np.float32), (2, 16, 1))
        later = model.rollout(state, forward)[1].frames[:, [0, 1, 3, 7, 15]]  # (2, 5, H, W, 3)
        rows.append(np.concatenate([*frames, *rearrange(later, "n t h w c -> (n t) h w c")], axis=1))
    Image.fromarray(np.concatenate(rows)).save(out / "first_frames.png")


def read_prompts(model: WorldModel, sampling: dict) -> tuple[list[dict], dict[str, float]]:
    """Return the shares in which a probe reads what was asked for, and its accuracy on true frames it never saw."""
    xs, labels = true_frames(model, 240, TRAIN_SEED, 4)
    check_xs, check_labels = true_frames(model, 60, CHECK_SEED, 8)
    probes = {name: train_probe(xs, labels[name], len(values)) for name, values in FACTORS.items()}
    ceiling = {n: float((p(check_xs).argmax(-1) == check_labels[n]).float().mean()) for n, p in probes.items()}
    print("the probe on true frames it never saw:", {n: round(v, 3) for n, v in ceiling.items()}, flush=True)
    starts = np.stack([start.frames[-1] for start in model.starts])
    rng, rows = np.random.default_rng(0), []
    for factor, values in FACTORS.items():
        for i, value in enumerate(values):
            said = SCENE[factor, value]
            wordings = {
                "training wording": said["en"].train,
                "unseen wording": said["en"].held_out,
                "Chinese": said["zh"].train,
                "unseen Chinese": said["zh"].held_out,
            }
            row: dict = {"factor": factor, "asked": value, "n": PER_PROMPT}
            for kind, sentences in wordings.items():
                prompts = [str(rng.choice(sentences)) for _ in range(PER_PROMPT)]
                frames = model.first_frames(prompts, range(PER_PROMPT), **sampling)
                row[kind] = float((probes[factor](features(frames)).argmax(-1) == i).float().mean())
                if kind == "training wording":
                    nearest = starts[[model.nearest_start(prompt) for prompt in prompts]]
                    row["nearest start"] = float((probes[factor](features(nearest)).argmax(-1) == i).float().mean())
            frames = model.first_frames([None] * PER_PROMPT, range(PER_PROMPT), **sampling)
            row["no prompt"] = float((probes[factor](features(frames)).argmax(-1) == i).float().mean())
            rows.append(row)
            print(row, flush=True)
    return rows, ceiling


def compare(model: WorldModel, num: int, seed: int, sampling: dict) -> dict[str, dict[str, float]]:
    """Return how like true frames some are, by kind."""
    env, rng = truth_of(model), np.random.default_rng(seed)
    true, captions = [], []
    for i in range(2 * num):
        obs, info = env.reset(seed=seed + i, options={"variation": {**conditions(rng), "change": "none"}})
        act = env.unwrapped.policies["mixture"](seed + i)
        for _ in range(int(rng.integers(4, 24))):
            obs, _, terminated, _, info = env.step(act(obs, info))
            if terminated:
                break
        true.append(obs)
        captions.append(info["caption"]["en"])
    env.close()
    true, other, captions = np.stack(true[:num]), np.stack(true[num:]), captions[:num]
    nearest = [model.nearest_start(caption) for caption in captions]
    starts = np.stack([start.frames[-1] for start in model.starts])
    kinds = {
        "true frames of other drives": other,
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
