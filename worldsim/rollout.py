"""The words and contracts that every room shares: a rollout, an action's units, and what a truth can be asked for.

Time has one convention everywhere: ``action[t]`` takes ``obs[t]`` to ``obs[t + 1]`` and earns ``reward[t]``. A
rollout of T steps therefore holds T actions and T + 1 observations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from worldsim.errors import ActionError, EnvError

__all__ = [
    "STATE_DIM",
    "ActionDim",
    "Caption",
    "Event",
    "Policy",
    "Rollout",
    "Truth",
    "check_action",
    "control_dt_of",
]

STATE_DIM = 13
"""Length of a body's state row: position m (3), quaternion xyzw (4), velocity m/s (3), angular velocity rad/s (3)."""

Policy = Callable[[np.ndarray, Mapping[str, Any]], np.ndarray]
"""``policy(obs, info) -> action``."""


@dataclass(frozen=True, kw_only=True)
class ActionDim:
    """One dimension of a continuous action and what its ends mean."""

    name: str
    """What it moves, for example ``steer``."""
    unit: str
    """Unit of ``low`` and ``high``, for example ``rad``."""
    low: float
    """Physical value at -1."""
    high: float
    """Physical value at +1."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {"name": self.name, "unit": self.unit, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Caption:
    """A text that describes the rollout from step ``t`` on, in English and Chinese."""

    t: int
    en: str
    zh: str


@dataclass(frozen=True)
class Event:
    """Something that happened, seen in frame ``t`` for the first time."""

    t: int
    facts: Mapping[str, Any]
    """``name`` and what belongs to it, as JSON values; ``en`` and ``zh`` say it in words."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A recorded sequence of T steps, real or imagined.

    Raises:
        EnvError: If the arrays do not have T actions and T + 1 observations.
    """

    obs: np.ndarray
    """(T + 1, H, W, 3) uint8 RGB."""
    action: np.ndarray
    """(T, ...) in the units of the action space."""
    reward: np.ndarray
    """(T,) float32."""
    terminated: np.ndarray
    """(T,) bool."""
    truncated: np.ndarray
    """(T,) bool."""
    state: Mapping[str, np.ndarray] | None = None
    """Body name to (T + 1, 13) float32 in SI units (see STATE_DIM); NaN where the body does not exist."""
    caption: Sequence[Caption] = ()
    """What the rollout shows, each from its step on; the first at t = 0."""
    events: Sequence[Event] = ()
    """What happened, in order; beside the captions and never in their place."""
    env_id: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """Constructor arguments of the env, as JSON values."""
    control_dt: float = 0.1
    """Seconds per step."""
    action_spec: Sequence[ActionDim] = ()
    """Name and units per action dimension; empty where unknown."""
    seed: int | None = None
    policy: str = ""
    variation: Mapping[str, Any] = field(default_factory=dict)
    """Every random factor of the episode by name, as JSON values."""
    source: Literal["truth", "imagined"] = "truth"
    model: str | None = None
    """Name of the model that imagined it."""

    def __post_init__(self) -> None:
        num_steps = len(self.action)
        if self.obs.ndim != 4 or self.obs.shape[-1] != 3 or self.obs.dtype != np.uint8:
            raise EnvError(f"obs must be (T + 1, H, W, 3) uint8; got {self.obs.shape} {self.obs.dtype}")
        if len(self.obs) != num_steps + 1:
            raise EnvError(f"a rollout of {num_steps} actions needs {num_steps + 1} observations; got {len(self.obs)}")
        for name in ("reward", "terminated", "truncated"):
            if getattr(self, name).shape != (num_steps,):
                raise EnvError(f"{name} must have shape ({num_steps},); got {getattr(self, name).shape}")
        for body, rows in (self.state or {}).items():
            if rows.shape != (num_steps + 1, STATE_DIM):
                raise EnvError(f"state of {body!r} must be ({num_steps + 1}, {STATE_DIM}); got {rows.shape}")

    def __len__(self) -> int:
        """Return T, the number of steps."""
        return len(self.action)

    def caption_at(self, t: int) -> Caption | None:
        """Return the caption in force at step ``t``, or None if there is none."""
        current = None
        for caption in self.caption:
            if caption.t <= t:
                current = caption
        return current


@runtime_checkable
class Truth(Protocol):
    """What ``env.unwrapped`` of a true world offers; each part is asked for with ``getattr`` and may be missing.

    ``info`` of its reset and step carries ``state`` {body: {"pos" m, "quat" xyzw, "vel" m/s, "ang" rad/s}},
    ``events``, ``caption`` {"en", "zh"}, ``variation``, ``camera`` {"K" (3, 3), "c2w" (4, 4) OpenCV axes, metres},
    ``reward_terms``, ``cost`` and ``prompt_unknown``.
    """

    control_dt: float
    action_spec: Sequence[ActionDim]
    policies: Mapping[str, Callable[[int], Policy]]
    scene_card: Mapping[str, Any]

    def snapshot(self) -> Any:
        """Return everything that the next steps depend on, as a value that can be pickled."""
        ...

    def restore(self, snapshot: Any) -> None:
        """Continue from a snapshot, bit for bit."""
        ...

    def branch(self, n: int) -> list[Any]:
        """Return n independent envs that continue from the present moment."""
        ...

    def set_prompt(self, text: str) -> list[str]:
        """Change the world in mid-episode as a prompt says; returns the words that it cannot express."""
        ...

    def draw_prompt(self, rng: np.random.Generator) -> Mapping[str, str]:
        """Return a prompt, {"en", "zh"}, that the present moment can follow; data collection gives such prompts."""
        ...

    def export_scene(self, path: str) -> None:
        """Write the present scene as GLB."""
        ...


def control_dt_of(env: Any) -> float:
    """Return the seconds per step of a Gymnasium env: its ``control_dt``, else 1 / render_fps, else 0.1."""
    unwrapped = getattr(env, "unwrapped", env)
    dt = getattr(unwrapped, "control_dt", None)
    if dt:
        return float(dt)
    fps = (getattr(unwrapped, "metadata", None) or {}).get("render_fps")
    return 1.0 / float(fps) if fps else 0.1


def check_action(
    action: Any, low: np.ndarray, high: np.ndarray, names: Sequence[str] = (), *, batched: bool = True
) -> np.ndarray:
    """Return a continuous action as float32, clipped to the space against rounding only.

    Args:
        action: One action or a batch of them; its last axes must be those of ``low``.
        low, high: Bounds of the space.
        names: Names of the dimensions, for the message.
        batched: Whether a batch is allowed.

    Raises:
        ActionError: If the shape is wrong, a value is not finite, or lies more than 1e-6 outside.
    """
    label = f" ({', '.join(names)})" if names else ""
    want = f"action must be {low.shape}{label} float32 in [{low.min():g}, {high.max():g}]"
    try:
        array = np.asarray(action, dtype=np.float32)
    except (TypeError, ValueError):
        raise ActionError(f"{want}; got {action!r}") from None
    own = array.shape[array.ndim - low.ndim :] if batched and array.ndim >= low.ndim else array.shape
    if own != low.shape:
        raise ActionError(f"{want}; got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ActionError(f"{want}; got a value that is not finite: {np.array2string(array, threshold=8)}")
    if (array < low - 1e-6).any() or (array > high + 1e-6).any():
        raise ActionError(f"{want}; got {np.array2string(array, threshold=8)}; clip it first")
    return np.clip(array, low, high)
