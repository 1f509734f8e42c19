"""The result of a comparison: figures as JSON values, both rollouts of every clip, and one HTML page of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worldsim.rollout import Rollout

__all__ = ["TABLE_STEPS", "Pair", "Report"]

TABLE_STEPS = (1, 4, 8, 16, 32, 64)
"""Steps that tables and contact sheets show."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One clip as it was and as the model imagined it; same length, same actions, same frame 0."""

    truth: Rollout
    imagined: Rollout


@dataclass(frozen=True, kw_only=True)
class Report:
    """Figures and rollouts of one comparison."""

    json: Mapping[str, Any]
    """The figures as JSON values; lists have one entry per step and index 0 is step 1."""
    rollouts: tuple[Pair, ...]
    """Both rollouts of every clip; frame 0 is the last context frame."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """The model's data card."""
