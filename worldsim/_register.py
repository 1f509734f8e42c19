"""Gymnasium ids as data: a truth, and the dream of it with the same spaces."""

from __future__ import annotations

import gymnasium as gym

TRUTHS = {
    # id: (entry point, max_episode_steps)
    "worldsim/City-v0": ("worldsim_envs.city:CityEnv", 1000),
    "worldsim/Lab-v0": ("worldsim_envs.lab:LabEnv", 96),
}
DREAMS = {
    # id: (bundled model, truth id)
    "worldsim/CityDream-v0": ("city-64", "worldsim/City-v0"),
}


def register_envs() -> None:
    """Register every id of worldsim once; entry points are strings, so nothing heavy is imported."""
    for env_id, (entry_point, max_steps) in TRUTHS.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point=entry_point, max_episode_steps=max_steps)
    for env_id, kwargs in {
        **{env_id: {"model": model, "env_id": truth} for env_id, (model, truth) in DREAMS.items()},
        "worldsim/Dream-v0": {},
    }.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point="worldsim.sim:WorldModelEnv",
                vector_entry_point="worldsim.sim:WorldModelVectorEnv",
                kwargs=kwargs,
            )
