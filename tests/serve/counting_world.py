"""A world of discrete actions that cannot save its state; its frame shows how the choices add up."""

import gymnasium as gym
import numpy as np

SIZE = 36


class CountingWorld(gym.Env):
    """Ends after ``life`` steps."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = gym.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
    action_space = gym.spaces.Discrete(3)

    def __init__(self, life=1000):
        self.life = life

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.total = 0, int(self.np_random.integers(100))
        return self._frame(), {}

    def step(self, action):
        self.count += 1
        self.total += 3 * int(action) + 1
        return self._frame(), float(action), self.count >= self.life, False, {}

    def _frame(self):
        return np.full((SIZE, SIZE, 3), self.total % 256, np.uint8)


gym.register("CountingWorld-v0", entry_point="counting_world:CountingWorld")
