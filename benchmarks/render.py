"""How true are the frames that a renderer draws, and how fast? Drives of seeds that it never saw, every camera.

Each drive is drawn frame upon drawn frame, and scored beside two rows that need no model: the plain colours that it
draws from, and the true frame before. Speed is that of whole steps of an env, in one thread, beside the truth's.

python benchmarks/render.py city-render-64 -o benchmarks/city/2026-11-22-render [--drives 64] [--steps 64]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from PIL import Image

import worldsim  # noqa: F401 - registers the worlds
from worldsim.evaluate.setting import provenance
from worldsim.metrics import pooled_ratio_interval, squared_error
from worldsim.model import PLAIN_MODES, load_renderer
from worldsim.sim import HybridEnv
from worldsim.train.pairs import PairsConfig, collect_pairs
from worldsim.train.render_scores import draw_episodes, draw_strip, previous_frames, score

FIRST_SEED = 200_000
SAMPLER_STEPS = (1, 2)
WARM, TIMED = 20, 200  # steps
MOMENTS = (
    ("front", "clear noon, heavy traffic"),
    ("front", "雨夜"),
    ("left", "clear dusk"),
    ("right", "rain in the daytime"),
    ("rear", "fog by day"),
    ("chase", "a clear night, heavy traffic"),
    ("birds_eye", "clear day"),
    ("chase", "黄昏 雨"),
)
"""Camera and prompt of each column of the sheet."""


def interval(frames, pairs):
    """Return the 95% bootstrap interval of the skill over drives."""
    rows = np.arange(len(pairs))
    truth, counts = pairs.frames(rows), ~pairs.is_first
    sums = [squared_error(some, truth) * counts for some in (frames, pairs.plain(rows)["plain"])]
    model, plain = (np.add.reduceat(values, pairs.first)[:, None] for values in sums)
    low, high = pooled_ratio_interval(model, plain)
    return [1 - float(high[0]), 1 - float(low[0])]


def scored(pairs, renderer, bfloat16):
    """Return the figures of every row, and the frames of the renderer's default."""
    rows = np.arange(len(pairs))
    table = {"plain colours": pairs.plain(rows)["plain"], "true frame before": previous_frames(pairs)}
    for steps in SAMPLER_STEPS:
        name = "model" if steps == renderer.config.sampler_steps else f"model, {steps} sampler steps"
        table[name] = draw_episodes(renderer, pairs, sampler_steps=steps, bfloat16=bfloat16)
    if bfloat16:
        table["model in float32"] = draw_episodes(renderer, pairs)
    return {name: {**score(frames, pairs), "skill_ci": interval(frames, pairs)} for name, frames in table.items()}, (
        table["model"]
    )


def speeds(renderer, env_id):
    """Return frames per second of the processor's time for whole steps, which other work beside it moves little."""
    envs = {
        "truth": gym.make(env_id),
        "truth, plain modes only": gym.make(env_id, obs_modes=PLAIN_MODES),
        "hybrid": gym.make("worldsim/CityHybrid-v0", model=renderer),
        "hybrid in float32": gym.make("worldsim/CityHybrid-v0", model=renderer, precision="float32"),
        "hybrid, 2 sampler steps": gym.make("worldsim/CityHybrid-v0", model=renderer, sampler_steps=2),
        "hybrid, 6 cameras": gym.make("worldsim/CityHybrid-v0", model=renderer, cameras=renderer.spec.cameras),
        "truth, 6 cameras": gym.make(env_id, cameras=renderer.spec.cameras),
    }
    for env in envs.values():
        env.reset(seed=FIRST_SEED)
    times = {name: [] for name in envs}
    for k in range(WARM + TIMED):
        for name, env in envs.items():
            began = time.process_time()
            *_, terminated, truncated, _ = env.step(np.array([0.0, 0.05], np.float32))
            times[name].append(time.process_time() - began)
            if terminated or truncated:
                env.reset(seed=FIRST_SEED + k)
    for env in envs.values():
        env.close()
    return {name: 1 / float(np.median(spent[WARM:])) for name, spent in times.items()}


def sheet(path, renderer):
    """Write a picture: plain colours above drawn above true frames, of moments that prompts ask for."""
    columns = []
    for seed, (camera, prompt) in enumerate(MOMENTS, FIRST_SEED + 500):
        env = HybridEnv(renderer, obs_modes=("rgb", "plain"), cameras=(camera,), truth_obs=True)
        obs, info = env.reset(seed=seed, options={"prompt": prompt})
        act = env.policies["mixture"](seed)
        for _ in range(WARM):
            obs, _, terminated, _, info = env.step(act(obs, info))
            if terminated:
                break
        columns.append([obs[f"plain/{camera}"], obs[f"rgb/{camera}"], info["truth_obs"][f"rgb/{camera}"]])
        env.close()
    picture = np.concatenate([np.concatenate(column, axis=0) for column in columns], axis=1)
    image = Image.fromarray(picture)
    image.resize((image.width * 3, image.height * 3), Image.Resampling.NEAREST).save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--drives", type=int, default=64)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--pairs", type=Path, help="where the drives are kept, or are already; nowhere by default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    renderer = load_renderer(arguments.model)
    env_id = renderer.spec.env_id
    bfloat16 = HybridEnv(renderer).bfloat16
    config = PairsConfig(
        env_id=env_id, episodes=arguments.drives, steps=arguments.steps, first_seed=FIRST_SEED, variation={}
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pairs = collect_pairs(arguments.pairs or folder, config)
        table, drawn = scored(pairs, renderer, bfloat16)
        draw_strip(arguments.out / "frames.png", drawn, pairs)
    sheet(arguments.out / "prompts.png", renderer)
    result = {
        "model": renderer.name,
        "checkpoint_sha": renderer.sha,
        "env": env_id,
        "drives": arguments.drives,
        "seed": FIRST_SEED,
        "bfloat16": bfloat16,
        "rows": table,
        "frames_per_cpu_second": speeds(renderer, env_id),
        **provenance(),
    }
    (arguments.out / "render.json").write_text(json.dumps(result, indent=1) + "\n")
    for name, row in table.items():
        print(
            f"{name:24} {row['psnr']:6.2f} dB  skill {row['skill']:6.3f}  sharpness {row['sharpness']:.3f}  "
            f"change {row['change']:.3f}  flicker {row['flicker']:.2f}"
        )
    for name, rate in result["frames_per_cpu_second"].items():
        print(f"{name:24} {rate:6.0f} frames/s")


if __name__ == "__main__":
    main()
