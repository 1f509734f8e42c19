"""What a suite records and asks: worlds, scenarios, splits, numbers of clips. A plan is data and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from worldsim.errors import EnvError

__all__ = ["SUITES", "Plan", "full", "quick"]

SUITES = ("lab", "city", "tabletop")
"""Worlds that have a suite."""
_ENVS = {"lab": "worldsim/Lab-v0", "city": "worldsim/City-v0", "tabletop": "worldsim/Tabletop-v0"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A suite's size."""

    suite: str
    size: str
    """``quick``, ``full`` or another word."""
    env_id: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    scenarios: tuple[str, ...] | None = None
    """None takes all that the world names; a world that names none has one, called after the suite."""
    clips: Mapping[str, int] = field(default_factory=lambda: {"train": 2})
    """Test clips per scenario and split; ``train`` is in range, under test seeds."""
    horizon: int = 32
    """Steps to imagine."""
    context: int = 16
    """Frames of context in every clip; a model looks at as many of the last as it wants."""
    seeds: int = 3
    """Noise samples per clip, of a model that draws noise."""
    training_clips: int = 8
    """Clips under training seeds among which the nearest is looked for, per scenario."""
    corrupted: int = 1
    """Clips per scenario into which corruptions are planted."""
    sweeps: int = 2
    """Starts per probe of control."""
    ensembles: int = 1
    """Clips per chaotic scenario."""
    members: int = 8
    """Samples, and truths, of an ensemble."""
    gravity_pairs: int = 1
    """Per scenario in which gravity is asked for."""
    fact_seeds: int = 1
    """Starts per pair of texts."""


def quick(suite: str) -> Plan:
    """Return a plan of some minutes.

    Raises:
        EnvError: If there is no such suite.
    """
    if suite not in SUITES:
        raise EnvError(f"the suite must be one of {', '.join(SUITES)}; got {suite!r}")
    if suite == "lab":
        return Plan(
            suite=suite,
            size="quick",
            env_id=_ENVS[suite],
            clips={"train": 2, "high": 1},
            horizon=24,
            training_clips=4,
            corrupted=0,
            sweeps=1,
        )
    return Plan(
        suite=suite,
        size="quick",
        env_id=_ENVS[suite],
        clips={"train": 6},
        horizon=24,
        training_clips=16,
        corrupted=2,
        ensembles=0,
        gravity_pairs=0,
        fact_seeds=0,
    )


def full(suite: str) -> Plan:
    """Return a plan for figures to publish."""
    plan = quick(suite)
    if suite == "lab":
        clips = {"train": 4, "low": 2, "high": 2, "combination": 2}
        return replace(
            plan,
            size="full",
            clips=clips,
            horizon=32,
            training_clips=12,
            corrupted=1,
            sweeps=4,
            ensembles=2,
            gravity_pairs=4,
            fact_seeds=4,
        )
    return replace(plan, size="full", clips={"train": 32}, training_clips=64, corrupted=8, sweeps=8)
