"""Steps per second of the bench, beside the bare camera call of the same scene in the same run, by scenario.

    python benchmarks/lab_speed.py [--scenes 8] [--size 64] [--json FILE]

The two are timed in turns of 20 frames, in CPU seconds of their thread, so that other programs weigh little; figures
are medians over scenes, of the moment's own `redraw` (see `worldsim.evaluate.bench`).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from statistics import median

from worldsim_envs.lab import SCENARIOS

from worldsim.evaluate.bench import world_speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()

    rows = {}
    print("scenario         step /s  camera /s  step over camera  reset ms")
    for name in SCENARIOS:
        kwargs = {"height": args.size, "width": args.size}
        speed = world_speed(
            "worldsim/Lab-v0", env_kwargs=kwargs, options={"scenario": name}, num_scenes=args.scenes, seed=0
        )
        rows[name] = asdict(speed)
        print(
            f"{name:16} {speed.steps_per_second:7.0f}  {speed.cameras_per_second:9.0f}  {speed.ratio:16.2f}"
            f"  {1000 * speed.reset_s:8.1f}"
        )
    mean = len(rows) / sum(1 / row["steps_per_second"] for row in rows.values())
    print(f"all scenarios {mean:.0f} steps per second; median ratio {median(r['ratio'] for r in rows.values()):.2f}")
    if args.json:
        args.json.write_text(json.dumps({"size": args.size, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
