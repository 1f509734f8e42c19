"""One moment, eight futures: the same imagined state under eight action sequences, in one picture (a row for each)."""

import sys

import gymnasium as gym
import numpy as np
from PIL import Image

import worldsim  # noqa: F401  (registers the worlds)

STEERS = np.linspace(-0.5, 0.5, 8)  # right to left


def main(model="city-64", picture="branches.png"):
    envs = gym.make_vec("worldsim/CityDream-v0", num_envs=8, model=model)
    envs.reset(seed=0, options={"prompt": "a clear day"})
    moment = envs.unwrapped.snapshot([0])
    envs.unwrapped.restore(moment * 8)  # every stream is now at the same moment
    actions = np.stack([STEERS, np.zeros(8)], axis=1).astype(np.float32)  # (8, 2): steer, throttle
    frames = [envs.step(actions)[0] for _ in range(24)]
    rows = [np.concatenate([moment[0].frame, *(frame[i] for frame in frames[3::4])], axis=1) for i in range(8)]
    Image.fromarray(np.concatenate(rows)).save(picture)
    print(f"one moment, eight steering angles, every fourth of 24 steps: {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
