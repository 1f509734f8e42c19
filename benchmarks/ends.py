"""Calibrate a model's probability of an end on validation seeds of its truth, and print how well it holds.

    python benchmarks/ends.py city-64 --write --json benchmarks/ends/2026-11-22-city.json

Scale and bias of the termination head's log-odds; with --write they go into the checkpoint's config.json, where every
later step takes them from.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from worldsim._console import show_progress
from worldsim.evaluate.ends import calibrate_ends
from worldsim.evaluate.setting import provenance
from worldsim.evaluate.uncertainty import VALIDATION_SEED
from worldsim.model import load, set_terminate_calibration


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--horizon", type=int, default=64)
    parser.add_argument("--seed", type=int, default=VALIDATION_SEED)
    parser.add_argument("--write", action="store_true", help="put it into the checkpoint")
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    with show_progress() as progress:
        found = calibrate_ends(
            load(args.model), episodes=args.episodes, horizon=args.horizon, seed=args.seed, progress=progress
        )
    figures = found["figures"]
    print(f"{figures['judged_ends']} ends in {figures['judged_steps']} steps of clips that were not fitted")
    print(f"logit * {found['scale']:.3f} + {found['bias']:.3f}; AUROC {figures['auroc']:.3f}")
    print(f"log loss of the mere frequency of ends {figures['log_loss_of_rate']:.5f}")
    for name in ("before", "after"):
        part = figures[name]
        print(f"{name}: log loss {part['log_loss']:.5f}, Brier {part['brier']:.5f}", end=", ")
        print(f"calibration error {part['calibration_error']:.5f}")
        for row in part["reliability"]:
            said, true = f"{row['predicted']:.4f}", f"{row['true']:.4f}"
            print(f"  said {row['from']:g} to {row['to']:g}: {row['n']:6} steps, mean {said}, true share {true}")
        print("  ends said:", part["ends"])
    print("reward:", ", ".join(f"{name} {value:.4f}" for name, value in figures["reward"].items() if value is not None))
    if args.write:
        print(f"written: {set_terminate_calibration(args.model, found)}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({**provenance(), "model": args.model, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
