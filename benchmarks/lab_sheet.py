"""A contact sheet of the bench: every scenario at three moments, by its expert.

python benchmarks/lab_sheet.py [-o docs/img/lab.png] [--split train] [--seed 7]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from worldsim_envs.lab import SCENARIOS, LabEnv

SCALE, COLUMNS, LABEL = 2, 4, 14  # px per pixel, scenarios per row, px of a title
MOMENTS = {"push": (0, 40, 90), "pick_place": (0, 36, 62), "cart": (0, 24, 60), "camera": (0, 12, 24)}
EARLY = {"free_fall", "two_drops", "projectile"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/img/lab.png"))
    parser.add_argument("--split", default="train")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)

    env = LabEnv()
    width, height = 3 * 64 * SCALE + 8, 64 * SCALE + LABEL + 4
    sheet = Image.new("RGB", (COLUMNS * width, -(-len(SCENARIOS) // COLUMNS) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, name in enumerate(SCENARIOS):
        row, column = divmod(index, COLUMNS)
        draw.text((column * width + 2, row * height + 1), name.replace("_", " "), fill="black")
        sheet.paste(strip(env, name, args.seed + index, args.split), (column * width, row * height + LABEL))
    env.close()
    sheet.save(args.output, optimize=True)
    print(args.output)


def strip(env: LabEnv, name: str, seed: int, split: str) -> Image.Image:
    variation = {"split": split, "change": "none"}
    obs, info = env.reset(seed=seed, options={"scenario": name, "variation": variation})
    act = env.policies["expert"](seed)
    moments = MOMENTS.get(name, (0, 8, 14) if name in EARLY else (0, 14, 36))
    frames = [obs]
    for _ in range(moments[-1]):
        obs, _, _, _, info = env.step(act(obs, info))
        frames.append(obs)
    image = Image.fromarray(np.concatenate([frames[t] for t in moments], axis=1))
    return image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.NEAREST)


if __name__ == "__main__":
    main()
