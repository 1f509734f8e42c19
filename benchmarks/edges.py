"""How much of the score do hard edges cost? Truth with soft edges, held against truth as the world draws it.

A world's camera takes one sample per pixel: an edge that moves by a fifth of a pixel turns whole pixels over, or none.
Whoever knows a scene exactly but its places only to within part of a pixel can at best draw the mean of what it may be:
here the same instant at four times the resolution, averaged over all samples within a quarter, half or all of a pixel
of the one that the world takes. Pixels that did not change by more than 10 levels are taken as known. The row "exactly"
is the world's own sample at that resolution, and says how much else differs.

    python benchmarks/edges.py worldsim/Lab-v0 --json benchmarks/edges/2026-11-22-lab.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gymnasium as gym
import numpy as np

import worldsim  # noqa: F401 - registers the worlds
from worldsim._console import show_progress
from worldsim.evaluate.setting import provenance
from worldsim.evaluate.uncertainty import VALIDATION_SEED
from worldsim.metrics import MOVING_LEVELS

HORIZONS = (1, 4, 8, 16)
WARM, STRIDE, STEPS = 20, 8, 60  # true steps before the first start, between two, and in all
SIDE, FINER = 64, 4  # pixels of a frame's side, finer ones of a pixel's side
REACH = {
    "exactly": 0,
    "within a quarter of a pixel": 1,
    "within half a pixel": 2,
    "within a pixel": 4,
}  # finer pixels to each side


def soft(frame: np.ndarray, reach: int) -> np.ndarray:
    """(4 H, 4 W, 3) to (H, W, 3): the mean of all samples near the one of each pixel, its lower left corner."""
    padded = np.pad(frame, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    near = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1), axis=(0, 1))
    return near[FINER - 1 :: FINER, ::FINER].mean((-2, -1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env")
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--seed", type=int, default=VALIDATION_SEED)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    try:
        coarse = gym.make(args.env, height=SIDE, width=SIDE, disable_env_checker=True)
        finer = gym.make(args.env, height=SIDE * FINER, width=SIDE * FINER, disable_env_checker=True)
    except gym.error.Error as error:
        parser.error(str(error))
    wrong = {name: np.zeros(len(HORIZONS)) for name in REACH}
    copied = np.zeros(len(HORIZONS))
    with show_progress() as progress:
        for k in range(args.episodes):
            frames, softened = episode(coarse, finer, args.seed + k)
            for i, horizon in enumerate(HORIZONS):
                for start in range(WARM, len(frames) - horizon, STRIDE):
                    last, true = frames[start], frames[start + horizon]
                    moved = (np.abs(true - last) > MOVING_LEVELS).any(-1)
                    copied[i] += np.square(last - true)[moved].sum()
                    for name in REACH:
                        wrong[name][i] += np.square(softened[name][start + horizon] - true)[moved].sum()
            progress("episodes", k + 1, args.episodes)
    rows = {name: dict(zip(HORIZONS, (1 - wrong[name] / copied).round(4).tolist(), strict=True)) for name in REACH}
    for name, row in rows.items():
        print(f"places known {name}: skill on moving pixels", *(f"{h}: {v:.3f}" for h, v in row.items()))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        found = {"env": args.env, "seed": args.seed, "episodes": args.episodes, "skill_moving": rows}
        args.json.write_text(json.dumps({**provenance(), **found}, indent=1) + "\n")


def episode(coarse: gym.Env, finer: gym.Env, seed: int) -> tuple[np.ndarray, dict[str, list[np.ndarray]]]:
    """Return (T, H, W, 3) frames of one episode, and the same instants with soft edges by name."""
    frame, info = coarse.reset(seed=seed)
    large, _ = finer.reset(seed=seed)
    act = coarse.unwrapped.policies["mixture"](seed)  # type: ignore[attr-defined]
    frames, softened = [], {name: [] for name in REACH}
    for _ in range(STEPS + 1):
        frames.append(frame.astype(float))
        for name, reach in REACH.items():
            softened[name].append(soft(large, reach))
        action = act(frame, info)
        frame, _, terminated, truncated, info = coarse.step(action)
        large, *_ = finer.step(action)
        if terminated or truncated:
            break
    return np.stack(frames), softened


if __name__ == "__main__":
    main()
