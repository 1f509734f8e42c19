"""A sheet of prompts in the middle of imagined drives: one row per drive, one column per prompt, the same actions.

python benchmarks/prompt_sheet.py [city-64] [-o docs/img/prompts.png] [--seed 108600] [--step 20]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from prompts import WARM, caption_of, drive, truth_of

import worldsim

SCENES = (
    {"time_of_day": "night", "weather": "clear"},
    {"time_of_day": "day", "weather": "clear"},
    {"time_of_day": "day", "weather": "rain"},
    {"time_of_day": "dusk", "weather": "clear"},
)
PROMPTS = {  # by title
    "no prompt": "",
    "a bright noon": "a bright noon",
    "deep night": "deep night",
    "night, in Chinese": "正值夜晚",
    "pouring rain": "pouring rain",
    "falling dusk": "falling dusk",
    "murky fog": "murky fog",
}
SIDE, LABEL = 128, 16  # px of a frame, of a title


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="city-64")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/img/prompts.png"))
    parser.add_argument("--seed", type=int, default=108_600, help="of the first drive")
    parser.add_argument("--step", type=int, default=20, help="imagined steps after the prompt")
    options = parser.parse_args()
    model = worldsim.load(options.model)
    found = drives(model, SCENES, options.seed, WARM + options.step)
    rows = [imagined(model, *driven, options.step) for driven in found]
    draw_sheet(rows, ["true, before", *PROMPTS], options.output)
    print(f"{options.output}: {len(rows)} drives, {options.step} imagined steps after each prompt")


def drives(
    model: worldsim.WorldModel, scenes: Sequence[Mapping[str, str]], seed: int, num_steps: int
) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """Yield the frames, actions and caption of a drive in each scene that does not end early."""
    env = truth_of(model)
    for scene in scenes:
        driven, drawn = None, {**scene, "traffic": "light"}
        while driven is None:
            driven = drive(env, seed, drawn, num_steps)
            seed += 1
        yield *driven, caption_of(env, seed - 1, drawn)
    env.close()


def imagined(
    model: worldsim.WorldModel, frames: np.ndarray, actions: np.ndarray, caption: str, num_steps: int
) -> list[np.ndarray]:
    """Return the last true frame, and the last imagined one for each prompt, which repaints it."""
    num, first = len(PROMPTS), WARM + 1 - model.config.num_context
    state = model.encode(
        np.repeat(frames[None, first : WARM + 1], num, axis=0),
        np.repeat(actions[None, first:WARM], num, axis=0),
        prompts=[caption] * num,
        seeds=np.zeros(num, np.int64),
    )
    wanted = [model.retold(caption, prompt) for prompt in PROMPTS.values()]
    state = model.repaint(state, wanted, told=[caption] * num, mask=[bool(prompt) for prompt in PROMPTS.values()])
    for action in actions[WARM : WARM + num_steps]:
        state, predicted = model.step(state, np.repeat(action[None], num, axis=0))
    return [frames[WARM], *predicted.frames]


def draw_sheet(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], path: Path) -> None:
    """Write frames as a grid with titles."""
    sheet = Image.new("RGB", (SIDE * len(titles), LABEL + SIDE * len(rows)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.text((column * SIDE + 3, 1), title, fill="black", font=ImageFont.load_default(11))
        for row, frames in enumerate(rows):
            picture = Image.fromarray(frames[column]).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            sheet.paste(picture, (column * SIDE, LABEL + row * SIDE))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


if __name__ == "__main__":
    main()
