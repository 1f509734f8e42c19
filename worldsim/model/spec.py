"""What a world model is a model of: frame size, action space, units, time.

This is the one place where actions are encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.errors import ActionError, EnvError
from worldsim.rollout import ActionDim, check_action

__all__ = ["ModelSpec", "encode_actions", "encode_factors", "spec_of"]

_SIZE_RANGE = (32, 256)  # pixels


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Spaces, units and time step of the world that a model imagines."""

    height: int
    width: int
    action_kind: str
    """``box``, ``discrete`` or ``multidiscrete``."""
    action_shape: tuple[int, ...] = ()
    action_low: tuple[float, ...] = ()
    """Flat lower bounds of a box."""
    action_high: tuple[float, ...] = ()
    action_counts: tuple[int, ...] = ()
    """Number of choices per discrete dimension."""
    action_start: int = 0
    """First value of a Discrete space."""
    action_spec: Sequence[ActionDim] = ()
    control_dt: float = 0.1
    """Seconds per step."""
    env_id: str = ""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_steps: int = 1000
    """Default horizon of an imagined episode."""
    factor_names: tuple[str, ...] = ()
    """Numeric factors of an episode that the model can be told, such as gravity."""
    factor_low: tuple[float, ...] = ()
    """Least value of each that training showed."""
    factor_high: tuple[float, ...] = ()

    @property
    def action_dim(self) -> int:
        """Length of an encoded action."""
        return len(self.action_low) if self.action_kind == "box" else sum(self.action_counts)

    def spaces(self) -> tuple[gym.spaces.Box, gym.Space]:
        """Return the observation and action space, equal to those of the truth."""
        observation = gym.spaces.Box(0, 255, (self.height, self.width, 3), np.uint8)
        if self.action_kind == "box":
            low = np.array(self.action_low, np.float32).reshape(self.action_shape)
            high = np.array(self.action_high, np.float32).reshape(self.action_shape)
            return observation, gym.spaces.Box(low, high, dtype=np.float32)
        if self.action_kind == "discrete":
            return observation, gym.spaces.Discrete(self.action_counts[0], start=self.action_start)
        return observation, gym.spaces.MultiDiscrete(list(self.action_counts))


def spec_of(env: gym.Env, *, height: int, width: int, control_dt: float, **fields: Any) -> ModelSpec:
    """Return the spec of an env's world.

    Raises:
        EnvError: If the frame size or the action space cannot be modelled.
    """
    low, high = _SIZE_RANGE
    if not (low <= height <= high and low <= width <= high):
        raise EnvError(f"frames must be {low} to {high} pixels high and wide; got {height}x{width}")
    space = env.action_space
    common = {"height": height, "width": width, "control_dt": control_dt, **fields}
    if isinstance(space, gym.spaces.Box):
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise EnvError(f"a Box action space needs finite bounds; got {space}; wrap it in RescaleAction")
        if not (space.low < space.high).all():
            raise EnvError(f"every dimension of a Box action space must have room between its bounds; got {space}")
        return ModelSpec(
            action_kind="box",
            action_shape=tuple(space.shape),
            action_low=tuple(map(float, space.low.ravel())),
            action_high=tuple(map(float, space.high.ravel())),
            **common,
        )
    if isinstance(space, gym.spaces.Discrete):
        return ModelSpec(action_kind="discrete", action_counts=(int(space.n),), action_start=int(space.start), **common)
    if isinstance(space, gym.spaces.MultiDiscrete) and space.nvec.ndim == 1 and not space.start.any():
        counts = tuple(map(int, space.nvec))
        return ModelSpec(action_kind="multidiscrete", action_shape=(len(counts),), action_counts=counts, **common)
    raise EnvError(f"the action space must be Box, Discrete or flat MultiDiscrete that counts from 0; got {space}")


def encode_actions(spec: ModelSpec, actions: np.ndarray, batch_ndim: int = 1) -> np.ndarray:
    """Return (..., action_dim) float32: a box scaled to [-1, 1], choices as one-hot numbers.

    Args:
        spec: Names the space.
        actions: Actions in the units of the action space, with ``batch_ndim`` leading axes.
        batch_ndim: Number of leading axes.

    Raises:
        ActionError: If an action is not in the space.
    """
    actions = np.asarray(actions)
    batch = actions.shape[:batch_ndim]
    if spec.action_kind == "box":
        low = np.array(spec.action_low, np.float32).reshape(spec.action_shape)
        high = np.array(spec.action_high, np.float32).reshape(spec.action_shape)
        values = check_action(actions, low, high, [dim.name for dim in spec.action_spec])
        if values.ndim != batch_ndim + low.ndim:
            raise ActionError(f"actions must have shape {(*batch, *spec.action_shape)}; got {values.shape}")
        return (2 * (values - low) / (high - low) - 1).reshape(*batch, spec.action_dim)
    counts = np.array(spec.action_counts)
    if actions.size and actions.size != np.prod(batch) * len(counts):
        raise ActionError(f"actions must have shape {(*batch, *spec.action_shape)}; got {actions.shape}")
    choice = actions.reshape(*batch, len(counts)) if actions.size else np.zeros((*batch, len(counts)), np.int64)
    if not np.issubdtype(choice.dtype, np.integer):
        raise ActionError(f"actions must be whole numbers; got {choice.dtype}")
    choice = choice - spec.action_start
    if (choice < 0).any() or (choice >= counts).any():
        raise ActionError(f"an action must choose from {spec.action_counts} values per dimension; got {actions!r}")
    return np.concatenate([np.eye(n, dtype=np.float32)[choice[..., i]] for i, n in enumerate(counts)], axis=-1)


def encode_factors(spec: ModelSpec, factors: Sequence[Mapping[str, Any] | None], *, strict: bool = False) -> np.ndarray:
    """Return (N, 2 K) float32: per factor of the model its value scaled to [-1, 1], and 1 where it is given.

    Args:
        spec: Names the factors.
        factors: Values by name per stream; a factor that is missing is not given.
        strict: Whether a factor that the model does not know is an error, or passed over as in a store's variation.

    Raises:
        EnvError: If a value is no finite number, or ``strict`` and a name is unknown.
    """
    encoded = np.zeros((len(factors), len(spec.factor_names), 2), np.float32)
    for row, values in zip(encoded, factors, strict=True):
        unknown = sorted(set(values or ()) - set(spec.factor_names))
        if strict and unknown:
            known = ", ".join(spec.factor_names) or "none"
            raise EnvError(f"the model knows no factor {', '.join(map(repr, unknown))}; it knows {known}")
        for i, (name, low, high) in enumerate(zip(spec.factor_names, spec.factor_low, spec.factor_high, strict=True)):
            value = (values or {}).get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
                raise EnvError(f"factor {name!r} must be a number, best between {low:g} and {high:g}; got {value!r}")
            row[i] = 2 * (float(value) - low) / (high - low) - 1, 1
    return encoded.reshape(len(factors), -1)
