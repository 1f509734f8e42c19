"""A world small enough for tests: a square that an action moves, on a frame of 32x32. Importing it registers it."""

import os
import signal
import time

import gymnasium as gym
import numpy as np

from worldsim.rollout import ActionDim

SIZE = 32


class SquareEnv(gym.Env):
    """A red square whose place is what the last action said; the frame's blue is the step count, its green the seed."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    control_dt = 0.1
    action_spec = (ActionDim(name="x", unit="px", low=0, high=28), ActionDim(name="y", unit="px", low=0, high=28))

    def __init__(self, num_steps=12, size=SIZE, render_mode=None):
        self.observation_space = gym.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.render_mode = render_mode
        self._num_steps, self._size = num_steps, size

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._seed, self._t, self._place = seed or 0, 0, np.zeros(2, np.float32)
        self._variation = {"weather": ("clear", "rain")[self._seed % 2], **((options or {}).get("variation") or {})}
        return self._frame(), self._info()

    def step(self, action):
        self._t += 1
        self._place = np.asarray(action, np.float32)
        terminated = self._t >= self._num_steps - self._seed % 3
        return self._frame(), float(action[0]), terminated, False, self._info()

    def _frame(self):
        frame = np.zeros(self.observation_space.shape, np.uint8)
        frame[..., 1], frame[..., 2] = self._seed % 256, self._t
        x, y = ((self._place + 1) * 14).round().astype(int)
        frame[y : y + 4, x : x + 4, 0] = 255
        return frame

    def _info(self):
        body = {"pos": np.append(self._place, 0.0), "quat": [0, 0, 0, 1], "vel": [self._t, 0, 0], "ang": [0, 0, 0]}
        late = self._t >= 5
        state = {"ego": body, **({"late": body} if late else {})}
        caption = {"en": "late" if late else "early", "zh": "晚" if late else "早"}
        events = [{"name": "late", "en": "it is late", "zh": "晚了"}, "bell"] if self._t == 5 else []
        order = {"en": "hurry", "zh": "快"} if late else {"en": "wait", "zh": "等"}
        return {
            "state": state, "caption": caption, "variation": self._variation, "events": events, "instruction": order,
        }  # fmt: skip


class SwitchEnv(gym.Env):
    """An env without an image obs that renders one, with Discrete actions and no end of its own."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, render_mode=None):
        self.observation_space = gym.spaces.Discrete(3)
        self.action_space = gym.spaces.Discrete(3)
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._value = 0
        return 0, {}

    def step(self, action):
        assert isinstance(action, int)
        self._value = action
        return action, 0.0, False, False, {}

    def render(self):
        return np.full((40, 48, 3), 100 * self._value, np.uint8)


gym.register("Square-v0", SquareEnv)
gym.register("Switch-v0", SwitchEnv)


class BlindEnv(SwitchEnv):
    """A switch that nobody can look at."""

    metadata = {"render_modes": []}  # noqa: RUF012


class FatalEnv(SquareEnv):
    """A square whose seed 25 kills the process that plays it."""

    def reset(self, *, seed=None, options=None):
        if seed == 25:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().reset(seed=seed, options=options)


class FatalOnceEnv(SquareEnv):
    """A square that kills the process that plays seed 9 in mid-episode, the first time anyone does."""

    def __init__(self, marker, delay_s=0.0, **arguments):
        super().__init__(**arguments)
        self._marker, self._delay_s = marker, delay_s

    def step(self, action):
        time.sleep(self._delay_s)
        if self._seed == 9 and self._t == 5 and not os.path.exists(self._marker):
            open(self._marker, "x").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


gym.register("Blind-v0", BlindEnv)
gym.register("Fatal-v0", FatalEnv)
gym.register("FatalOnce-v0", FatalOnceEnv)
