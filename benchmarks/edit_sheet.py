"""A sheet of edited frames: true ones on the left, beside them the same as they would look if a prompt held.

python benchmarks/edit_sheet.py [city-128] [-o docs/img/edit.png] [--seed 108600]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from prompt_sheet import draw_sheet, drives

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="city-128")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/img/edit.png"))
    parser.add_argument("--seed", type=int, default=108_600, help="of the first drive")
    options = parser.parse_args()
    model = worldsim.load(options.model)
    found = list(drives(model, SCENES, options.seed, STEP))
    seen, told, num = np.stack([frames[-1:] for frames, _, _ in found]), [caption for *_, caption in found], len(found)
    edited = [model.edit(seen, [prompt] * num, seeds=range(num), told=told) for prompt in PROMPTS.values()]
    rows = [[frames[row, 0] for frames in (seen, *edited)] for row in range(num)]
    draw_sheet(rows, ["true", *PROMPTS], options.output)


if __name__ == "__main__":
    main()
