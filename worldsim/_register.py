"""Gymnasium ids as data: a truth, and the dream and the hybrid of it with the same spaces."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

_CITY = "worldsim_envs.city:CityEnv"
_TABLETOP = "worldsim_envs.tabletop:TabletopEnv"
TRUTHS: dict[str, tuple[str, int, dict[str, Any]]] = {
    # id: (entry point, max_episode_steps, arguments)
    "worldsim/City-v0": (_CITY, 1000, {}),
    "worldsim/CityLaneFollow-v0": (_CITY, 400, {"task": "lane_follow"}),
    "worldsim/CityRoute-v0": (_CITY, 800, {"task": "route"}),
    "worldsim/Lab-v0": ("worldsim_envs.lab:LabEnv", 96, {}),
    "worldsim/Tabletop-v0": (_TABLETOP, 100, {}),
    "worldsim/TabletopReach-v0": (_TABLETOP, 100, {"task": "reach"}),
    "worldsim/TabletopPush-v0": (_TABLETOP, 100, {"task": "push"}),
    "worldsim/TabletopStack-v0": (_TABLETOP, 100, {"task": "stack"}),
}
DREAMS = {
    # id: (model by default, truth id); a name that is not bundled has to be given, as model=...
    "worldsim/CityDream-v0": ("city-64", "worldsim/City-v0"),
    "worldsim/LabDream-v0": ("lab-64", "worldsim/Lab-v0"),
    "worldsim/TabletopDream-v0": ("tabletop-64", "worldsim/Tabletop-v0"),
}
HYBRIDS = {
    # id: (renderer by default, truth id)
    "worldsim/CityHybrid-v0": ("city-render-64", "worldsim/City-v0"),
}


def register_envs() -> None:
    """Register every id of worldsim once; entry points are strings, so nothing heavy is imported."""
    for env_id, (entry_point, max_steps, arguments) in TRUTHS.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point=entry_point, max_episode_steps=max_steps, kwargs=arguments)
    for env_id, kwargs in {
        **{env_id: {"model": model, "env_id": truth} for env_id, (model, truth) in DREAMS.items()},
        "worldsim/Dream-v0": {},
    }.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point="worldsim.sim:make_dream",
                vector_entry_point="worldsim.sim:WorldModelVectorEnv",
                kwargs=kwargs,
            )
    for env_id, (model, truth) in HYBRIDS.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point="worldsim.sim:HybridEnv", kwargs={"model": model, "env_id": truth})
