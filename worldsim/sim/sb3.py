"""A batch of imagined streams as a Stable-Baselines3 ``VecEnv``: one call of the model steps all of them.

from stable_baselines3 import PPO
from worldsim.sim.sb3 import SB3VecEnv

envs = gym.make_vec("worldsim/CityDream-v0", num_envs=16, horizon=32, autoreset_mode="SameStep")
PPO("CnnPolicy", SB3VecEnv(envs)).learn(20_000)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from worldsim.errors import EnvError, MissingExtraError
from worldsim.sim.imagine import info_of

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError:
    raise MissingExtraError("stable-baselines3", "sb3", "train with Stable-Baselines3") from None

__all__ = ["SB3VecEnv"]


class SB3VecEnv(VecEnv):
    """N imagined streams that reset themselves when they end, as Stable-Baselines3 expects.

    Reset options of stream i, as in `WorldModelEnv`, are set with ``set_options([...])`` before ``reset()``.

    Args:
        envs: Made with ``autoreset_mode="SameStep"``; it may be wrapped.

    Raises:
        EnvError: If it resets in another mode.
    """

    def __init__(self, envs: VectorEnv) -> None:
        mode = envs.metadata["autoreset_mode"]
        if mode is not AutoresetMode.SAME_STEP:
            raise EnvError(f'Stable-Baselines3 needs envs made with autoreset_mode="SameStep"; these have {mode}')
        self.envs = envs
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self._actions = np.zeros(0)

    def reset(self) -> np.ndarray:
        """Begin an episode in every stream and return the frames (N, H, W, 3) uint8."""
        names = {name for options in self._options for name in options}
        options = {name: [one.get(name) for one in self._options] for name in names}
        inner: Any = self.envs  # Gymnasium's vector envs take a list of seeds, which its base class does not say
        obs, infos = inner.reset(seed=self._seeds, options=options)
        self.reset_infos = [info_of(infos, i) for i in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return obs

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions (N, *A) of the next step."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Imagine the step.

        Returns:
            Frames (N, H, W, 3), rewards (N,) float32, dones (N,), infos. Where a stream ended, the frame is the first
            of its next episode and its info holds ``terminal_observation``.
        """
        obs, rewards, terminated, truncated, batched = self.envs.step(self._actions)
        infos = []
        for i in range(self.num_envs):
            info = info_of(batched, i)
            if terminated[i] or truncated[i]:
                last = info_of(batched["final_info"], i)
                last["terminal_observation"] = info.pop("final_obs")
                info.pop("final_info")
                self.reset_infos[i] = info
                info = last
            info["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
            infos.append(info)
        return obs, rewards.astype(np.float32), terminated | truncated, infos

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return the present frame of every stream, or None for each without a render mode."""
        frames: Any = self.envs.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def close(self) -> None:
        """Close the batch."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """Return an attribute of the batch, once per stream."""
        return [getattr(self.envs.unwrapped, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None) -> None:
        """Set an attribute of the batch.

        Raises:
            EnvError: If it is asked for some streams only.
        """
        if indices is not None:
            raise EnvError(f"the streams are one batch: {attr_name!r} can only be set for all of them")
        setattr(self.envs.unwrapped, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: int | Iterable[int] | None = None, **method_kwargs: Any
    ) -> list[Any]:
        """Refuse: there are no separate envs.

        Raises:
            EnvError: Always; it says what to call.
        """
        raise EnvError(f"the streams are one batch, not envs of their own; call .envs.unwrapped.{method_name}(...)")

    def env_is_wrapped(self, wrapper_class: Any, indices: int | Iterable[int] | None = None) -> list[bool]:
        """Return False for each stream."""
        return [False] * len(list(self._get_indices(indices)))
