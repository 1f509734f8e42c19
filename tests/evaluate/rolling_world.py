"""A world that a model can be exact about: a texture on a torus that every action rolls sideways and down."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from worldsim.model import ModelSpec, Prediction
from worldsim.rollout import ActionDim

SIZE = 32
ENV_ID = "RollingWorld-v0"
SPEC = ModelSpec(
    height=SIZE,
    width=SIZE,
    action_kind="box",
    action_shape=(2,),
    action_low=(-1.0, -1.0),
    action_high=(1.0, 1.0),
    action_spec=(
        ActionDim(name="sideways", unit="px", low=-3, high=3),
        ActionDim(name="down", unit="px", low=-3, high=3),
    ),
    env_id=ENV_ID,
)


def roll(frame, action):
    return np.roll(frame, np.rint(3 * np.asarray(action)).astype(int)[::-1], axis=(0, 1))


class RollingWorld(gym.Env):
    """Ends after ``life`` steps, or after a number of steps drawn from a range by the seed."""

    metadata = {"render_modes": []}  # noqa: RUF012
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    observation_space = gym.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
    action_spec = SPEC.action_spec

    def __init__(self, life=1000, size=SIZE, change_step=1000):
        self.life, self.size, self.change_step = life, size, change_step
        self.observation_space = gym.spaces.Box(0, 255, (size, size, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        texture = gaussian_filter(self.np_random.uniform(0, 255, (self.size, self.size, 3)), (1, 1, 0), mode="wrap")
        self.frame = np.clip(3 * texture - 255, 0, 255).astype(np.uint8)
        self.left = self.life if isinstance(self.life, int) else int(self.np_random.integers(*self.life))
        self.weather = "rain" if self.np_random.random() < 0.5 else "clear"
        return self.frame.copy(), self._info()

    def step(self, action):
        self.frame = roll(self.frame, action)
        self.left -= 1
        return self.frame.copy(), float(action[0]), self.left == 0, False, self._info()

    def _info(self):
        variation = {"weather": self.weather, "change": "weather=fog", "change_step": self.change_step}
        caption = {"en": "rolling on" if self.left > 15 else "nearly there", "zh": "滚动" if self.left > 15 else "将尽"}
        return {"variation": variation, "caption": caption}


if ENV_ID not in gym.registry:
    gym.register(ENV_ID, entry_point=RollingWorld)


@dataclass(frozen=True)
class RollingState:
    frames: np.ndarray
    seeds: np.ndarray
    step_count: int = 0


@dataclass
class RollingModel:
    """The exact model of RollingWorld, spoiled by ``noise`` levels, ``drift`` pixels a step, an end."""

    noise: float = 0.0
    drift: int = 0
    still: bool = False
    end_at: int | None = None
    seen: list = field(default_factory=list)
    terminate_threshold: float = 0.5
    name: str = "rolling"
    sha: str = "0" * 12
    spec: ModelSpec = SPEC
    card: dict = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    meta: dict = field(default_factory=dict)
    starts: tuple = ()
    num_parameters: int = 0
    device: str = "cpu"
    config: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(num_context=3, sampler_steps=1))

    def encode(self, frames, actions, *, prompts, seeds, num_frames=None):
        self.seen.append((frames.copy(), actions.copy(), tuple(prompts), np.array(seeds)))
        return RollingState(frames[:, -1].copy(), np.array(seeds))

    def step(self, state, actions, *, sampler_steps=None):
        frames = state.frames
        if not self.still:
            frames = np.stack([roll(f, a) for f, a in zip(frames, actions, strict=True)])
        frames = np.roll(frames, self.drift, axis=1)
        count = state.step_count + 1
        shown = frames
        if self.noise:
            noise = [np.random.default_rng([s, count]).normal(0, self.noise, frames.shape[1:]) for s in state.seeds]
            shown = np.clip(np.rint(frames + np.stack(noise)), 0, 255).astype(np.uint8)
        ends = np.full(len(frames), float(self.end_at is not None and count >= self.end_at), np.float32)
        reward = np.asarray(actions)[:, 0].astype(np.float32)
        return replace(state, frames=frames, step_count=count), Prediction(
            pixels=torch.from_numpy(shown.copy()), reward=reward, terminate_prob=ends
        )
