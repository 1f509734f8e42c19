"""Worlds of choices for tests: a lamp lights where the last action says. Importing it registers them."""

import gymnasium as gym
import numpy as np

SPACES = {
    "one": gym.spaces.Discrete(3, start=1),
    "two": gym.spaces.MultiDiscrete([3, 2]),
}


class LampEnv(gym.Env):
    """Lamps in a grid of 3 x 2 over a clock hand; how brightly they shine is the episode's factor ``volt``."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gym.spaces.Box(0, 255, (40, 50, 3), np.uint8)

    def __init__(self, kind="one", render_mode=None):
        self.action_space = SPACES[kind]
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._t, self._volt = 0, float(self.np_random.uniform(5, 12))
        return self._frame(None), self._info()

    def step(self, action):
        self._t += 1
        return self._frame(action), float(np.sum(action)), False, self._t >= 12, self._info()

    def _frame(self, action):
        frame = np.full((40, 50, 3), 30, np.uint8)
        frame[38:, 4 * self._t : 4 * self._t + 4] = 200
        if action is not None:
            x, y = (int(action) - 1, 0) if np.ndim(action) == 0 else action
            frame[4 + 18 * y : 18 + 18 * y, 2 + 16 * x : 16 + 16 * x] = int(20 * self._volt)
        return frame

    def _info(self):
        return {"variation": {"volt": self._volt, "lamps": "round"}, "caption": {"en": "lamps", "zh": "灯"}}


for _kind in SPACES:
    gym.register(f"{_kind.title()}Lamps-v0", entry_point=LampEnv, kwargs={"kind": _kind}, max_episode_steps=12)
