"""Steps of one model in float32 and in bfloat16, in turns in one run.

    python benchmarks/precision.py city-64 --threads 2 --json precision.json

Where the processor has instructions for bfloat16 it should win by far, elsewhere float32: that is what `compute_dtype`
counts on.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch

import worldsim
from worldsim.errors import WorldsimError
from worldsim.model import PRECISION_VARIABLE, WorldModel, compute_dtype
from worldsim.train.git import commit_name

_PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="bundled model, run or checkpoint")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    models = {}
    for precision in _PRECISIONS:
        with _asked(precision):
            models[precision] = worldsim.load(args.model)
    rows = [_row(models, num, args.turns) for num in args.streams]
    for row in rows:
        rates = ", ".join(f"{name} {row[name]:.1f}" for name in _PRECISIONS)
        print(f"{row['streams']:3} streams: {rates} frames/s; float32 over bfloat16 {row['ratio']:.2f}")
    result = {
        "rows": rows,
        "model": args.model,
        "chosen": str(compute_dtype()).removeprefix("torch."),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": args.threads,
        "turns": args.turns,
        "torch": torch.__version__,
        "commit": commit_name(),
    }
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


@contextmanager
def _asked(precision: str) -> Iterator[None]:
    before = os.environ.get(PRECISION_VARIABLE)
    os.environ[PRECISION_VARIABLE] = precision
    try:
        yield
    finally:
        if before is None:
            del os.environ[PRECISION_VARIABLE]
        else:
            os.environ[PRECISION_VARIABLE] = before


def _row(models: dict[str, WorldModel], num: int, turns: int) -> dict[str, float]:
    """Return frames per second of both, and the median ratio of a turn's two times."""
    states, seconds = {}, {name: [] for name in models}
    for name, model in models.items():
        spec, context = model.spec, model.config.num_context
        rng = np.random.default_rng(0)
        frames = rng.integers(0, 256, (num, context, spec.height, spec.width, 3), dtype=np.uint8)
        actions = np.zeros((num, context - 1, *spec.action_shape), np.float32)
        states[name] = model.encode(frames, actions, prompts=[None] * num, seeds=range(num))
    for turn in range(turns + 1):  # the first one warms up
        for name, model in models.items():
            actions = np.zeros((num, *model.spec.action_shape), np.float32)
            began = time.perf_counter()
            states[name], _ = model.step(states[name], actions)
            if turn:
                seconds[name].append(time.perf_counter() - began)
    ratio = median(b / a for a, b in zip(*(seconds[name] for name in _PRECISIONS), strict=True))
    return {"streams": num, **{name: num / median(seconds[name]) for name in _PRECISIONS}, "ratio": ratio}


if __name__ == "__main__":
    try:
        main()
    except WorldsimError as error:
        raise SystemExit(f"error: {error}") from None
