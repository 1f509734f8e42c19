"""Steps per second of the true city, beside the bare camera call of the same scene in the same run.

    python benchmarks/city_speed.py [--steps 400] [--size 64] [--json FILE]

The two are timed in turns of 20 frames, in CPU seconds of their thread, so that other programs weigh little; figures
are medians of turns.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import pybullet
from worldsim_envs.city import CityEnv

TURN = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()

    rows = []
    for traffic in ("light", "heavy"):
        for weather in ("clear", "rain", "fog"):
            rows.append(measure(args.size, args.steps, traffic, weather))
    print("traffic  weather  step /s  camera /s  step over camera  reset ms")
    for row in rows:
        print(
            f"{row['traffic']:8} {row['weather']:8} {row['steps_per_second']:7.0f}  {row['camera_per_second']:9.0f}"
            f"  {row['ratio']:16.2f}  {row['reset_ms']:8.0f}"
        )
    print(f"median ratio {median(row['ratio'] for row in rows):.2f}")
    if args.json:
        args.json.write_text(json.dumps({"size": args.size, "rows": rows}, indent=1) + "\n")


def measure(size: int, steps: int, traffic: str, weather: str) -> dict[str, float | str]:
    env = CityEnv(height=size, width=size)
    variation = {"traffic": traffic, "weather": weather, "change": "none", "time_of_day": "day"}
    original, call = pybullet.getCameraImage, ((), {})

    def remember(*positional, **named):
        nonlocal call
        call = (positional, named)
        return original(*positional, **named)

    pybullet.getCameraImage = remember
    step_times, camera_times, reset_times = [], [], []
    seed = 400
    while len(step_times) * TURN < steps:
        begun = time.thread_time()
        obs, info = env.reset(seed=seed, options={"variation": variation})
        reset_times.append(time.thread_time() - begun)
        act = env.policies["lane_follower"](seed)
        seed += 1
        terminated = False
        for _ in range(4):
            spent = 0.0
            for _ in range(TURN):
                action = act(obs, info)
                begun = time.thread_time()
                obs, _, terminated, _, info = env.step(action)
                spent += time.thread_time() - begun
                if terminated:
                    break
            if terminated:
                break
            step_times.append(spent / TURN)
            begun = time.thread_time()
            for _ in range(TURN):
                original(*call[0], **call[1])
            camera_times.append((time.thread_time() - begun) / TURN)
    env.close()
    pybullet.getCameraImage = original
    step, camera = median(step_times), median(camera_times)
    return {
        "traffic": traffic,
        "weather": weather,
        "steps_per_second": 1 / step,
        "camera_per_second": 1 / camera,
        "ratio": camera / step,
        "reset_ms": 1000 * median(reset_times),
    }


if __name__ == "__main__":
    main()
