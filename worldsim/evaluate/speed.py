"""Imagined frames per second as a user gets them: through ``env.step``, decoding and Gymnasium included."""

from __future__ import annotations

import time
from collections.abc import Callable

import gymnasium as gym
import numpy as np

from worldsim.evaluate.clips import Clip
from worldsim.model import WorldModel

__all__ = ["measure_speed"]

_WARM_STEPS, _STEPS = 20, 200  # of one stream, as the figure is defined
_BATCH = 64
_BATCH_WARM_STEPS, _BATCH_STEPS = 2, 10


def measure_speed(
    model: WorldModel, clip: Clip, sampler_steps: int, progress: Callable[[str, int, int], None]
) -> tuple[float, float]:
    """Return imagined frames per second of one stream and of 64 in a batch: 1 (64) over the median time of a step.

    Args:
        model: The model, on the device where it is.
        clip: Its context is the start, its actions are repeated.
        sampler_steps: Denoiser calls per frame.
        progress: Called with (stage, done, total).
    """
    frames, actions = clip.context(model.config.num_context)
    options = {"start": {"frames": frames, "actions": actions}}
    kwargs = {"model": model, "sampler_steps": sampler_steps, "device": str(model.device), "horizon": 1_000_000}
    env = gym.make("worldsim/Dream-v0", disable_env_checker=True, **kwargs)
    envs = gym.make_vec("worldsim/Dream-v0", num_envs=_BATCH, **kwargs)
    try:
        progress("speed", 0, 2)
        env.reset(seed=0, options=options)
        times_s = []
        for t in range(_WARM_STEPS + _STEPS):
            action = clip.actions[t % len(clip)]
            start_s = time.perf_counter()
            _, _, terminated, truncated, _ = env.step(action)
            times_s.append(time.perf_counter() - start_s)
            if terminated or truncated:
                env.reset(seed=0, options=options)
        progress("speed", 1, 2)
        envs.reset(seed=0, options=options)
        batch_times_s = []
        for t in range(_BATCH_WARM_STEPS + _BATCH_STEPS):
            batch = np.repeat(clip.actions[t % len(clip)][None], _BATCH, axis=0)
            start_s = time.perf_counter()
            envs.step(batch)
            batch_times_s.append(time.perf_counter() - start_s)
        progress("speed", 2, 2)
    finally:
        env.close()
        envs.close()
    return 1 / float(np.median(times_s[_WARM_STEPS:])), _BATCH / float(np.median(batch_times_s[_BATCH_WARM_STEPS:]))
