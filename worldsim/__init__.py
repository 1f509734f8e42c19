"""worldsim: a video diffusion model as a world that people and agents can act in.

``import worldsim`` is cheap: names resolve when they are first used and environment ids are registered as strings,
so that torch, zarr and pybullet are not loaded before they are needed.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from worldsim import errors
from worldsim._register import register_envs

try:
    __version__ = metadata.version("worldsim-sdk")
except metadata.PackageNotFoundError:  # running from a source tree that was not installed
    __version__ = "0.0.0"

if TYPE_CHECKING:
    from worldsim.evaluate import compare
    from worldsim.model import WorldModel, WorldState, load
    from worldsim.rollout import Rollout
    from worldsim.store import RolloutStore

_LAZY = {
    "Rollout": "worldsim.rollout",
    "RolloutStore": "worldsim.store",
    "WorldModel": "worldsim.model",
    "WorldState": "worldsim.model",
    "compare": "worldsim.evaluate",
    "load": "worldsim.model",
}

__all__ = ["Rollout", "RolloutStore", "WorldModel", "WorldState", "compare", "errors", "load"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'worldsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])


register_envs()
