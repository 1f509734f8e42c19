"""Drive the true city by imagination: before every step, try action sequences in the model and begin the best one.

The score is the truth's: the return of the planner beside those of going straight on and of random actions, each from
the same moment of the same episode.
"""

import sys

import gymnasium as gym
import numpy as np

import worldsim
from worldsim.sim import PlanConfig, Planner

WARM_UP, STEPS = 20, 30
CONFIG = PlanConfig(horizon=8, num_samples=24, num_elites=4, num_rounds=2, hold=2)


def main(model="city-64", episodes=2, steps=STEPS):
    model = worldsim.load(model)
    env = gym.make(model.spec.env_id, **model.spec.env_kwargs)
    returns = {"planner": [], "straight on": [], "random": []}
    for seed in range(200_000, 200_000 + int(episodes)):
        for name, scores in returns.items():
            planner = Planner(model, config=CONFIG, seed=seed)
            obs, info = warm_up(env, planner, seed)
            policy = {
                "planner": planner,
                "straight on": lambda obs, info: np.array([0, 0.2], np.float32),
                "random": env.unwrapped.policies["random"](seed),
            }[name]
            total = 0.0
            for _ in range(int(steps)):
                obs, reward, terminated, _, info = env.step(policy(obs, info))
                total += reward
                if terminated:
                    break
            scores.append(total)
            print(f"episode {seed}, {name}: return {total:.2f} in the truth")
    for name, scores in returns.items():
        print(f"{name:12} mean true return {np.mean(scores):.2f} over {len(scores)} episode(s)")
    env.close()
    return returns


def warm_up(env, planner, seed):
    """Let the lane follower drive, so that the planner has frames to look back on."""
    follow = env.unwrapped.policies["lane_follower"](seed)
    obs, info = env.reset(seed=seed)
    for _ in range(WARM_UP):
        action = follow(obs, info)
        planner.observe(obs, action)
        obs, _, _, _, info = env.step(action)
    return obs, info


if __name__ == "__main__":
    main(*sys.argv[1:])
