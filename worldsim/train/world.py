"""The world that a store was collected in, asked of the env itself."""

from __future__ import annotations

import gymnasium as gym

from worldsim.collect import env_fingerprint
from worldsim.errors import StoreError
from worldsim.model import ModelSpec, spec_of
from worldsim.rollout import control_dt_of
from worldsim.store import RolloutStore

__all__ = ["world_of"]


def world_of(store: RolloutStore) -> tuple[ModelSpec, str | None]:
    """Return the spec of the world that a store was collected in, and its fingerprint.

    Raises:
        StoreError: If that world cannot be made here.
    """
    info = store.info(0)
    kwargs = dict(info.spec)
    try:
        env = gym.make(info.env_id, disable_env_checker=True, **kwargs)
    except (gym.error.Error, ImportError, TypeError) as error:
        raise StoreError(
            f"the store's world {info.env_id!r} cannot be made here ({error}); install or import the package that "
            "registers it, in the version that the store was collected with"
        ) from None
    try:
        spec = spec_of(
            env,
            height=store.height,
            width=store.width,
            control_dt=control_dt_of(env),
            action_spec=tuple(getattr(env.unwrapped, "action_spec", ())),
            env_id=info.env_id,
            env_kwargs=kwargs,
            max_steps=(env.spec.max_episode_steps if env.spec else None) or 1000,
        )
    finally:
        env.close()
    return spec, env_fingerprint(info.env_id, kwargs)
