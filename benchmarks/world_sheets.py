"""A sheet of a world: every camera in every observation mode at one moment, each picture with its name.

python benchmarks/world_sheets.py [ENV ...] [-o docs/img] [--seed 7] [--steps 20] [--size 64] [--scenario NAME]

Depth is drawn from its nearest (white) to its farthest point (grey) with nothing black, classes in the colours of the
scene card, instances each in a colour of their own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image, ImageDraw
from worldsim_envs.rig import FAR

import worldsim  # noqa: F401 - registers the ids
from worldsim._register import TRUTHS

MODES = ("rgb", "depth", "semantic", "instance")
WIDTH, LABEL = 128, 13  # px of a picture, of its title


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("envs", nargs="*", default=list(TRUTHS), metavar="ENV")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/img"))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--scenario", default=None, help="of the bench")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for env_id in args.envs:
        path = args.output / f"cameras-{env_id.split('/')[1].removesuffix('-v0').lower()}.png"
        sheet(env_id, args.seed, args.steps, args.size, args.scenario).save(path, optimize=True)
        print(path)


def sheet(env_id: str, seed: int, steps: int, size: int, scenario: str | None) -> Image.Image:
    plain = gym.make(env_id)
    card = plain.unwrapped.scene_card  # type: ignore[attr-defined]
    plain.close()
    cameras = list(card["cameras"])
    env = gym.make(env_id, height=size, width=size, obs_modes=MODES, cameras=cameras)
    truth: Any = env.unwrapped
    obs, info = env.reset(seed=seed, options={"scenario": scenario} if scenario else None)
    policies = truth.policies
    act = policies["expert" if "expert" in policies else "mixture"](seed)
    for _ in range(steps):
        obs, _, terminated, _, info = env.step(act(obs, info))
        if terminated:
            break
    env.close()
    palette = np.array([row["rgb"] for row in card["semantic"]], np.uint8)
    image = Image.new("RGB", (len(cameras) * (WIDTH + 4), len(MODES) * (WIDTH + LABEL + 3)), "white")
    draw = ImageDraw.Draw(image)
    for column, name in enumerate(cameras):
        for row, mode in enumerate(MODES):
            left, top = column * (WIDTH + 4) + 2, row * (WIDTH + LABEL + 3)
            draw.text((left, top + 1), f"{mode} {name}", fill="black")
            tile = Image.fromarray(picture(obs[f"{mode}/{name}"], mode, palette))
            image.paste(tile.resize((WIDTH, WIDTH), Image.Resampling.NEAREST), (left, top + LABEL))
    return image


def picture(seen: np.ndarray, mode: str, palette: np.ndarray) -> np.ndarray:
    """Return a mode as (H, W, 3) uint8."""
    if mode == "rgb":
        return seen
    if mode == "depth":
        far = np.log(np.minimum(seen, max(seen[seen < FAR].max(initial=1.0), 1.0)))
        grey = 40 + 215 * (far.max() - far) / max(float(np.ptp(far)), 0.1)
        grey[seen == FAR] = 0
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
    if mode == "semantic":
        return palette[seen]
    colors = np.random.default_rng(0).integers(60, 256, (997, 3), np.uint8)
    return np.where(seen[..., None] > 0, colors[seen % 997], 0).astype(np.uint8)


if __name__ == "__main__":
    main()
