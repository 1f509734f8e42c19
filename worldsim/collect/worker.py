"""One collector: makes an env, plays episodes by seed, and turns each into a Rollout."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.collect.policies import policies_of
from worldsim.errors import EnvError
from worldsim.rollout import STATE_DIM, Caption, Event, Policy, Rollout, control_dt_of
from worldsim.store import RolloutStore

__all__ = ["Episode", "Job", "make_image_env", "play", "run_batch"]

MAX_STEPS = 10_000
"""Steps after which an episode without any limit of its own is truncated."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all episodes of a run have in common; picklable."""

    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    policy: str = "mixture"
    max_steps: int | None = None
    variation: Mapping[str, Any] | None = None
    prompt_every: int | None = None
    """Mean steps between prompts in mid-episode; None for none."""
    store_path: str
    run_id: str


@dataclass(frozen=True)
class Episode:
    """One episode to collect."""

    seed: int
    key: str


def make_image_env(env_id: str, env_kwargs: Mapping[str, Any]) -> tuple[gym.Env, Callable[[Any], np.ndarray]]:
    """Make an env and a function from its obs to a frame (H, W, 3) uint8: the obs itself, else what it renders.

    Raises:
        EnvError: If the id or an argument is unknown, or there is no image of 32 to 256 pixels a side.
    """
    # An env that draws with pygame would make its process, and every one forked from it, deaf to SIGTERM.
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
    env = _make(env_id, env_kwargs)
    space = env.observation_space
    if isinstance(space, gym.spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3 and space.shape[-1] == 3:
        _check_size(env_id, space.shape[:2])
        return env, lambda obs: obs
    modes = env.metadata.get("render_modes", [])
    env.close()
    if "rgb_array" not in modes:
        raise EnvError(
            f"{env_id} shows no image: its obs is {space} and it cannot render rgb_array; "
            "wrap it so that obs is (H, W, 3) uint8"
        )
    env = _make(env_id, {**env_kwargs, "render_mode": "rgb_array"})
    env.reset(seed=0)
    _check_size(env_id, _rendered(env).shape[:2])
    return env, lambda obs: _rendered(env)


def play(
    env: gym.Env, to_frame: Callable[[Any], np.ndarray], make_policy: Callable[[int], Policy], job: Job, seed: int
) -> Rollout:
    """Play one episode and return it.

    Raises:
        EnvError: If it is to be prompted, and the env cannot.
    """
    policy = make_policy(int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]))
    obs, info = env.reset(seed=seed, options={"variation": dict(job.variation)} if job.variation else None)
    frames, actions, rewards, ends = [_copy(to_frame(obs))], [], [], []
    states, captions, events = [info.get("state")], _captions([], 0, None, info), _events([], 0, info)
    prompts = _Prompts(env, job, seed)
    variation = info.get("variation", {})
    limit = min(job.max_steps or MAX_STEPS, MAX_STEPS)
    done = False
    while not done:
        action = policy(obs, info)
        caption, prompt = info.get("caption"), prompts.give()
        obs, reward, terminated, truncated, info = env.step(_to_env(env.action_space, action))
        truncated = truncated or len(actions) + 1 >= limit
        done = terminated or truncated
        actions.append(np.asarray(action, _action_dtype(env.action_space)))
        rewards.append(reward)
        ends.append((terminated, truncated))
        frames.append(_copy(to_frame(obs)))
        states.append(info.get("state"))
        if prompt is not None:
            captions = [*captions, Caption(len(actions), prompt["en"], prompt["zh"])]
        else:
            captions = _captions(captions, len(actions), caption, info)
        events = _events(events, len(actions), info)
    return Rollout(
        obs=np.stack(frames),
        action=np.stack(actions),
        reward=np.array(rewards, np.float32),
        terminated=np.array([end[0] for end in ends], bool),
        truncated=np.array([end[1] for end in ends], bool),
        state=_stack_states(states),
        caption=tuple(captions),
        events=tuple(events),
        env_id=job.env_id,
        spec=dict(job.env_kwargs),
        control_dt=control_dt_of(env),
        action_spec=tuple(getattr(env.unwrapped, "action_spec", ())),
        seed=seed,
        policy=job.policy,
        variation=dict(variation),
    )


def run_batch(
    env: gym.Env,
    to_frame: Callable[[Any], np.ndarray],
    job: Job,
    store: RolloutStore,
    episodes: Sequence[Episode],
    on_episode: Callable[[int, int], bool],
) -> None:
    """Collect episodes and commit each as it ends, so that a killed process loses only the one that it plays.

    Args:
        env, to_frame: From ``make_image_env``.
        job: What the episodes have in common.
        store: Where they go.
        episodes: Which ones.
        on_episode: Called with steps and bytes of raw frames after each commit; False ends the batch early.
    """
    make_policy = named_policy(env, job)
    for episode in episodes:
        rollout = play(env, to_frame, make_policy, job, episode.seed)
        with store.writer(job.run_id) as writer:
            writer.add(rollout, episode.key)
        if not on_episode(len(rollout), rollout.obs.nbytes):
            break


def named_policy(env: gym.Env, job: Job) -> Callable[[int], Policy]:
    """Return the maker of the job's policy.

    Raises:
        EnvError: If the env has no policy of that name.
    """
    policies = policies_of(env)
    if job.policy not in policies:
        raise EnvError(f"{job.env_id} has the policies {', '.join(policies)}; got {job.policy!r}")
    return policies[job.policy]


def _make(env_id: str, env_kwargs: Mapping[str, Any]) -> gym.Env:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # version hints and the like; an error says what matters
            return gym.make(env_id, disable_env_checker=True, **env_kwargs)
    except (gym.error.Error, ImportError, TypeError) as error:
        raise EnvError(
            f"cannot make {env_id!r}: {error}; worldsim envs lists the ids, module:Id-v0 imports first"
        ) from None


def _check_size(env_id: str, size: Sequence[int]) -> None:
    if not all(32 <= pixels <= 256 for pixels in size):
        raise EnvError(
            f"frames must be 32 to 256 pixels high and wide; {env_id} has {size[0]}x{size[1]}: pass its size as an "
            "argument, or wrap it with gymnasium.wrappers.ResizeObservation"
        )


def _rendered(env: gym.Env) -> np.ndarray:
    try:
        frame = env.render()
    except gym.error.Error as error:
        raise EnvError(f"{env.spec.id if env.spec else env} cannot render: {error}") from None
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[-1] != 3:
        raise EnvError(f"render must return (H, W, 3) uint8; got {type(frame).__name__}")
    return frame


def _copy(frame: np.ndarray) -> np.ndarray:
    return np.array(frame, np.uint8)


def _action_dtype(space: gym.Space) -> Any:
    return np.float32 if isinstance(space, gym.spaces.Box) else np.int64


def _to_env(space: gym.Space, action: np.ndarray) -> Any:
    return int(action) if isinstance(space, gym.spaces.Discrete) else action


class _Prompts:
    """Prompts in mid-episode, drawn by the env at steps that the episode's seed decides."""

    def __init__(self, env: gym.Env, job: Job, seed: int) -> None:
        self._world, self._every = env.unwrapped, job.prompt_every
        self._rng = np.random.default_rng([seed, 2])
        if self._every and not (hasattr(self._world, "draw_prompt") and hasattr(self._world, "set_prompt")):
            raise EnvError(f"{job.env_id} takes no prompts in mid-episode (draw_prompt, set_prompt); leave them out")

    def give(self) -> Mapping[str, str] | None:
        """Perhaps prompt the env, in one language or the other, for the next steps; return the prompt in both."""
        if not self._every or self._rng.random() >= 1 / self._every:
            return None
        prompt = self._world.draw_prompt(self._rng)  # type: ignore[attr-defined]
        self._world.set_prompt(prompt[("en", "zh")[int(self._rng.integers(2))]])  # type: ignore[attr-defined]
        return prompt


def _captions(
    captions: list[Caption], t: int, before: Mapping[str, str] | None, info: Mapping[str, Any]
) -> list[Caption]:
    """Add the caption of step t if it is another than the one before; what was prompted stands until then."""
    text = info.get("caption")
    if text is None or text == before:
        return captions
    return [*captions, Caption(t, text["en"], text["zh"])]


def _events(events: list[Event], t: int, info: Mapping[str, Any]) -> list[Event]:
    """Add what happened in one step; an env may name it by a text alone. A new instruction is an event as well."""
    found, order = info.get("events"), info.get("instruction")
    listed = found if isinstance(found, list | tuple) else ()
    new = [dict(event) if isinstance(event, Mapping) else {"name": str(event)} for event in listed]
    if isinstance(order, Mapping):
        told = {"name": "instruction", **order}
        if told != next((event.facts for event in reversed(events) if event.facts["name"] == "instruction"), None):
            new.append(told)
    return [*events, *(Event(t, facts) for facts in new)]


def _stack_states(states: Sequence[Mapping[str, Mapping[str, Any]] | None]) -> dict[str, np.ndarray] | None:
    bodies = list(dict.fromkeys(body for state in states for body in state or ()))
    if not bodies:
        return None
    stacked = {body: np.full((len(states), STATE_DIM), np.nan, np.float32) for body in bodies}
    for t, state in enumerate(states):
        for body, parts in (state or {}).items():
            stacked[body][t] = np.concatenate([parts["pos"], parts["quat"], parts["vel"], parts["ang"]])
    return stacked
