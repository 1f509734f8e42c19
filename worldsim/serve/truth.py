"""The truth in a process of its own: pybullet never frees the interpreter's lock, and the model must not wait for it.

`TrueWorld` is the truth as the player needs it; `TruthProcess` has its methods too, and runs it elsewhere.
"""

from __future__ import annotations

import inspect
import multiprocessing
import pickle
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.collect import policies_of
from worldsim.collect.worker import make_image_env
from worldsim.errors import EnvError, WorldsimError
from worldsim.rollout import control_dt_of
from worldsim.sim.actions import neutral_actions

__all__ = ["TrueMoment", "TrueStart", "TrueWorld", "TruthFacts", "TruthProcess"]

_MAX_SEEDS = 10
_SHORT = 4  # values of a choice that a gallery shows all of


@dataclass(frozen=True, kw_only=True)
class TruthFacts:
    """What the truth offers."""

    env_id: str
    env_kwargs: Mapping[str, Any]
    observation_space: Any
    action_space: Any
    control_dt: float
    policies: tuple[str, ...]
    takes_prompts: bool
    factors: Mapping[str, tuple[str, ...]]
    """Named choices that a reset may fix, each with its values."""
    cameras: tuple[str, ...]
    """Where it can be seen from; the first is what the model imagines."""


@dataclass(frozen=True, kw_only=True)
class TrueMoment:
    """The truth after a reset or a step."""

    frame: np.ndarray
    """(H, W, 3) uint8."""
    snapshot: bytes
    """All that its next steps depend on."""
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    events: tuple[str, ...] = ()
    caption: tuple[str, str] | None = None
    """In English and Chinese."""
    view: np.ndarray | None = None
    """(H, W, 3) uint8, the same moment from the chosen camera; None where that is the frame's own."""

    @property
    def end(self) -> str:
        """Why the episode is over, or nothing."""
        if not (self.terminated or self.truncated):
            return ""
        return "; ".join(self.events) or ("terminated" if self.terminated else "truncated")


@dataclass(frozen=True, kw_only=True)
class TrueStart:
    """Some true steps, after which a person takes over."""

    frames: np.ndarray
    """(C, H, W, 3) uint8; the last is that of ``moment``."""
    actions: np.ndarray
    """(C - 1, *A)."""
    seed: int
    moment: TrueMoment
    variation: Mapping[str, Any]


class TrueWorld:
    """An env with what a player asks of it; one without ``snapshot`` is restored by repeating its actions.

    Args:
        env_id: Any Gymnasium id whose obs or render is an image.
        env_kwargs: Its constructor arguments.

    Raises:
        EnvError: If it cannot be made or shows no image.
    """

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any]) -> None:
        self._id, self._kwargs = env_id, dict(env_kwargs)
        # The player has a horizon of its own, and a rewind would not turn a time limit's count back.
        self._env, self._to_frame = make_image_env(env_id, {**self._kwargs, "max_episode_steps": -1})
        self._world: Any = self._env.unwrapped
        self._policies: dict[str, Any] = {}
        self._cameras = _cameras_of(self._world, self._kwargs)
        self._camera = self._cameras[0] if self._cameras else ""
        self._view: np.ndarray | None = None

    def facts(self) -> TruthFacts:
        """Return what the truth offers."""
        space = self._env.observation_space
        card = getattr(self._world, "scene_card", {})
        factors = card.get("factors", {})
        return TruthFacts(
            env_id=self._id,
            env_kwargs=self._kwargs,
            observation_space=space,
            action_space=self._env.action_space,
            control_dt=control_dt_of(self._env),
            policies=tuple(policies_of(self._env)),
            takes_prompts=hasattr(self._world, "set_prompt"),
            factors={name: values for name, spec in factors.items() if (values := _choices(spec))},
            cameras=self._cameras,
        )

    def begin(self, seed: int, num_steps: int, options: Mapping[str, Any], camera: str = "") -> TrueStart:
        """Reset, let the policy ``mixture`` drive ``num_steps`` steps, and return them.

        A seed whose episode ends before is passed over for the next one.

        Args:
            seed: Env seed.
            num_steps: True steps before the person takes over.
            options: Reset options.
            camera: From where it is shown; empty for the camera of its frames.

        Raises:
            EnvError: If ten episodes in a row end too early.
            PromptError: If no word of a prompt was understood.
        """
        camera = camera or (self._cameras[0] if self._cameras else "")
        if camera != self._camera:
            self._open(camera)
        for k in range(_MAX_SEEDS):
            self._seed, self._options, self._actions = seed + k, dict(options), []
            self._policies = {}
            obs, self._info = self._env.reset(seed=self._seed, options=self._options or None)
            self._see(obs)
            frames, actions, moment = [self._frame], [], self._moment()
            for _ in range(num_steps):
                actions.append(self.act("mixture"))
                moment = self.step(actions[-1])
                frames.append(moment.frame)
                if moment.terminated or moment.truncated:
                    break
            else:
                return TrueStart(
                    frames=np.stack(frames),
                    actions=np.stack(actions),
                    seed=self._seed,
                    moment=moment,
                    variation=dict(self._info.get("variation", {})),
                )
        raise EnvError(f"{self._id} ended within {num_steps} steps with the seeds {seed} to {seed + _MAX_SEEDS - 1}")

    def act(self, policy: str) -> np.ndarray:
        """Return what a policy does now.

        Raises:
            EnvError: If the truth has no such policy.
        """
        if policy not in self._policies:
            makers = policies_of(self._env)
            if policy not in makers:
                raise EnvError(f"{self._id} has the policies {', '.join(makers)}; got {policy!r}")
            self._policies[policy] = makers[policy](self._seed)
        return np.asarray(self._policies[policy](self._frame, self._info))

    def step(self, action: np.ndarray) -> TrueMoment:
        """Advance by one control step."""
        obs, reward, terminated, truncated, self._info = self._env.step(_plain(action))
        self._actions.append(np.asarray(action))
        self._see(obs)
        return self._moment(reward=float(reward), terminated=bool(terminated), truncated=bool(truncated))

    def set_prompt(self, text: str) -> tuple[list[str], bytes]:
        """Change the world as a prompt says; return the words that it cannot express, and the moment with the change.

        Raises:
            PromptError: If no word was understood.
        """
        unknown = list(self._world.set_prompt(text))
        return unknown, self._moment().snapshot

    def look_from(self, camera: str) -> np.ndarray | None:
        """Show the world from another camera from now on; return what it sees now, None for the frame's own.

        Raises:
            EnvError: If there is no such camera.
        """
        if camera not in self._cameras:
            raise EnvError(f"{self._id} has the cameras {', '.join(self._cameras) or 'none to choose'}; got {camera!r}")
        kept = self._world.snapshot()
        self._open(camera)
        obs, _ = self._env.reset(options={"snapshot": kept})
        self._see(obs)
        return self._view

    def gallery(self, num_steps: int = 6) -> list[tuple[str, dict[str, str], np.ndarray]]:
        """Return scenes to begin with: a title, the factors that make it, and a frame (H, W, 3) uint8 after some steps.

        A world with scenarios or tasks shows each; another one each combination of its first two short choices.
        """
        factors = self.facts().factors
        named = next((name for name in ("scenario", "task") if name in factors), None)
        short = [name for name, values in factors.items() if len(values) <= _SHORT][:2]
        chosen = [named] if named else short
        scenes = []
        for values in product(*(factors[name] for name in chosen)) if chosen else ():
            variation = dict(zip(chosen, values, strict=True))
            obs, _ = self._env.reset(seed=0, options={"variation": variation})
            for _ in range(num_steps):
                (rest,) = neutral_actions(self._env.action_space, 1)
                obs, *_ = self._env.step(_plain(rest))
            scenes.append((", ".join(values).replace("_", " "), variation, np.array(self._to_frame(obs))))
        return scenes

    def restore(self, snapshot: bytes) -> np.ndarray | None:
        """Continue from a moment of this process's env; return what the chosen camera sees."""
        kept, self._frame, self._info, self._seed, self._options, self._actions = pickle.loads(snapshot)
        self._policies = {}
        if kept is not None:
            if self._camera in self._cameras[1:]:
                obs, _ = self._env.reset(options={"snapshot": kept})
                self._see(obs)
                return self._view
            self._world.restore(kept)
            return None
        self._env.reset(seed=self._seed, options=self._options or None)
        for action in self._actions:
            self._env.step(_plain(action))
        return None

    def close(self) -> None:
        """Free the env."""
        self._env.close()

    def _open(self, camera: str) -> None:
        """Make the env anew, seen from a camera beside its own."""
        own = self._cameras[0]
        self._env.close()
        kwargs = {**self._kwargs, "cameras": tuple(dict.fromkeys((own, camera))), "max_episode_steps": -1}
        self._env = gym.make(self._id, disable_env_checker=True, **kwargs)
        self._world, self._camera = self._env.unwrapped, camera
        self._to_frame = (lambda obs: obs) if camera == own else (lambda obs: obs[f"rgb/{own}"])

    def _see(self, obs: Any) -> None:
        self._frame = np.array(self._to_frame(obs))
        is_elsewhere = self._camera in self._cameras[1:]
        self._view = np.array(obs[f"rgb/{self._camera}"]) if is_elsewhere else None

    def _moment(self, **ends: Any) -> TrueMoment:
        can_snapshot = hasattr(self._world, "snapshot") and hasattr(self._world, "restore")
        kept = self._world.snapshot() if can_snapshot else None
        actions = [] if can_snapshot else list(self._actions)
        caption = self._info.get("caption")
        return TrueMoment(
            frame=self._frame,
            snapshot=pickle.dumps((kept, self._frame, self._info, self._seed, self._options, actions)),
            events=tuple(_told(event) for event in self._info.get("events", ())),
            caption=None if caption is None else (caption["en"], caption["zh"]),
            view=self._view,
            **ends,
        )


def _told(event: Any) -> str:
    """Return what an event says: its words, else its name, else itself."""
    return str(event.get("en", event["name"])) if isinstance(event, Mapping) and "name" in event else str(event)


class TruthProcess:
    """A `TrueWorld` in a process of its own, asked by name: ``ask("step", action)``.

    ``send`` and ``receive`` are its two halves, for what the caller does in between.

    Raises:
        EnvError: If the env cannot be made or shows no image.
    """

    def __init__(self, env_id: str, env_kwargs: Mapping[str, Any]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads in mid-air
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, env_id, dict(env_kwargs)), daemon=True)
        self._process.start()
        theirs.close()
        self.facts: TruthFacts = self.receive()

    def ask(self, method: str, *args: Any) -> Any:
        """Call a method of the world and return what it returns.

        Raises:
            WorldsimError: What the method raised.
        """
        self.send(method, *args)
        return self.receive()

    def send(self, method: str, *args: Any) -> None:
        """Begin a call; its result is fetched by `receive`.

        Raises:
            EnvError: If the process has ended.
        """
        try:
            self._pipe.send((method, args))
        except OSError:
            raise self._ended() from None

    def receive(self) -> Any:
        """Return the result of the oldest call.

        Raises:
            WorldsimError: What the call raised, or that the process has ended.
        """
        try:
            result = self._pipe.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        if isinstance(result, WorldsimError):
            raise result
        return result

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()

    def _ended(self) -> EnvError:
        self._process.join(1)
        return EnvError(f"the true world's process has ended (exit code {self._process.exitcode}); start again")


def _serve(pipe: Connection, env_id: str, env_kwargs: dict[str, Any]) -> None:
    """Answer calls until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the server says when
    try:
        world = TrueWorld(env_id, env_kwargs)
        pipe.send(world.facts())
    except Exception as error:
        pipe.send(_as_ours(error))
        return
    while True:
        try:
            method, args = pipe.recv()
        except EOFError:
            break
        try:
            result = getattr(world, method)(*args)
        except Exception as error:
            result = _as_ours(error)
        try:
            pipe.send(result)
        except OSError:
            break
    world.close()


def _as_ours(error: Exception) -> WorldsimError:
    return error if isinstance(error, WorldsimError) else EnvError(f"the true world failed: {error!r}")


def _cameras_of(world: Any, env_kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cameras that a world can be made with, the one of its frames first."""
    if "cameras" not in inspect.signature(type(world).__init__).parameters or not hasattr(world, "snapshot"):
        return ()
    own = tuple(env_kwargs.get("cameras", ()))[:1]
    return tuple(dict.fromkeys((*own, *getattr(world, "scene_card", {}).get("cameras", {}))))


def _choices(factor: Any) -> tuple[str, ...]:
    """Return the values of a factor that is a choice between names, else nothing."""
    values = factor.get("values", ()) if isinstance(factor, Mapping) else factor
    is_choice = isinstance(values, list | tuple) and len(values) > 1 and all(isinstance(v, str) for v in values)
    return tuple(values) if is_choice else ()


def _plain(action: np.ndarray) -> Any:
    """Return a choice as an int, for a Discrete space; other actions as they are."""
    return int(action) if action.ndim == 0 else action
