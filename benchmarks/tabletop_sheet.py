"""A contact sheet of the table: every task at five moments by its expert, from the side and from the wrist.

python benchmarks/tabletop_sheet.py [-o docs/img/tabletop.png] [--seed 2]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from worldsim_envs.tabletop import TASKS, TabletopEnv

SCALE, LABEL = 2, 14  # px per pixel, px of a title
MOMENTS = {"reach": (0, 3, 6, 9, 12), "push": (0, 10, 16, 20, 26), "stack": (0, 13, 24, 34, 48)}
LIGHTS = {"reach": 1.0, "push": 0.7, "stack": 0.9}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/img/tabletop.png"))
    parser.add_argument("--seed", type=int, default=2)
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)

    env = TabletopEnv(cameras=("side", "wrist"))
    strips = [strip(env, task, args.seed + index) for index, task in enumerate(TASKS)]
    env.close()
    sheet = Image.new("RGB", (strips[0].width, sum(s.height + LABEL for s in strips)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (task, picture) in enumerate(zip(TASKS, strips, strict=True)):
        top = index * (picture.height + LABEL)
        draw.text((2, top + 1), f"{task}: steps {', '.join(map(str, MOMENTS[task]))}", fill="black")
        sheet.paste(picture, (0, top + LABEL))
    sheet.save(args.output, optimize=True)
    print(args.output)


def strip(env: TabletopEnv, task: str, seed: int) -> Image.Image:
    variation = {"task": task, "change": "none", "extra": 1, "light": LIGHTS[task]}
    obs, info = env.reset(seed=seed, options={"variation": variation})
    act = env.policies["expert"](seed)
    frames = [obs]
    for _ in range(MOMENTS[task][-1]):
        obs, _, _, _, info = env.step(act(obs, info))
        frames.append(obs)
    rows = [np.concatenate([frames[t][f"rgb/{view}"] for t in MOMENTS[task]], axis=1) for view in ("side", "wrist")]
    image = Image.fromarray(np.concatenate(rows))
    return image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.NEAREST)


if __name__ == "__main__":
    main()
