"""Drive the imagined city, let it start to rain on the way, and save every eighth frame as one picture."""

import sys

import gymnasium as gym
import numpy as np
from PIL import Image

import worldsim  # noqa: F401  (registers the worlds)


def main(model="city-64", picture="dream.png"):
    env = gym.make("worldsim/CityDream-v0", model=model)
    obs, info = env.reset(seed=0, options={"prompt": "a clear day"})
    frames = [obs]
    for t in range(64):
        if t == 32:
            env.unwrapped.set_prompt("rain")
        action = np.array([0.3 * np.sin(t / 8), 0.2], np.float32)  # steer, throttle
        obs, _, terminated, truncated, info = env.step(action)
        frames.append(obs)
        if terminated or truncated:
            break
    Image.fromarray(np.concatenate(frames[::8], axis=1)).save(picture)
    print(f"{len(frames) - 1} imagined steps from {info['start']}: {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
