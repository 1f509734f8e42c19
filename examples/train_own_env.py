"""From an env of your own to a model of it, in a minute or two: define, collect, train, compare, dream.

Any Gymnasium env will do whose observation or ``render()`` is an image of 32 to 256 pixels.
"""

import sys
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np

import worldsim
from worldsim.collect import collect
from worldsim.train import train


class PushedBall(gym.Env):
    """A bright ball on a striped floor; the action pushes it, it rolls on and bounces off the walls."""

    observation_space = gym.spaces.Box(0, 255, (32, 32, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        """Put the ball somewhere."""
        super().reset(seed=seed)
        self.place, self.speed = self.np_random.uniform(6, 26, 2), np.zeros(2)
        return self._frame(), {}

    def step(self, action):
        """Push it."""
        self.speed = 0.9 * self.speed + 1.5 * np.asarray(action)
        place = self.place + self.speed
        self.speed = np.where((place < 5) | (place > 27), -self.speed, self.speed)
        self.place = np.clip(place, 5, 27)
        return self._frame(), -float(np.abs(self.place - 16).mean()) / 16, False, False, {}

    def _frame(self):
        y, x = np.mgrid[:32, :32]
        floor = np.where((x // 4 + y // 4) % 2, 90, 60)[..., None].repeat(3, axis=2)
        ball = np.hypot(x - self.place[0], y - self.place[1]) < 5
        return np.where(ball[..., None], [240, 180, 40], floor).astype(np.uint8)


def main(episodes=60, steps=300, folder=None):
    root = Path(folder or tempfile.mkdtemp())
    gym.register("examples/PushedBall-v0", entry_point=PushedBall, max_episode_steps=100)
    store = collect("examples/PushedBall-v0", episodes, root / "store")
    print(f"collected {store.num_frames} frames")
    checkpoint = train(store.path, root / "run", preset="tiny", steps=steps)
    model = worldsim.load(checkpoint)
    report = worldsim.compare(model, "examples/PushedBall-v0", episodes=8, horizon=16, speed=False)
    print(
        "skill at steps 1, 4, 16 (0 copies the last frame, 1 is the truth):",
        *np.round(report.json["skill"], 2)[[0, 3, 15]],
    )
    env = gym.make("worldsim/Dream-v0", model=str(checkpoint))
    env.reset(seed=0)
    env.step(env.action_space.sample())
    print(f"dream on: gym.make('worldsim/Dream-v0', model='{checkpoint}')")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
