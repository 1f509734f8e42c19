"""Checks that an imagined env keeps what worldsim promises of one; for the tests of whoever writes another.

from worldsim.testing import check_world_model_env

def test_my_world():
    check_world_model_env(MyWorldEnv())
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, VectorEnv

from worldsim.errors import ActionError, EnvError

__all__ = ["check_world_model_env", "check_world_model_vector_env"]

_MEAN_LEVELS = 1.0  # of 255, by which a stream may differ between batch sizes


def check_world_model_env(env: gym.Env, *, num_steps: int = 32, seed: int = 0) -> None:
    """Check one imagined stream: Gymnasium's rules, and that its state is a value.

    On ``env.unwrapped`` there must be ``snapshot``, ``restore``, ``branch``, ``rewind`` and ``control_dt``, and the
    observations must be (H, W, 3) uint8 frames. What is checked, in this order:

    - Gymnasium's ``check_env`` passes; frames are finite images, rewards and ends are of plain types;
    - the same seed and actions give the same bits; an ``info`` says ``source="imagined"``;
    - a snapshot survives pickling, and after ``restore`` the same steps follow, bit for bit; likewise after ``rewind``;
    - branches agree with the env they come from, and do not move it;
    - an action out of the space or not finite is an ActionError that changes nothing;
    - what a caller does to a frame stays with the caller; a step before a reset is an EnvError.

    Args:
        env: Freshly made; wrappers are taken off.
        num_steps: Steps of each repetition.
        seed: Of the episode and the actions.

    Raises:
        EnvError: If a promise is broken; it says which.
        AssertionError: As raised by Gymnasium's own check.
    """
    env = env.unwrapped
    inner: Any = env
    for name in ("snapshot", "restore", "branch", "rewind", "control_dt"):
        _require(hasattr(env, name), f"the env has no {name}; see worldsim.sim.WorldModelEnv")
    space = env.observation_space
    _require(
        isinstance(space, gym.spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3 and space.shape[2] == 3,
        f"observations must be (H, W, 3) uint8 frames; got {space}",
    )
    _refuses(EnvError, lambda: env.step(env.action_space.sample()), "a step before the first reset")
    check_env(env, skip_render_check=env.spec is None)  # other render modes are made from the spec
    actions = _actions(env.action_space, num_steps, seed)

    _, info = env.reset(seed=seed)
    _require(info.get("source") == "imagined", f'info["source"] must be "imagined"; got {info.get("source")!r}')
    begun = inner.snapshot()
    expected = _steps(env, actions)
    env.reset(seed=seed)
    _require_equal(_steps(env, actions), expected, "the same seed and actions")
    inner.restore(pickle.loads(pickle.dumps(begun)))
    _require_equal(_steps(env, actions), expected, "a restored snapshot that was pickled")
    back = len(expected) // 2
    if back:
        shown = inner.rewind(back)
        _require_equal(shown, expected[-back - 1][0], "the frame after a rewind")
        _require_equal(_steps(env, actions[len(expected) - back :]), expected[-back:], "the steps after a rewind")

    inner.restore(begun)
    (branch,) = inner.branch(1)
    _require_equal(_steps(branch, actions), expected, "a branch")
    _require_equal(_steps(env, actions), expected, "the env after its branch was stepped")

    inner.restore(begun)
    for bad in _bad_actions(env.action_space):
        _refuses(ActionError, lambda bad=bad: env.step(bad), f"the action {bad!r}")
    obs, *_ = env.step(actions[0])
    obs[:] = 0
    _require_equal(_steps(env, actions[1:]), expected[1:], "what follows a refused action and an overwritten frame")


def check_world_model_vector_env(
    envs: VectorEnv, alone: gym.Env | None = None, *, num_steps: int = 16, seed: int = 0
) -> None:
    """Check a batch of imagined streams: Gymnasium's shapes, bits, and that each stream is what it would be alone.

    The env must offer ``snapshot(indices)`` and ``restore(snapshots, indices)``. What is checked, in this order:

    - ``metadata["autoreset_mode"]`` is set, arrays have the shapes and types that Gymnasium's vector envs have;
    - the same seed and actions give the same bits, also after the streams changed places;
    - restored snapshots go on bit for bit; one moment restored into all streams is a branch;
    - stream i differs from the single env of its seed by at most 1 of 255 levels in the mean.

    Args:
        envs: A fresh batch of at least 2 streams.
        alone: A single env of the same model and arguments; the last check is left out without one.
        num_steps: Steps of each repetition, ended early by the first end of an episode.
        seed: Stream i has seed ``seed + i``.

    Raises:
        EnvError: If a promise is broken; it says which.
    """
    num = envs.num_envs
    _require(num >= 2, f"the check needs at least 2 streams; got {num}")
    mode = envs.metadata.get("autoreset_mode")
    _require(isinstance(mode, AutoresetMode), f'metadata["autoreset_mode"] must be an AutoresetMode; got {mode!r}')
    actions = np.stack(_actions(envs.single_action_space, num_steps * num, seed))
    actions = actions.reshape(num_steps, num, *actions.shape[1:])  # (T, N, *A)
    inner: Any = envs.unwrapped

    obs, infos = envs.reset(seed=seed)
    _require(obs in envs.observation_space, f"reset must return obs of {envs.observation_space}; got {obs.shape}")
    for key in [key for key in infos if not key.startswith("_")]:
        _require(f"_{key}" in infos, f"info {key!r} has no mask {f'_{key}'!r}")
    begun = inner.snapshot()
    expected = _batch_steps(envs, actions)
    first = expected[0]
    for name, values, dtype in zip(("reward", "terminated", "truncated"), first[1:4], "fbb", strict=True):
        _require(
            values.shape == (num,) and values.dtype.kind == dtype,
            f"{name} must be ({num},) of kind {dtype!r}; got {values.shape} {values.dtype}",
        )
    length = len(expected)
    envs.reset(seed=seed)
    _require_equal(_batch_steps(envs, actions[:length]), expected, "the same seed and actions")
    order = np.roll(np.arange(num), 1)
    inner.reset(seed=[seed + int(i) for i in order])
    moved = [tuple(values[order] for values in step) for step in expected]
    _require_equal(_batch_steps(envs, actions[:length, order]), moved, "streams in another order")
    inner.restore(begun)
    _require_equal(_batch_steps(envs, actions[:length]), expected, "restored snapshots")
    inner.restore(begun[:1] * num)
    ((frames, *_),) = _batch_steps(envs, np.repeat(actions[:1, :1], num, axis=1))
    _require(bool((frames == frames[0]).all()), "one moment restored into all streams must go on alike in all")
    if alone is None:
        return
    for i in range(num):
        alone.reset(seed=seed + i)
        for t, (batch, step) in enumerate(zip(actions[:length], expected, strict=True)):
            frame = alone.step(batch[i])[0]
            apart = float(np.abs(frame.astype(float) - step[0][i]).mean())
            _require(
                apart <= _MEAN_LEVELS, f"stream {i} differs from itself alone by {apart:.2f} levels at step {t + 1}"
            )


def _actions(space: gym.Space, num: int, seed: int) -> list[Any]:
    space.seed(seed)
    return [space.sample() for _ in range(num)]


def _steps(env: gym.Env, actions: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Step until the actions or the episode end."""
    done: list[tuple[Any, ...]] = []
    for action in actions:
        obs, *rest = env.step(action)
        done.append((obs.copy(), *rest))
        if rest[1] or rest[2]:
            break
    return done


def _batch_steps(envs: VectorEnv, actions: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Step until the actions or the first episode end; infos are left out, since Gymnasium's masks them by stream.

    Where an env resets in the same step, its frame is the last of the episode: the next one is drawn by chance.
    """
    done: list[tuple[np.ndarray, ...]] = []
    for batch in actions:
        *values, infos = envs.step(batch)
        done.append(tuple(np.array(value) for value in values))
        if "_final_obs" in infos:
            ended = infos["_final_obs"]
            done[-1][0][ended] = np.stack(infos["final_obs"][ended])
        if done[-1][2].any() or done[-1][3].any():
            break
    return done


def _bad_actions(space: gym.Space) -> list[Any]:
    if isinstance(space, gym.spaces.Box):
        return [np.full(space.shape, np.nan, space.dtype), space.high + 1, np.zeros((7, 7, 7), space.dtype)]
    if isinstance(space, gym.spaces.Discrete):
        return [space.start + space.n, space.start - 1]
    return [np.full(space.shape or (), 1_000_000)]


def _refuses(error: type[Exception], call: Callable[[], Any], what: str) -> None:
    try:
        call()
    except error:
        return
    except Exception as other:
        raise EnvError(f"{what} must raise {error.__name__}; it raised {type(other).__name__}: {other}") from other
    raise EnvError(f"{what} must raise {error.__name__}; it was accepted")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise EnvError(message)


def _require_equal(found: Any, expected: Any, what: str) -> None:
    if isinstance(found, list) and isinstance(expected, list):
        for t, (one, other) in enumerate(zip(found, expected, strict=False)):
            _require(_same(one, other), f"{what} must give the same bits; they differ at step {t + 1}")
        _require(
            len(found) == len(expected), f"{what} must end where it did; {len(expected)} steps became {len(found)}"
        )
    else:
        _require(_same(found, expected), f"{what} must give the same bits; they differ")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return data_equivalence(dict(one), dict(other), exact=True)
    return data_equivalence(one, other, exact=True)
