"""Imagined frames per second of every design with random weights, in one run: speed does not depend on training.

    python benchmarks/bakeoff/speed.py --data data/city3-train -o runs/bakeoff [--threads 1]

One stream and 64, from actions to uint8 frames; a real world's env adds the same to all. The designs take turns step by
step, so that what else the machine does weighs on all alike. On one thread a step is counted in CPU seconds, else by
the clock; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import torch
from arms import ARMS, REFERENCE
from design import NUM_CONTEXT, Design, World
from judge import for_imagination
from setting import open_world

from worldsim.errors import WorldsimError
from worldsim.model import ModelConfig, ModelSpec, TextEncoder, WorldModel, WorldState, autocast, new_model
from worldsim.train.validate import _decode_actions

__all__ = ["measure", "time_steps"]

STREAMS = {1: 40, 64: 5}
"""Timed steps by number of streams."""
SHIPPED = "patch8 as shipped"


class _Steppable(Protocol):
    """What is timed of a design."""

    text: TextEncoder

    def begin(self, frames: torch.Tensor, action: torch.Tensor, text: torch.Tensor, seeds: torch.Tensor) -> Any: ...
    def step(self, state: Any, action: torch.Tensor) -> tuple[Any, torch.Tensor]: ...


class _Shipped:
    """The first design as `WorldModel` steps it, which may be a shorter way to the same frames."""

    def __init__(self, world: World) -> None:
        self.model: WorldModel = new_model(ModelConfig(), world.spec, captions=world.vocabulary.tokens)
        self.text: TextEncoder = self.model.networks.text

    def begin(self, frames: torch.Tensor, action: torch.Tensor, text: torch.Tensor, seeds: torch.Tensor) -> WorldState:
        return self.model.encode(frames.numpy(), self._raw(action), prompts=[None] * len(frames), seeds=seeds.numpy())

    def step(self, state: WorldState, action: torch.Tensor) -> tuple[WorldState, torch.Tensor]:
        state, predicted = self.model.step(state, self._raw(action[:, None])[:, 0])
        return state, predicted.pixels

    def _raw(self, action: torch.Tensor) -> np.ndarray:
        """Return actions (N, T, *A) in the units of the space for encoded ones (N, T, A)."""
        return _decode_actions(self.model.spec, action.numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="store whose world it is")
    parser.add_argument("-o", "--out", type=Path, required=True, help="speed.json is written here")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    try:
        world = open_world(args.data)
    except WorldsimError as error:
        raise SystemExit(f"error: {error}") from None
    torch.set_num_threads(args.threads)
    measure(world, args.out)


def measure(world: World, out: Path) -> dict[str, dict[str, float]]:
    """Time all arms, print the figures and write them to ``out``/speed.json."""
    designs: dict[str, Design] = {}
    for name, arm in ARMS.items():
        torch.manual_seed(0)
        designs[name] = for_imagination(arm.make(world, ModelConfig()))
    parameters = {name: sum(p.numel() for p in design.parameters()) for name, design in designs.items()}
    rows: dict[str, dict[str, float]] = {name: {"parameters": parameters[name]} for name in ARMS}
    shipped = _Shipped(world)
    rows[SHIPPED] = {"parameters": shipped.model.num_parameters}
    for num, steps in STREAMS.items():
        for name, seconds in time_steps({**designs, SHIPPED: shipped}, num, steps, world.spec).items():
            rows[name][f"fps_{num}"] = num / seconds
    result = {"threads": torch.get_num_threads(), "rows": rows}
    out.mkdir(parents=True, exist_ok=True)
    (out / "speed.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"{'arm':16} parameters  1 stream  64 streams   over {REFERENCE}: 1, 64   ({result['threads']} threads)")
    for name, row in rows.items():
        ratios = [row[f"fps_{num}"] / rows[REFERENCE][f"fps_{num}"] for num in STREAMS]
        print(
            f"{name:16} {row['parameters'] / 1e6:8.2f} M {row['fps_1']:8.1f}/s {row['fps_64']:9.1f}/s"
            f"      {ratios[0]:8.1f} {ratios[1]:7.1f}"
        )
    return rows


@torch.inference_mode()
def time_steps(
    designs: Mapping[str, _Steppable], num_streams: int, num_steps: int, spec: ModelSpec
) -> dict[str, float]:
    """Return the median seconds of one step of all streams, by name."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    generator = torch.Generator().manual_seed(0)
    size = (num_streams, NUM_CONTEXT, spec.height, spec.width, 3)
    frames = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    actions = 2 * torch.rand(num_streams, NUM_CONTEXT, spec.action_dim, generator=generator) - 1
    seeds = torch.arange(num_streams)
    spent: dict[str, list[float]] = {name: [] for name in designs}
    with autocast():
        states = {
            name: design.begin(frames, actions[:, 1:], design.text.features([None] * num_streams), seeds)
            for name, design in designs.items()
        }
        for t in range(num_steps + 2):
            for name, design in designs.items():
                began = clock()
                states[name], shown = design.step(states[name], actions[:, 0])
                shown.numpy()
                if t >= 2:
                    spent[name].append(clock() - began)
    return {name: median(values) for name, values in spent.items()}


if __name__ == "__main__":
    main()
