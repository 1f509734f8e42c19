"""The truth beside the dream, from the same moment and under the same actions; every step says how far apart.

`make_dream` is what an id is made by: ``shadow_env`` decides between a dream alone and a pair.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import EzPickle

from worldsim.collect import policies_of
from worldsim.collect.worker import make_image_env
from worldsim.errors import EnvError, PromptError
from worldsim.metrics import mse, psnr
from worldsim.sim.env import WorldModelEnv
from worldsim.sim.stream import Snapshot, open_model
from worldsim.sim.tape import Tape
from worldsim.sim.uncertainty import Calibration

__all__ = ["Beside", "PairedEnv", "PairedSnapshot", "make_dream"]

_PSNR_OF_EQUAL = 99.0  # dB, where two frames do not differ
_TEST_SEEDS = (200_000, 210_000)
_MAX_TRIES = 10  # episodes of the truth that may end while they warm up


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What a pair remembers of the truth between two steps."""

    first: np.ndarray
    """(H, W, 3) uint8, the frame at which the dream began."""
    frame: np.ndarray
    """(H, W, 3) uint8, the last frame."""
    steps: int
    """Since the truth's reset, the warm-up included."""
    ended: bool = False


@dataclass(frozen=True, kw_only=True)
class PairedSnapshot:
    """A moment of both worlds."""

    dream: Snapshot
    truth: Any
    """What the truth's own ``snapshot()`` returned."""
    beside: Beside


def make_dream(
    model: Any,
    env_id: str | None = None,
    render_mode: str | None = None,
    *,
    shadow_env: bool | str = False,
    **arguments: Any,
) -> WorldModelEnv | PairedEnv:
    """Make an imagined world, alone or with its truth beside it.

    Args:
        model: Name of a bundled model, path of a checkpoint, or a loaded model.
        env_id: The truth that the model must be of; None takes any.
        render_mode: None or ``rgb_array``.
        shadow_env: Whether the truth steps beside the dream: True for the model's own, or the id of another one.
        **arguments: Others of `WorldModelEnv`, or of `PairedEnv` if there is a truth beside it.

    Raises:
        CheckpointError: If the checkpoint is missing, damaged, or models another truth than ``env_id``.
        EnvError: If an argument is out of its range, or the truth does not fit.
    """
    if shadow_env is False:
        return WorldModelEnv(model, env_id, render_mode, **arguments)
    model = open_model(model, env_id, arguments.get("device", "cpu"))
    return PairedEnv(model, None if shadow_env is True else shadow_env, render_mode, **arguments)


make_dream.__dict__["metadata"] = WorldModelEnv.metadata  # gym.make asks what makes an env for its render modes


class PairedEnv(gym.Env[np.ndarray, Any], EzPickle):
    """An imagined world whose truth steps beside it, from the same moment and under the same actions.

    Observation, reward and ends are those of the dream; the truth never touches them. ``info`` holds ``truth``
    {"obs", "reward", "terminated", "truncated"} and ``divergence`` {"mse" squared levels, "psnr" dB, at most 99,
    "mse_copy_last" of the frame at the start, "reward" imagined - true} of the step; both are missing after the truth
    has ended, which ``truth_ended`` says. ``render`` shows the truth on the left and the dream on the right.

    Args:
        model: Name of a bundled model, path of a checkpoint, or a loaded model.
        env_id: The truth; None takes the model's own.
        render_mode: None or ``rgb_array``.
        env_kwargs: Arguments of the truth; None takes those that the model was trained on.
        warm_up: True steps before the dream begins, at least those that fill the model's context.
        policy: Which of the truth's policies drives them.
        horizon, sampler_steps, guidance, device, threads, uncertainty, burnin, repaint: As in `WorldModelEnv`.

    Raises:
        CheckpointError: If the checkpoint is missing or damaged.
        EnvError: If the truth cannot be made, its spaces are not the model's, or an argument is out of its range.
    """

    metadata = WorldModelEnv.metadata

    def __init__(
        self,
        model: Any,
        env_id: str | None = None,
        render_mode: str | None = None,
        *,
        env_kwargs: Mapping[str, Any] | None = None,
        warm_up: int = 20,
        policy: str = "mixture",
        horizon: int | None = None,
        sampler_steps: int | None = None,
        guidance: float = 1.0,
        device: str = "cpu",
        threads: int | None = 1,
        uncertainty: bool | str | Calibration = False,
        burnin: bool = False,
        repaint: bool | None = None,
    ) -> None:
        of_dream = {
            "horizon": horizon,
            "sampler_steps": sampler_steps,
            "guidance": guidance,
            "device": device,
            "threads": threads,
            "uncertainty": uncertainty,
            "burnin": burnin,
            "repaint": repaint,
        }
        of_pair = {"env_kwargs": env_kwargs, "warm_up": warm_up, "policy": policy}
        EzPickle.__init__(self, model, env_id, render_mode, **of_pair, **of_dream)
        self._arguments = {"env_id": env_id, "render_mode": render_mode, **of_pair, **of_dream}
        self.dream = WorldModelEnv(model, render_mode=render_mode, **of_dream)
        loaded = self.model = self.dream.model
        self.render_mode, self.metadata = render_mode, self.dream.metadata
        if warm_up < loaded.config.num_context - 1:
            raise EnvError(f"warm_up must fill the context: at least {loaded.config.num_context - 1}; got {warm_up}")
        self.warm_up = warm_up
        kwargs = loaded.spec.env_kwargs if env_kwargs is None else env_kwargs
        self.truth, self._to_frame = make_image_env(env_id or loaded.spec.env_id, kwargs)
        self._limit = _time_limit(self.truth)
        self.control_dt, self.action_spec = self.dream.control_dt, self.dream.action_spec
        self.observation_space, self.action_space = loaded.spec.spaces()
        if self.truth.action_space != self.action_space:
            self.truth.close()
            raise EnvError(
                f"{loaded.name} acts in {self.action_space}, {env_id or loaded.spec.env_id} in "
                f"{self.truth.action_space}; give the env that it was trained on"
            )
        policies = policies_of(self.truth)
        if policy not in policies:
            self.truth.close()
            raise EnvError(f"the truth has the policies {', '.join(policies)}; got {policy!r}")
        self._make_policy = policies[policy]
        self._beside: Beside | None = None
        self._tape: Tape[PairedSnapshot] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Reset the truth, drive it for ``warm_up`` steps, and let the dream go on from there.

        Args:
            seed: Of both worlds; without one, or if that episode of the truth is too short, the truth's is drawn from
                the range kept for tests.
            options: ``prompt`` is for the dream; all others are for the truth.

        Raises:
            EnvError: If the truth keeps ending in the warm-up, or an option is unknown to it.
            PromptError: If no word of the prompt was understood; nothing has changed then.
        """
        options = dict(options or {})
        prompt = options.pop("prompt", None)
        if prompt is not None:
            self.model.understand(prompt)
        super().reset(seed=seed)
        dream_seed = int(self.np_random.integers(2**31))
        for _ in range(_MAX_TRIES):
            drawn = int(self.np_random.integers(*_TEST_SEEDS))
            frames, actions, caption = self._warmed_up(drawn if seed is None else seed, options)
            if len(actions) == self.warm_up:
                break
            seed = None
        else:
            raise EnvError(
                f"the truth ended within {self.warm_up} steps, {_MAX_TRIES} times in a row; take a smaller warm_up"
            )
        start = {"frames": np.stack(frames), "actions": np.stack(actions), "caption": caption}
        obs, info = self.dream.reset(seed=dream_seed, options={"start": start, "prompt": prompt})
        self._beside = Beside(first=frames[-1], frame=frames[-1], steps=self.warm_up)
        self._begin_tape()
        return obs, self._said(info)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Step both worlds under an action.

        Raises:
            ActionError: If the action does not fit the action space.
            EnvError: Before a reset, or after the end of the dream.
        """
        results = self._advance(action)
        if self._tape is not None:
            self._tape.record(action, self.snapshot)
        return results

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Return truth and dream side by side, (H, 2 W, 3) uint8, or None without a render mode."""
        dream = self.dream.render()
        return None if dream is None else np.concatenate([self._present().frame, dream], axis=1)

    def snapshot(self) -> PairedSnapshot:
        """Return the present moment of both worlds.

        Raises:
            EnvError: If the truth cannot be saved.
        """
        dream = self.dream.snapshot()
        return PairedSnapshot(dream=dream, truth=self._of_truth("snapshot")(), beside=self._present())

    def restore(self, snapshot: PairedSnapshot) -> None:
        """Continue both worlds from a snapshot, bit for bit.

        Raises:
            EnvError: If it is no snapshot of a pair, another model imagined it, or the truth cannot be restored.
        """
        if not isinstance(snapshot, PairedSnapshot):
            raise EnvError(f"a snapshot of a pair is what its snapshot() returned; got {type(snapshot).__name__}")
        self._take(snapshot)
        self._begin_tape()

    def rewind(self, num_steps: int = 1) -> np.ndarray:
        """Take both worlds back some steps, bit for bit, and return the frame (H, W, 3) that the dream showed then.

        Raises:
            EnvError: If the last reset or restore is nearer than that, or the truth cannot be restored.
        """
        self._of_truth("restore")
        self._present()
        assert self._tape is not None
        moment, actions = self._tape.cut(num_steps)
        self._take(moment)
        for action in actions:
            self._advance(action)
        return self.dream.snapshot().frame.copy()

    def branch(self, n: int) -> list[PairedEnv]:
        """Return n independent pairs at the present moment, each with a truth of its own; they share the loaded model.

        Raises:
            EnvError: If the truth cannot be saved.
        """
        now = self.snapshot()
        pairs = [PairedEnv(self.model, **self._arguments) for _ in range(n)]
        for pair in pairs:
            pair.restore(now)
        return pairs

    def set_prompt(self, text: str) -> list[str]:
        """Ask the dream for something else, and the truth too if it can; returns the words unknown to the dream.

        Raises:
            EnvError: Before a reset.
            PromptError: If the dream understood no word; nothing has changed then.
        """
        now = self._present()
        self.model.understand(text)
        change = getattr(self.truth.unwrapped, "set_prompt", None)
        if change is not None and not now.ended:
            with contextlib.suppress(PromptError):  # a word that only the dream knows
                change(text)
        unknown = self.dream.set_prompt(text)
        if self._tape is not None:
            self._tape.mark(self.snapshot())
        return unknown

    def close(self) -> None:
        """Close the truth."""
        self.truth.close()

    def _advance(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.dream.step(action)
        beside = self._present()
        if not beside.ended:
            true_obs, true_reward, true_end, true_cut, _ = self.truth.step(action)
            frame = np.array(self._to_frame(true_obs), np.uint8)
            self._beside = replace(beside, frame=frame, steps=beside.steps + 1, ended=bool(true_end or true_cut))
            info["truth"] = {
                "obs": frame.copy(),
                "reward": float(true_reward),
                "terminated": bool(true_end),
                "truncated": bool(true_cut),
            }
            error = float(mse(obs, frame))
            info["divergence"] = {
                "mse": error,
                "psnr": min(float(psnr(np.array(error))), _PSNR_OF_EQUAL) if error else _PSNR_OF_EQUAL,
                "mse_copy_last": float(mse(beside.first, frame)),
                "reward": reward - float(true_reward),
            }
        return obs, reward, terminated, truncated, self._said(info)

    def _said(self, info: dict[str, Any]) -> dict[str, Any]:
        return {**info, "start": f"step {self.warm_up} of the truth", "truth_ended": self._present().ended}

    def _take(self, snapshot: PairedSnapshot) -> None:
        restore = self._of_truth("restore")
        self.dream.restore(snapshot.dream)
        if self._beside is None:
            self.truth.reset()  # Gymnasium's wrappers let no step through before it
        restore(snapshot.truth)
        self._beside = snapshot.beside
        if self._limit is not None:
            self._limit._elapsed_steps = snapshot.beside.steps  # which the truth's own snapshot does not hold

    def _begin_tape(self) -> None:
        self._tape = Tape(self.snapshot()) if hasattr(self.truth.unwrapped, "snapshot") else None

    def _warmed_up(self, seed: int, options: dict[str, Any]) -> tuple[list[np.ndarray], list[np.ndarray], str]:
        """Return the frames and actions of the warm-up, and what the truth says of its last moment."""
        policy = self._make_policy(seed)
        obs, info = self.truth.reset(seed=seed, options=options or None)
        frames, actions = [np.array(self._to_frame(obs), np.uint8)], []
        while len(actions) < self.warm_up:
            action = policy(obs, info)
            obs, _, terminated, truncated, info = self.truth.step(action)
            if terminated or truncated:
                break
            frames.append(np.array(self._to_frame(obs), np.uint8))
            actions.append(np.array(action))
        return frames, actions, (info.get("caption") or {}).get("en", "")

    def _present(self) -> Beside:
        if self._beside is None:
            raise EnvError("the pair needs an episode; call reset() first")
        return self._beside

    def _of_truth(self, name: str) -> Any:
        found = getattr(self.truth.unwrapped, name, None)
        if found is None:
            raise EnvError(f"the truth {type(self.truth.unwrapped).__name__} has no {name}(), so the pair has none")
        return found


def _time_limit(env: gym.Env) -> gym.wrappers.TimeLimit | None:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.wrappers.TimeLimit):
            return env
        env = env.env
    return None
