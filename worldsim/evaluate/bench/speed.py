"""How fast a model imagines, alone and in a batch, beside its truth in the same run.

All that is timed takes short turns, again and again, so that whatever else the machine does falls on all alike; a
figure is a median over turns. A row is one thing that was timed:

- ``truth``: the true env's ``step``, rendering included, one env in one process;
- ``env.step``: the imagined env as a user has it, one stream or a native batch, with frames as uint8 arrays;
- ``model.step``: the model alone, without Gymnasium around it;
- ``truth ENV`` and ``camera ENV``: the step of any true world, rendering included, and the bare camera call of the same
  scenes. Both run in one thread and are timed in its CPU seconds, in turns of a few frames, so that other programs
  weigh little; the ratio is a median over scenes.

``decode`` says whether the frames were fetched as arrays. The denoiser works on pixels: the call that moves the state
paints the frame, and on a CPU there is next to nothing left to decode; the rows without it say how little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from worldsim.collect.policies import policies_of
from worldsim.collect.worker import make_image_env
from worldsim.errors import EnvError
from worldsim.model import WorldModel
from worldsim.sim import WorldModelEnv, WorldModelVectorEnv
from worldsim.train.git import commit_name

__all__ = ["SpeedBudget", "WorldSpeed", "bench_speed", "full", "quick", "world_speed"]

_ENDLESS = 1_000_000_000  # steps
_NUM_ACTIONS = 64  # drawn once, repeated
_TRUTH = ("truth", 1, None, True)

Key = tuple[str, int, int | None, bool]
"""What, number of streams, sampler steps, whether frames are fetched."""
Timed = Callable[[], float]
"""Takes one step and returns the seconds that it took; resets are not counted."""


@dataclass(frozen=True, kw_only=True)
class SpeedBudget:
    """What is timed and for how long."""

    num_streams: tuple[int, ...] = (1, 8, 64)
    """In rising order."""
    sampler_steps: tuple[int, ...] = (1, 2, 4)
    num_turns: int = 12
    turn_s: float = 0.5
    """Seconds of a turn; at least one step is taken."""
    num_scenes: int = 40
    """Episodes of each further world."""


@dataclass(frozen=True)
class WorldSpeed:
    """How fast a true world steps, beside its camera alone; medians over scenes."""

    steps_per_second: float
    cameras_per_second: float
    ratio: float
    """Camera time over step time."""
    reset_s: float
    """CPU seconds of a reset, its first frame included."""


def quick() -> SpeedBudget:
    """Return a budget of about a minute."""
    return SpeedBudget(num_turns=5, turn_s=0.3, num_scenes=10)


def full() -> SpeedBudget:
    """Return a budget of some minutes."""
    return SpeedBudget()


def bench_speed(
    model: WorldModel,
    *,
    budget: SpeedBudget | None = None,
    env_id: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    worlds: Sequence[str] = (),
    seed: int = 200_000,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Time a model and its truth.

    Args:
        model: On the device where it is to be timed.
        budget: What is timed and for how long; `full` if None.
        env_id, env_kwargs: The truth; that of the model if None, and the arguments that the model knows of it.
        worlds: True worlds that are timed beside their own cameras, by id.
        seed: Of the truth's episodes, the actions and the streams.
        progress: Called with (stage, done, total).

    Returns:
        JSON values: ``rows`` of {"what", "n", "sampler_steps", "decode", "frames_per_second", "vs", "ratio"}, where a
        frame is one step of one stream and ``ratio`` is over what ``vs`` names; ``scaling``, frames per second
        of ``env.step`` with most streams over those with fewest, per number of sampler steps; and the setting.

    Raises:
        EnvError: If the truth cannot be made.
    """
    budget, env_id = budget or full(), env_id or model.spec.env_id
    if env_kwargs is None:
        env_kwargs = model.spec.env_kwargs if env_id == model.spec.env_id else {}
    truth, to_frame = make_image_env(env_id, env_kwargs)
    timed: dict[Key, Timed] = {_TRUTH: _single(truth, to_frame, seed)}
    for n in budget.num_streams:
        for k in budget.sampler_steps:
            timed["env.step", n, k, True] = _imagined(model, n, k, seed)
            for decode in (True, False):
                timed["model.step", n, k, decode] = _model_alone(model, n, k, seed, decode)
    speeds: dict[Key, list[float]] = {key: [] for key in timed}
    try:
        for step in timed.values():
            step()  # the first call prepares what later ones find ready
        for turn in range(budget.num_turns):
            for key, step in timed.items():
                speeds[key].append(key[1] * _steps_per_second(step, budget.turn_s))
            if progress:
                progress("turns", turn + 1, budget.num_turns)
    finally:
        truth.close()
    medians = {key: float(np.median(values)) for key, values in speeds.items()}
    of_worlds: list[dict[str, Any]] = []
    for done, world in enumerate(worlds):
        of_worlds += _world_rows(world, budget, seed)
        if progress:
            progress("worlds", done + 1, len(worlds))
    fewest, most = budget.num_streams[0], budget.num_streams[-1]
    return {
        "rows": [_row(key, value, medians[_TRUTH]) for key, value in medians.items()] + of_worlds,
        "scaling": {
            str(k): medians["env.step", most, k, True] / medians["env.step", fewest, k, True]
            for k in budget.sampler_steps
        },
        "model": model.name,
        "checkpoint_sha": model.sha,
        "env": env_id,
        "frame": f"{model.spec.height}x{model.spec.width}",
        "threads": torch.get_num_threads(),
        "device": str(model.device),
        "precision": str(model.dtype).removeprefix("torch."),
        "turns": budget.num_turns,
        "turn_s": budget.turn_s,
        "seed": seed,
        "commit": commit_name(),
    }


def world_speed(
    env_id: str,
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    num_scenes: int = 40,
    num_frames: int = 20,
    seed: int = 200_000,
) -> WorldSpeed:
    """Time a true world's step beside the camera call that drew its last frame.

    Args:
        env_id, env_kwargs: The world; it offers ``redraw``.
        options: Reset options of every scene.
        num_scenes: Episodes, one seed each.
        num_frames: Steps, and then camera calls, per scene.
        seed: Of the first scene.

    Raises:
        EnvError: If the world cannot be made or has no ``redraw``.
    """
    try:
        env = gym.make(env_id, **dict(env_kwargs or {})).unwrapped
    except gym.error.Error as error:
        raise EnvError(f"cannot make {env_id}: {error}") from error
    redraw: Callable[[], None] | None = getattr(env, "redraw", None)
    if redraw is None:
        env.close()
        raise EnvError(f"{env_id} has no redraw(), the bare camera call that its steps are timed beside")
    make_policy = policies_of(env)["mixture"]
    steps_s, cameras_s, resets_s = [], [], []
    for scene in range(num_scenes):
        begun = time.thread_time()
        obs, info = env.reset(seed=seed + scene, options=dict(options or {}))
        resets_s.append(time.thread_time() - begun)
        act, spent_s, taken, terminated = make_policy(seed + scene), 0.0, 0, False
        while taken < num_frames and not terminated:
            action = act(obs, info)
            begun = time.thread_time()
            obs, _, terminated, _, info = env.step(action)
            spent_s += time.thread_time() - begun
            taken += 1
        steps_s.append(spent_s / taken)
        begun = time.thread_time()
        for _ in range(taken):
            redraw()
        cameras_s.append((time.thread_time() - begun) / taken)
    env.close()
    step_s, camera_s = np.array(steps_s), np.array(cameras_s)
    return WorldSpeed(
        steps_per_second=float(1 / np.median(step_s)),
        cameras_per_second=float(1 / np.median(camera_s)),
        ratio=float(np.median(camera_s / step_s)),
        reset_s=float(np.median(resets_s)),
    )


def _world_rows(env_id: str, budget: SpeedBudget, seed: int) -> list[dict[str, Any]]:
    speed = world_speed(env_id, num_scenes=budget.num_scenes, seed=seed)
    common = {"n": 1, "sampler_steps": None, "decode": True, "vs": f"camera {env_id}"}
    return [
        {"what": f"truth {env_id}", "frames_per_second": speed.steps_per_second, "ratio": speed.ratio, **common},
        {"what": f"camera {env_id}", "frames_per_second": speed.cameras_per_second, "ratio": 1.0, **common},
    ]


def _row(key: Key, frames_per_second: float, truth: float) -> dict[str, Any]:
    what, n, sampler_steps, decode = key
    return {
        "what": what,
        "n": n,
        "sampler_steps": sampler_steps,
        "decode": decode,
        "frames_per_second": frames_per_second,
        "vs": "truth",
        "ratio": frames_per_second / truth,
    }


def _steps_per_second(step: Timed, turn_s: float) -> float:
    times_s = [step()]
    while sum(times_s) < turn_s:
        times_s.append(step())
    return len(times_s) / sum(times_s)


def _single(env: gym.Env, to_frame: Callable[[Any], np.ndarray], seed: int) -> Timed:
    env.action_space.seed(seed)
    actions = cycle([env.action_space.sample() for _ in range(_NUM_ACTIONS)])
    env.reset(seed=seed)

    def step() -> float:
        action = next(actions)
        begun = time.perf_counter()
        obs, _, terminated, truncated, _ = env.step(action)
        to_frame(obs)
        spent_s = time.perf_counter() - begun
        if terminated or truncated:
            env.reset()
        return spent_s

    return step


def _imagined(model: WorldModel, n: int, sampler_steps: int, seed: int) -> Timed:
    if n == 1:
        env = WorldModelEnv(model, horizon=_ENDLESS, sampler_steps=sampler_steps)
        return _single(env, lambda obs: obs, seed)
    envs = WorldModelVectorEnv(n, model, horizon=_ENDLESS, sampler_steps=sampler_steps)
    envs.reset(seed=seed)
    batches = cycle(_batches(model, n, seed))

    def step() -> float:
        batch = next(batches)
        begun = time.perf_counter()
        envs.step(batch)
        return time.perf_counter() - begun

    return step


def _model_alone(model: WorldModel, n: int, sampler_steps: int, seed: int, decode: bool) -> Timed:
    starts = [model.starts[i % len(model.starts)] for i in range(n)]
    state = model.encode(
        np.stack([start.frames for start in starts]),
        np.stack([start.actions for start in starts]),
        prompts=[None] * n,
        seeds=np.arange(n),
    )
    batches = cycle(_batches(model, n, seed))

    def step() -> float:
        batch = next(batches)
        begun = time.perf_counter()
        _, predicted = model.step(state, batch, sampler_steps=sampler_steps)
        if decode:
            _ = predicted.frames
        return time.perf_counter() - begun

    return step


def _batches(model: WorldModel, n: int, seed: int) -> list[np.ndarray]:
    _, space = model.spec.spaces()
    space.seed(seed)
    return [np.stack([space.sample() for _ in range(n)]) for _ in range(_NUM_ACTIONS)]
