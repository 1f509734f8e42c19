"""Steps per second of the bench, beside the bare camera call of the same scene in the same run.

    python benchmarks/lab_speed.py [--steps 100] [--size 64] [--json FILE]

The two are timed in turns of 20 frames, in CPU seconds of their thread, so that other programs weigh little; figures
are medians of turns.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import numpy as np
import pybullet
from worldsim_envs.lab import SCENARIOS, LabEnv

TURN = 20
STILL = np.zeros(8, np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()

    rows = [measure(args.size, args.steps, name) for name in SCENARIOS]
    print("scenario         step /s  camera /s  step over camera  reset ms  restore ms")
    for row in rows:
        print(
            f"{row['scenario']:16} {row['steps_per_second']:7.0f}  {row['camera_per_second']:9.0f}"
            f"  {row['ratio']:16.2f}  {row['reset_ms']:8.1f}  {row['restore_ms']:10.1f}"
        )
    mean = len(rows) / sum(1 / row["steps_per_second"] for row in rows)
    print(f"all scenarios {mean:.0f} steps per second; median ratio {median(row['ratio'] for row in rows):.2f}")
    if args.json:
        args.json.write_text(json.dumps({"size": args.size, "rows": rows}, indent=1) + "\n")


def measure(size: int, steps: int, scenario: str) -> dict:
    env = LabEnv(height=size, width=size)
    original, call = pybullet.getCameraImage, ((), {})

    def remember(*positional, **named):
        nonlocal call
        call = (positional, named)
        return original(*positional, **named)

    pybullet.getCameraImage = remember
    step_times, camera_times, reset_times = [], [], []
    seed = 0
    while len(step_times) * TURN < steps:
        begun = time.thread_time()
        env.reset(seed=seed, options={"scenario": scenario})
        reset_times.append(time.thread_time() - begun)
        seed += 1
        for _ in range(4):
            begun = time.thread_time()
            for _ in range(TURN):
                env.step(STILL)
            step_times.append((time.thread_time() - begun) / TURN)
            begun = time.thread_time()
            for _ in range(TURN):
                original(*call[0], **call[1])
            camera_times.append((time.thread_time() - begun) / TURN)
    begun = time.thread_time()
    env.restore(env.snapshot())  # after 80 steps
    restore = time.thread_time() - begun
    env.close()
    pybullet.getCameraImage = original
    step, camera = median(step_times), median(camera_times)
    return {
        "scenario": scenario,
        "steps_per_second": 1 / step,
        "camera_per_second": 1 / camera,
        "ratio": camera / step,
        "reset_ms": 1000 * median(reset_times),
        "restore_ms": 1000 * restore,
    }


if __name__ == "__main__":
    main()
