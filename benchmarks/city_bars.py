"""Two questions of a city model that `worldsim compare` does not ask: does it steer, and does it last?

**Steering.** From true starts at 3 m/s or more, one branch steers left, one right. The mean horizontal flow between
imagined steps 7 and 8 is read from the frames by least squares on their gradients; a car that turns left sees the
street move right. The same branches in the truth are the ceiling, frames that stand still the floor.

**Lasting.** Drives of 600 imagined steps (60 s) under the actions of true drives that long. Over the last 60 steps:
gradient energy, mean and spread of each colour, and the share of pixels that move from step to step, over the truth's.

    python benchmarks/city_bars.py city-64 --json benchmarks/city/DATE/bars.json --strip benchmarks/city/DATE/600.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image
from prompts import truth_of

import worldsim
from worldsim.evaluate.setting import provenance
from worldsim.metrics import gradient_energy, moving_mask

TEST_SEED, WARM = 200_000, 24  # true steps before imagination
STEER_STEPS, MIN_SPEED = 8, 3.0  # m/s
LONG, LAST = 600, 60  # imagined steps; those that are judged
SHOWN = (1, 10, 50, 100, 200, 300, 400, 500, 600)


def sideways(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean horizontal flow from one frame to the next in pixels, right positive; (H, W, 3) uint8 each."""
    flow = 0.0
    sides = [2**k for k in reversed(range(first.shape[1].bit_length() - 4))]  # 4, 2, 1 for 64 pixels
    for side in sides:  # coarse to fine: what was found moves the first frame before the rest is looked for
        a, b = (frame.astype(np.float64).mean(axis=-1) for frame in (first, second))
        height, width = a.shape[0] // side * side, a.shape[1] // side * side
        a, b = (x[:height, :width].reshape(height // side, side, -1, side).mean(axis=(1, 3)) for x in (a, b))
        columns = np.arange(a.shape[1])
        moved = np.stack([np.interp(columns - flow / side, columns, row) for row in a])
        across, change = np.gradient((moved + b) / 2, axis=1), b - moved
        edge = 2 + int(abs(flow) / side)
        across, change = across[:, edge:-edge], change[:, edge:-edge]
        flow -= side * float((across * change).sum() / max((across**2).sum(), 1e-9))
    return flow


def steering(model: worldsim.WorldModel, episodes: int) -> dict:
    """Return how often left and right are told apart, in imagination and in the truth."""
    env = truth_of(model)
    truth, context, seed = env.unwrapped, model.config.num_context, TEST_SEED
    frames, actions, true_flow, num_ended = [], [], [], 0
    while len(frames) < episodes:
        obs, info = env.reset(seed=seed)
        act = truth.policies["mixture"](seed)
        seed += 1
        seen, done = [obs], []
        for _ in range(WARM):
            done.append(act(obs, info))
            obs, _, ended, _, info = env.step(done[-1])
            seen.append(obs)
            if ended:
                break
        if ended or np.linalg.norm(info["state"]["ego"]["vel"][:2]) < MIN_SPEED:
            continue
        moment, flows = truth.snapshot(), []
        for steer in (1.0, -1.0):
            truth.restore(moment)
            branch, ended = [], False
            while len(branch) < STEER_STEPS and not ended:
                obs, _, ended, _, _ = truth.step(np.array([steer, 0.2], np.float32))
                branch.append(obs)
            flows.append(sideways(branch[-2], branch[-1]) if len(branch) == STEER_STEPS else None)
        if None in flows:  # the truth hit something on the way: there is no step 8 to compare with
            num_ended += 1
            continue
        frames.append(np.stack(seen[-context:]))
        actions.append(np.stack(done[1 - context :]))
        true_flow.append(flows)
    env.close()
    flow = []
    for steer in (1.0, -1.0):
        state = model.encode(np.stack(frames), np.stack(actions), prompts=[None] * episodes, seeds=np.arange(episodes))
        commands = np.tile(np.array([steer, 0.2], np.float32), (episodes, STEER_STEPS, 1))
        imagined = model.rollout(state, commands)[1].frames  # (N, 8, H, W, 3)
        flow.append([sideways(clip[-2], clip[-1]) for clip in imagined])
    ours, true = np.array(flow).T, np.array(true_flow)  # (N, 2): left, right
    figures = {}
    for name, pair in (("model", ours), ("truth", true)):
        signs = (pair[:, 0] > 0) & (pair[:, 1] < 0)
        figures[name] = {
            "both_signs_right": float(signs.mean()),
            "left_moves_the_street_further_right": float((pair[:, 0] > pair[:, 1]).mean()),
            "median_flow_px": [float(v) for v in np.median(pair, axis=0)],
        }
    return {"n": episodes, "seeds": [TEST_SEED, seed - 1], "steps": STEER_STEPS, "truth_ended": num_ended, **figures}


def lasting(model: worldsim.WorldModel, episodes: int, strip: Path | None) -> dict:
    """Return how the last minute's end looks beside the truth's."""
    env = truth_of(model)
    context, seed = model.config.num_context, TEST_SEED
    frames, actions, after, true = [], [], [], []
    while len(frames) < episodes:
        obs, info = env.reset(seed=seed)
        act = env.unwrapped.policies["expert"](seed)
        seed += 1
        seen, done = [obs], []
        for _ in range(WARM + LONG):
            done.append(act(obs, info))
            obs, _, ended, _, info = env.step(done[-1])
            seen.append(obs)
            if ended:
                break
        if ended:
            continue
        frames.append(np.stack(seen[WARM + 1 - context : WARM + 1]))
        actions.append(np.stack(done[WARM + 1 - context : WARM]))
        after.append(np.stack(done[WARM:]))
        true.append(np.stack(seen[WARM + 1 :]))
    env.close()
    state = model.encode(np.stack(frames), np.stack(actions), prompts=[None] * episodes, seeds=np.arange(episodes))
    imagined, commands = [], np.stack(after)
    for t in range(LONG):
        state, prediction = model.step(state, commands[:, t])
        imagined.append(prediction.frames)
    ours, truth = np.stack(imagined, axis=1), np.stack(true)  # (N, 600, H, W, 3)
    if strip is not None:
        rows = []
        for i in range(min(6, episodes)):
            rows += [np.concatenate([clip[i, t - 1] for t in SHOWN], axis=1) for clip in (truth, ours)]
        strip.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate(rows)).resize((128 * len(SHOWN), 128 * len(rows)), 0).save(strip)
    curves = {}
    for start in (0, 120, 240, 360, 480, LONG - LAST):
        a, b = (look(clip[:, start : start + LAST]) for clip in (ours, truth))
        curves[f"{start + 1}-{start + LAST}"] = {name: a[name] / b[name] for name in a}
    last = curves[f"{LONG - LAST + 1}-{LONG}"]
    return {
        "n": episodes,
        "seeds": [TEST_SEED, seed - 1],
        "over_truth": curves,
        "within_20_percent_at_the_end": {name: bool(0.8 <= value <= 1.2) for name, value in last.items()},
    }


def look(clips: np.ndarray) -> dict[str, float]:
    """Return the statistics of (N, T, H, W, 3) frames."""
    figures = {
        "gradient_energy": float(gradient_energy(clips).mean()),
        "moving": float(moving_mask(clips[:, 1:], clips[:, :-1]).mean()),
    }
    for i, name in enumerate(("red", "green", "blue")):
        figures[f"{name}_mean"] = float(clips[..., i].mean())
        figures[f"{name}_spread"] = float(clips[..., i].std(axis=(2, 3)).mean())
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--steering", type=int, default=64, help="starts")
    parser.add_argument("--lasting", type=int, default=16, help="drives of a minute")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--strip", type=Path)
    options = parser.parse_args()
    model = worldsim.load(options.model)
    result = {"model": model.name, "checkpoint_sha": model.sha, **provenance()}
    result["steering"] = steering(model, options.steering)
    print(json.dumps(result["steering"], indent=1), flush=True)
    result["lasting"] = lasting(model, options.lasting, options.strip)
    print(json.dumps(result["lasting"], indent=1))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
