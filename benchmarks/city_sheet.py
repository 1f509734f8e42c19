"""Contact sheets of the city: times by weathers, presets, and what happens in its streets.

python benchmarks/city_sheet.py [-o docs/img]

Writes city.png (nine skies, two moments each) and city_streets.png (every weather preset; a red light, people who
cross, a car that brakes, a curved street, each at seven moments).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from worldsim_envs.city import CityEnv
from worldsim_envs.city.weather import PRESETS

SCALE, LABEL, GAP = 2, 13, 2  # px per pixel, px of a title, px between pictures
CALM: dict[str, Any] = {"change": "none"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/img"))
    args = parser.parse_args()
    env = CityEnv()
    skies = []
    for time in ("day", "dusk", "night"):
        row = []
        for weather in ("clear", "rain", "fog"):
            row += moments(env, 4, {"time_of_day": time, "weather": weather, "bend": 0.6, "map_seed": 77}, (10, 30))
        skies.append(("", row))
    save(skies, args.output / "city.png")

    names = list(PRESETS)
    rows = []
    for k in range(3):
        some = names[7 * k : 7 * k + 7]
        pictures = [moments(env, 5, {"weather_preset": name, "bend": 1.0, "map_seed": 4}, (2,))[0] for name in some]
        rows.append((", ".join(some), pictures))
    day = {"time_of_day": "day", "weather": "clear"}
    scenes: dict[str, tuple[int, dict[str, Any], str]] = {
        "a red light": (0, {**day, "traffic": "light"}, "light_changes"),
        "people cross": (10, {**day, "pedestrians": "many"}, "pedestrian_crosses"),
        "the car ahead brakes": (0, {**day, "traffic": "heavy"}, "car_brakes"),
    }
    for title, (seed, variation, name) in scenes.items():
        rows.append((title, around(env, seed, variation, name)))
    rows.append(("a curved street", moments(env, 9, {**day, "bend": 1.0}, (0, 8, 16, 24, 32, 40, 48))))
    save(rows, args.output / "city_streets.png")
    env.close()


def moments(env: Any, seed: int, variation: dict[str, Any], at: tuple[int, ...]) -> list[np.ndarray]:
    """Return the frames of some steps of an episode."""
    obs, info = env.reset(seed=seed, options={"variation": {**CALM, **variation}})
    act = env.policies["expert"](seed)
    frames = [obs]
    for _ in range(max(at)):
        obs, _, terminated, _, info = env.step(act(obs, info))
        frames.append(obs)
        if terminated:
            break
    return [frames[min(t, len(frames) - 1)] for t in at]


def around(env: Any, seed: int, variation: dict[str, Any], name: str) -> list[np.ndarray]:
    """Return seven frames, 0.4 s apart, around the first event of a name in the episodes from ``seed`` on."""
    while True:
        obs, info = env.reset(seed=seed, options={"variation": {**CALM, **variation}})
        act = env.policies["expert"](seed)
        frames, seen = [obs], -1
        for t in range(120):
            obs, _, terminated, _, info = env.step(act(obs, info))
            frames.append(obs)
            if seen < 0 and t > 8 and any(event["name"] == name for event in info["events"]):
                seen = t
            if terminated or (seen >= 0 and t == seen + 20):
                break
        if seen >= 0 and len(frames) > seen + 20:
            return frames[seen - 6 : seen + 20 : 4][:7]
        seed += 1


def save(rows: list[tuple[str, list[np.ndarray]]], path: Path) -> None:
    """Write rows of frames with their titles."""
    side = 64 * SCALE
    label = LABEL if any(title for title, _ in rows) else 0
    columns = max(len(frames) for _, frames in rows)
    sheet = Image.new("RGB", (columns * (side + GAP) - GAP, len(rows) * (side + GAP + label) - GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for y, (title, frames) in enumerate(rows):
        top = y * (side + GAP + label)
        draw.text((2, top), title, fill="black")
        for x, frame in enumerate(frames):
            picture = Image.fromarray(frame).resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(picture, (x * (side + GAP), top + label))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
