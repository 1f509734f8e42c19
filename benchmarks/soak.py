"""Imagine many steps of an id, one stream and a batch, and look for NaN, dead frames and growth of memory.

    python benchmarks/soak.py worldsim/CityDream-v0 --steps 10000 --json benchmarks/soak/2026-11-22-city.json

``--model`` takes another model than the id's own; ``--untrained`` a fresh one of the usual size of its truth.
Random actions; episodes end and begin as they do. Memory is the process's resident set after each tenth of the steps.
One stream keeps a moment of about 3 MB every 32 steps until its episode ends, so that it can be rewound; what counts is
therefore the highest mark of the second half over that of the first.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np

from worldsim.collect.worker import make_image_env
from worldsim.evaluate.setting import provenance
from worldsim.model import Start, WorldModel, new_model, spec_of
from worldsim.model.presets import small
from worldsim.rollout import Caption

PARTS = 10
MOST_GROWTH_MB = 64
"""Between the first half, without its first tenth, in which caches are filled, and the second."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_id")
    parser.add_argument("--model", default=None)
    parser.add_argument("--untrained", action="store_true", help="a fresh model of the id's truth")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--num-envs", type=int, default=4)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    if args.steps < PARTS * args.num_envs:
        parser.error(f"--steps must be at least {PARTS * args.num_envs}, so that every tenth has a step")
    given = untrained(gym.spec(args.env_id).kwargs["env_id"]) if args.untrained else args.model
    one = gym.make(args.env_id) if given is None else gym.make(args.env_id, model=given)
    model = one.get_wrapper_attr("model")
    batch = gym.make_vec(args.env_id, num_envs=args.num_envs, model=model)
    results = {
        "one stream": soak(one, args.steps),
        f"batch of {args.num_envs}": soak(batch, args.steps // args.num_envs),
    }
    for name, result in results.items():
        print(f"{name}: {json.dumps(result)}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        about = {**provenance(), "env": args.env_id, "model": model.name, "checkpoint_sha": model.sha}
        args.json.write_text(json.dumps({**about, **results}, indent=1) + "\n")
    sys.exit(0 if all(result["ok"] for result in results.values()) else 1)


def untrained(truth_id: str) -> WorldModel:
    """Return a fresh model of a truth, with one start of it."""
    env, to_frame = make_image_env(truth_id, {})
    env.action_space.seed(0)
    config, actions = small(), []
    frames = [to_frame(env.reset(seed=0)[0]).copy()]
    for _ in range(config.num_context - 1):
        actions.append(env.action_space.sample())
        frames.append(to_frame(env.step(actions[-1])[0]).copy())
    height, width, _ = frames[0].shape
    control_dt = getattr(env.unwrapped, "control_dt", 0.1)
    model = new_model(config, spec_of(env, height=height, width=width, control_dt=control_dt, env_id=truth_id))
    model.starts = (Start(frames=np.stack(frames), actions=np.stack(actions), caption=Caption(0, "", "")),)
    model.terminate_bias = -10.0  # its head knows no end yet; episodes are to last
    env.close()
    return model


def soak(env: gym.Env | gym.vector.VectorEnv, num_steps: int) -> dict[str, object]:
    env.action_space.seed(0)
    env.reset(seed=0)
    num_ends, num_nan, num_flat, memory_mb = 0, 0, 0, []
    for t in range(num_steps):
        obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        ended = np.asarray(terminated) | np.asarray(truncated)
        num_ends += int(ended.sum())
        num_nan += int((~np.isfinite(np.asarray(reward))).sum())
        num_flat += int((np.asarray(obs).reshape(-1, obs.shape[-3] * obs.shape[-2] * 3).std(axis=1) < 2).sum())
        if ended.any() and not isinstance(env, gym.vector.VectorEnv):
            env.reset()
        if (t + 1) % (num_steps // PARTS) == 0:
            gc.collect()
            memory_mb.append(round(_resident_mb(), 1))
    env.close()
    growth_mb = max(memory_mb[PARTS // 2 :]) - max(memory_mb[1 : PARTS // 2])
    return {
        "steps": num_steps,
        "ends": num_ends,
        "rewards_not_finite": num_nan,
        "frames_of_one_colour": num_flat,
        "memory_mb": memory_mb,
        "growth_mb": round(growth_mb, 1),
        "ok": num_nan == 0 and num_flat == 0 and growth_mb <= MOST_GROWTH_MB,
    }


def _resident_mb() -> float:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
