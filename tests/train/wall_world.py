"""A world whose pictures follow from its caption: a bright or a dark wall with a lamp. Importing it registers it."""

import gymnasium as gym
import numpy as np

COLOURS = {"bright": (220, 200, 60), "dark": (20, 30, 90)}
CAPTIONS = {"bright": {"en": "a bright wall", "zh": "明亮的墙"}, "dark": {"en": "a dark wall", "zh": "昏暗的墙"}}


class WallEnv(gym.Env):
    """The action moves the lamp to one side; the colour of the wall is the episode's."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gym.spaces.Box(0, 255, (32, 32, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, render_mode=None, mute=False):
        self.render_mode, self._mute = render_mode, mute

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._t, self._x = 0, float(self.np_random.uniform(4, 28))
        self._wall = "bright" if self.np_random.random() < 0.5 else "dark"
        return self._frame(), self._info()

    def step(self, action):
        self._t += 1
        self._x = float(np.clip(self._x + 2 * action[0], 4, 28))
        return self._frame(), 0.0, False, self._t >= 12, self._info()

    def _info(self):
        return {} if self._mute else {"caption": CAPTIONS[self._wall]}

    def _frame(self):
        frame = np.full((32, 32, 3), COLOURS[self._wall], np.uint8)
        x = int(self._x)
        frame[12:20, x - 4 : x + 4] = (200, 40, 40)
        return frame


gym.register("Wall-v0", entry_point=WallEnv, max_episode_steps=12)
