"""PPO of Stable-Baselines3 on imagined streams only, then both returns: imagined and true, before and after.

    python benchmarks/ppo.py city-64 --steps 20000 --json benchmarks/ppo/2026-11-22-city.json

The policy is scored by its mean action over the same number of steps in both worlds, on seeds of the test range; beside
it stand policies that the truth offers, in both worlds if they look at nothing but frames.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor

import worldsim
from worldsim.collect import policies_of
from worldsim.collect.worker import make_image_env
from worldsim.evaluate.setting import provenance
from worldsim.rollout import Policy
from worldsim.sim import WorldModelVectorEnv, imagine
from worldsim.sim.sb3 import SB3VecEnv

TEST_SEED = 200_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--horizon", type=int, default=32)
    parser.add_argument("--episodes", type=int, default=16)
    parser.add_argument("--score-steps", type=int, default=100)
    parser.add_argument("--others", nargs="*", default=["random", "lane_follower"], help="policies of the truth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    model = worldsim.load(args.model)
    streams = WorldModelVectorEnv(args.num_envs, model, horizon=args.horizon, autoreset_mode="SameStep")
    envs = VecMonitor(SB3VecEnv(streams))
    agent = PPO("CnnPolicy", envs, n_steps=64, batch_size=256, n_epochs=4, gamma=0.97, seed=args.seed)
    rows = {"untrained": score(lambda seed: _policy_of(agent), model, args.episodes, args.score_steps)}
    begun = time.perf_counter()
    agent.learn(args.steps)
    minutes = (time.perf_counter() - begun) / 60
    rows["trained"] = score(lambda seed: _policy_of(agent), model, args.episodes, args.score_steps)
    env, _ = make_image_env(model.spec.env_id, model.spec.env_kwargs)
    for name in args.others:
        rows[name] = score(policies_of(env)[name], model, args.episodes, args.score_steps, dream=name == "random")
    env.close()
    settings = {key: value for key, value in vars(args).items() if key not in {"model", "json"}}
    about = {**provenance(), "model": model.name, "checkpoint_sha": model.sha, **settings, "minutes": minutes}
    for name, row in rows.items():
        print(f"{name:14}", *(f"{world} {one['mean']:.2f} +- {one['se']:.2f}" for world, one in row.items()))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


def score(
    make_policy: Callable[[int], Policy], model: worldsim.WorldModel, episodes: int, steps: int, *, dream: bool = True
) -> dict[str, dict[str, float]]:
    """Return mean and standard error of the return over ``steps`` steps, true and, if asked, imagined."""
    found = {}
    if dream:
        dreams = imagine(model, make_policy, episodes, horizon=steps, seed=TEST_SEED)
        found["imagined"] = _mean([float(rollout.reward.sum()) for rollout in dreams])
    env, to_frame = make_image_env(model.spec.env_id, model.spec.env_kwargs)
    true = []
    for seed in range(TEST_SEED, TEST_SEED + episodes):
        policy = make_policy(seed)
        obs, info = env.reset(seed=seed)
        total = 0.0
        for _ in range(steps):
            obs, reward, terminated, truncated, info = env.step(policy(to_frame(obs), info))
            total += float(reward)
            if terminated or truncated:
                break
        true.append(total)
    env.close()
    return {**found, "true": _mean(true)}


def _policy_of(agent: PPO) -> Policy:
    return lambda obs, info: agent.predict(obs, deterministic=True)[0]


def _mean(values: list[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "se": float(np.std(values) / max(len(values) - 1, 1) ** 0.5)}


if __name__ == "__main__":
    main()
