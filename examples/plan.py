"""Act in the truth by imagination: before every step, try action sequences in the model and begin the best one.

    python examples/plan.py                     drive on in the city without hitting anything
    python examples/plan.py lab-64              push the block to the mark

The score is the truth's: the planner's return beside those of other policies from the same moment of the same episode.
"""

import sys

import gymnasium as gym
import numpy as np

import worldsim
from worldsim.sim import PlanConfig, Planner

STEPS = 30
CONFIG = PlanConfig(horizon=8, num_samples=16, num_elites=4, num_rounds=2, hold=2)
TASKS = {  # reset options, steps and policy that come before, the policies that the planner is held against
    "worldsim/City-v0": ({}, 20, "lane_follower", ("lane_follower", "random")),
    "worldsim/Lab-v0": ({"scenario": "push"}, 16, "push", ("push", "random")),
}


def main(model="city-64", episodes=2, steps=STEPS):
    model = worldsim.load(model)
    options, num_before, before, others = TASKS[model.spec.env_id]
    env = gym.make(model.spec.env_id, **model.spec.env_kwargs)
    policies = env.unwrapped.policies
    returns = {name: [] for name in ("planner", "no action", *others)}
    for seed in range(200_000, 200_000 + int(episodes)):
        for name, scores in returns.items():
            planner = Planner(model, config=CONFIG, seed=seed)
            policy = {"planner": planner, "no action": lambda obs, info: np.zeros(env.action_space.shape, np.float32)}
            act = policy[name] if name in policy else policies[name](seed)
            obs, info = env.reset(seed=seed, options=options)
            warm = policies[before](seed)
            for _ in range(num_before):  # so that the planner has frames to look back on
                action = warm(obs, info)
                planner.observe(obs, action)
                obs, _, _, _, info = env.step(action)
            total = 0.0
            for _ in range(int(steps)):
                obs, reward, terminated, truncated, info = env.step(act(obs, info))
                total += float(reward)
                if terminated or truncated:
                    break
            scores.append(total)
            print(f"episode {seed}, {name}: return {total:.2f} in the truth", flush=True)
    for name, scores in returns.items():
        print(f"{name:14} mean true return {np.mean(scores):.2f} over {len(scores)} episode(s)")
    env.close()
    return returns


if __name__ == "__main__":
    main(*sys.argv[1:])
