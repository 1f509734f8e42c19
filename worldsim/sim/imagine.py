"""Let policies act in an imagined world, many streams at once, and keep what happened as rollouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from worldsim.errors import EnvError
from worldsim.rollout import Policy, Rollout
from worldsim.sim.vector_env import WorldModelVectorEnv

__all__ = ["imagine", "info_of"]


def imagine(
    model: Any,
    make_policy: Callable[[int], Policy],
    num_rollouts: int | None = None,
    *,
    starts: Sequence[Any] | None = None,
    prompt: str | None = None,
    horizon: int = 64,
    seed: int = 0,
    policy: str = "",
    sampler_steps: int | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> list[Rollout]:
    """Imagine one rollout per stream, all in one batch, until the model ends it or the horizon is reached.

    Args:
        model: Name of a bundled model, path of a checkpoint, or a loaded model.
        make_policy: ``make(seed) -> policy(obs, info) -> action``; stream i acts by ``make(seed + i)``.
        num_rollouts: Number of streams; as many as there are starts if None.
        starts: One start per stream, of any kind that reset takes; None draws from the checkpoint's.
        prompt: What all streams are asked to show.
        horizon: Most steps of a rollout.
        seed: Stream i has seed ``seed + i``.
        policy: Name that the rollouts give to the policy.
        sampler_steps: Denoiser calls per frame; None takes the checkpoint's.
        device, threads: As in `WorldModelVectorEnv`.

    Returns:
        Rollouts with ``source="imagined"``; their ``variation`` holds the start and the prompt.

    Raises:
        EnvError: If there is neither a number nor starts, or they differ.
    """
    num = num_rollouts if num_rollouts is not None else len(starts or ())
    if num < 1 or (starts is not None and len(starts) != num):
        raise EnvError(
            f"imagine needs num_rollouts or as many starts; got {num_rollouts} and {len(starts or ())} starts"
        )
    envs = WorldModelVectorEnv(num, model, horizon=horizon, sampler_steps=sampler_steps, device=device, threads=threads)
    options = {"prompt": prompt} | ({} if starts is None else {"start": list(starts)})
    obs, infos = envs.reset(seed=seed, options=options)
    policies = [make_policy(seed + i) for i in range(num)]
    begun = [info_of(infos, i) for i in range(num)]
    frames, actions, rewards, ends = [obs], [], [], []
    alive = np.ones(num, np.bool_)
    lengths = np.zeros(num, np.int64)
    while alive.any():
        chosen = np.stack([policies[i](obs[i], info_of(infos, i)) for i in range(num)])  # (N, *A)
        obs, reward, terminated, truncated, infos = envs.step(chosen)
        frames.append(obs)
        actions.append(chosen)
        rewards.append(reward)
        ends.append((terminated, truncated))
        lengths += alive  # a stream that has ended goes on from a new start, which is nobody's rollout
        alive &= ~(terminated | truncated)
    spec = envs.model.spec
    return [
        Rollout(
            obs=np.stack([batch[i] for batch in frames[: length + 1]]),
            action=np.stack([batch[i] for batch in actions[:length]]),
            reward=np.array([batch[i] for batch in rewards[:length]], np.float32),
            terminated=np.array([end[0][i] for end in ends[:length]]),
            truncated=np.array([end[1][i] for end in ends[:length]]),
            env_id=spec.env_id,
            spec=dict(spec.env_kwargs),
            control_dt=spec.control_dt,
            action_spec=tuple(spec.action_spec),
            seed=seed + i,
            policy=policy,
            variation={"start": begun[i]["start"], "prompt": begun[i]["prompt"]},
            source="imagined",
            model=envs.model.name,
        )
        for i, length in enumerate(lengths.tolist())
    ]


def info_of(infos: Mapping[str, Any], i: int) -> dict[str, Any]:
    """Return the ``info`` of stream ``i`` from those of a vector env, without the keys that its mask leaves out."""
    info: dict[str, Any] = {}
    for key, value in infos.items():
        mask = infos.get(f"_{key}")
        if mask is None or not mask[i]:
            continue
        info[key] = info_of(value, i) if isinstance(value, Mapping) else value[i]
    return info
