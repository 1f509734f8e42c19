"""Steps per second of the table, beside the bare camera call of the same scene in the same run.

    python benchmarks/tabletop_speed.py [--steps 200] [--size 64] [--json FILE]

An expert acts; only `step` is timed, in turns of 20 frames with the camera, in CPU seconds of the thread, so that other
programs weigh little. Figures are medians of turns.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import pybullet
from worldsim_envs.tabletop import TASKS, TabletopEnv

TURN, EPISODE = 20, 80


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()

    rows = [measure(args.size, args.steps, task) for task in TASKS]
    print("task    step /s  camera /s  step over camera  reset ms  restore ms")
    for row in rows:
        print(
            f"{row['task']:6} {row['steps_per_second']:8.0f}  {row['camera_per_second']:9.0f}"
            f"  {row['ratio']:16.2f}  {row['reset_ms']:8.1f}  {row['restore_ms']:10.1f}"
        )
    if args.json:
        args.json.write_text(json.dumps({"size": args.size, "rows": rows}, indent=1) + "\n")


def measure(size: int, steps: int, task: str) -> dict:
    env = TabletopEnv(height=size, width=size, task=task)
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
        obs, info = env.reset(seed=seed)
        reset_times.append(time.thread_time() - begun)
        act = env.policies["expert"](seed)
        seed += 1
        for _ in range(EPISODE // TURN):
            spent = 0.0
            for _ in range(TURN):
                action = act(obs, info)
                begun = time.thread_time()
                obs, _, _, _, info = env.step(action)
                spent += time.thread_time() - begun
            step_times.append(spent / TURN)
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
        "task": task,
        "steps_per_second": 1 / step,
        "camera_per_second": 1 / camera,
        "ratio": camera / step,
        "reset_ms": 1000 * median(reset_times),
        "restore_ms": 1000 * restore,
    }


if __name__ == "__main__":
    main()
