"""How sure one arm is better than another: the difference of their skills over the same clips, resampled together.

    python benchmarks/bakeoff/paired.py --data data/train --val data/val -o runs/bakeoff-60 --arms patch8,patch16

The arms must have been trained to their end in ``-o``. Every later one is held against the first.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from arms import ARMS, chosen
from design import Design
from judge import Clips, for_imagination, imagined
from setting import open_clips, open_world

from worldsim import metrics
from worldsim.errors import CheckpointError, WorldsimError
from worldsim.model import ModelConfig
from worldsim.store import RolloutStore

_AT = (1, 8, 16)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="store that they learned from")
    parser.add_argument("--val", type=Path, required=True, help="store with held-out seeds")
    parser.add_argument("-o", "--out", type=Path, required=True, help="directory of the bake-off")
    parser.add_argument("--arms", required=True, help="two or more of those in it; the first is the one to beat")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        names = chosen(args.arms)
        world = open_world(args.data)
        clips = open_clips(world, RolloutStore.open(args.val), args.clips)
        naive = metrics.squared_error(clips.last, clips.truth)  # (N, T)
        errors = {}
        for name in names:
            design = ARMS[name].make(world, ModelConfig())
            _fill(design, args.out / name / "state.pt")
            errors[name] = _errors(design, clips)
        for name in names[1:]:
            won = errors[names[0]] - errors[name]  # over the naive error it is the difference of the skills
            gain = metrics.pooled_ratio(won.sum(axis=0), naive.sum(axis=0))
            low, high = metrics.pooled_ratio_interval(won, naive)
            rows = [[float(values[step - 1]) for values in (gain, low, high)] for step in _AT]
            lines = [
                f"step {step}: {v:+.3f} ({lo:+.3f} to {hi:+.3f})" for step, (v, lo, hi) in zip(_AT, rows, strict=True)
            ]
            print(f"{name} over {names[0]} | skill | {' | '.join(lines)}")
            told = {"arm": name, "over": names[0], "clips": len(naive), "steps": _AT, "gain": rows}
            (args.out / f"paired-{name}-{names[0]}.json").write_text(json.dumps(told) + "\n")
    except WorldsimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _fill(design: Design, path: Path) -> None:
    """Give a design the averaged weights of its run."""
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; train the arm first")
    state = torch.load(path, map_location="cpu", weights_only=True)
    design.load_state_dict(state["design"])
    with torch.no_grad():
        for name, value in design.named_parameters():
            value.copy_(state["average"][name])


def _errors(design: Design, clips: Clips) -> np.ndarray:
    """Return the squared error of every clip and step, (N, T)."""
    frames = imagined(for_imagination(design), clips, np.arange(len(clips.captions)))
    return metrics.squared_error(frames, clips.truth)


if __name__ == "__main__":
    sys.exit(main())
