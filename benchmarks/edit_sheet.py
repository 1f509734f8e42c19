"""A sheet of edited frames: true ones above, below them the same as they would look if a prompt held.

python benchmarks/edit_sheet.py [city-128] [-o docs/img/edit.png] [--seed 108600]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from prompts import caption_of, drive, truth_of

import worldsim

SCENES = (
    {"time_of_day": "day", "weather": "clear"},
    {"time_of_day": "day", "weather": "rain"},
    {"time_of_day": "day", "weather": "fog"},
    {"time_of_day": "dusk", "weather": "clear"},
    {"time_of_day": "night", "weather": "clear"},
    {"time_of_day": "night", "weather": "rain"},
)
PROMPTS = {  # by title
    "a bright noon": "a bright noon",
    "falling dusk": "falling dusk",
    "deep night, in Chinese": "深夜",
    "clear weather": "clear weather",
    "hard rain": "hard rain",
    "thick fog, in Chinese": "浓雾",
}
STEP = 40  # of a drive
SIDE, LABEL = 128, 16  # px of a frame, of a title


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="city-128")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/img/edit.png"))
    parser.add_argument("--seed", type=int, default=108_600, help="of the first drive")
    options = parser.parse_args()
    model = worldsim.load(options.model)
    env, seed, seen, told = truth_of(model), options.seed, [], []
    for scene in SCENES:
        driven, drawn = None, {**scene, "traffic": "light"}
        while driven is None:
            driven = drive(env, seed, drawn, STEP)
            seed += 1
        seen.append(driven[0][-1])
        told.append(caption_of(env, seed - 1, drawn))
    env.close()
    clips, num = np.stack(seen)[:, None], len(seen)
    edited = [model.edit(clips, [prompt] * num, seeds=range(num), told=told)[:, 0] for prompt in PROMPTS.values()]
    titles = ["true", *PROMPTS]
    sheet = Image.new("RGB", (SIDE * len(titles), LABEL + SIDE * num), "white")
    pen = ImageDraw.Draw(sheet)
    for column, (title, frames) in enumerate(zip(titles, [seen, *edited], strict=True)):
        pen.text((column * SIDE + 3, 1), title, fill="black", font=ImageFont.load_default(11))
        for row, frame in enumerate(frames):
            picture = Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            sheet.paste(picture, (column * SIDE, LABEL + row * SIDE))
    sheet.save(options.output)


if __name__ == "__main__":
    main()
