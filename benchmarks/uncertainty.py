"""Calibrate a model's uncertainty on validation seeds of its truth, and print how well it ranks errors.

    python benchmarks/uncertainty.py city-64 --json benchmarks/uncertainty/2026-11-22-city.json

The calibration goes beside the checkpoint, where `uncertainty=True` reads it, unless -o names another file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from worldsim._console import show_progress
from worldsim.evaluate.setting import provenance
from worldsim.evaluate.uncertainty import VALIDATION_SEED, calibrate
from worldsim.model import find_checkpoint, load
from worldsim.sim.uncertainty import CALIBRATION_FILE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-o", "--out", type=Path, default=None)
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--horizon", type=int, default=32)
    parser.add_argument("--seed", type=int, default=VALIDATION_SEED)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    out = args.out or find_checkpoint(args.model) / CALIBRATION_FILE
    model = load(args.model)
    with show_progress() as progress:
        calibration = calibrate(model, episodes=args.episodes, horizon=args.horizon, seed=args.seed, progress=progress)
    calibration.save(out)
    figures = calibration.figures
    print(f"AUROC of an error above the 0.75 quantile, {figures['judged_steps']} steps of clips that were not fitted")
    print("sign       over all steps   at equal step")
    for name, value in figures["auroc"].items():
        at_step = figures["auroc_at_step"][name]
        print(f"{name:10} {_figure(value):>14}   {_figure(at_step):>13}")
    print(f"calibration: {out}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        about = {**provenance(), "model": model.name, "checkpoint_sha": model.sha}
        args.json.write_text(json.dumps({**about, **figures}, indent=1) + "\n")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
