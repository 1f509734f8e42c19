"""The metrics of the state by name, and the sheet on which one clip is scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from worldsim.evaluate.physics.clip import Clip
from worldsim.evaluate.physics.extract import Tracks

__all__ = ["FAR", "FAST", "HORIZONS_S", "LATE", "METRICS", "Drawn", "Metric", "Score", "Sheet"]

HORIZONS_S = (0.25, 0.5, 1.0, 1.6)
FAR = 5.0  # m, about the diagonal of the bench as it is seen
FAST = 5.0  # m/s
LATE = 0.5  # s
Better = Literal["low", "high"]

METRICS: dict[str, tuple[str, Better, float, str]] = {
    "ade": ("m", "low", FAR, "mean distance of an object from its true place, over steps and objects"),
    "fde": ("m", "low", FAR, "the same at the last step at which the truth shows the object"),
    **{f"ade_{h:g}s": ("m", "low", FAR, f"mean distance over the first {h:g} s") for h in HORIZONS_S},
    "ade_px": ("px", "low", 400.0, "mean distance in the image"),
    "ade_diameters": ("diameters", "low", 10.0, "mean distance over the object's size"),
    "velocity_error": (
        "m/s",
        "low",
        FAST,
        "mean velocity over the horizon, distance from the true one (as PhyWorld)",
    ),
    "velocity_rmse": ("m/s", "low", FAST, "velocity at each step, both from parabolas over 5 frames"),
    "gravity_error": ("", "low", 1.0, "fitted gravity, relative error"),
    "lateral_acceleration": ("", "low", 1.0, "sideways acceleration in flight over gravity; 0 is true"),
    "restitution_error": ("", "low", 1.0, "speed after over speed before a bounce, difference from the true one"),
    "acceleration_error": ("m/s2", "low", 10.0, "acceleration along a slope, difference from the true one"),
    "friction_error": (
        "",
        "low",
        1.0,
        "friction of a box that slides, drag of a ball that rolls, by its acceleration",
    ),
    "period_error": ("", "low", 1.0, "period of a pendulum, relative error"),
    "length_error": ("", "low", 1.0, "length of a rod that cannot stretch, mean relative error"),
    "momentum_residual": ("", "low", 1.0, "sum of m v, distance from the simulator's over the sum of m |v|"),
    "energy_residual": ("", "low", 1.0, "m v^2 / 2 + m g z, distance from the simulator's over the energy at stake"),
    "contact_time_error": ("s", "low", LATE, "when two things meet"),
    "penetration": ("diameters", "low", 1.0, "deepest overlap of two things beyond the truth's"),
    "tunnelling": ("", "low", 1.0, "1 if something is beyond or inside a closed wall"),
    "permanence": ("", "high", 0.0, "share of steps at which an object that should be seen is not gone"),
    "reappearance": ("", "high", 0.0, "1 if what was hidden comes out again"),
    "reappearance_time_error": ("s", "low", LATE, "when it comes out"),
    "reappearance_place_error": ("m", "low", FAR, "where it is just after the truth comes out"),
    "count_error": ("objects", "low", 10.0, "difference in the number of objects seen, mean over steps"),
    "identity": ("", "high", 0.0, "share of steps at which an object is there in its own colour"),
    "ghosts": ("objects", "low", 10.0, "blobs that belong to no object, mean over steps"),
    "event_agreement": ("", "high", 0.0, "share of what happens and what does not that agrees"),
    "rigidity": ("", "low", 1.0, "change of the size of what cannot change, mean |log| against the true one"),
    "order_tau": ("", "high", -1.0, "Kendall's tau of the order in which dominoes fall"),
    "task_agreement": ("", "high", 0.0, "1 if the goal is reached in both or in neither"),
}
"""Unit, better end, worst value, meaning."""


@dataclass(frozen=True)
class Metric:
    """One number about one clip."""

    value: float
    """Finite, no worse than ``worst``."""
    unit: str
    better: Better
    worst: float
    failed: bool = False
    """The value is the worst one, or counts steps with it, because something is not there."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A law that was fitted to what a model shows, to be drawn over its frames."""

    body: str
    law: str
    t_s: np.ndarray
    """(n,) seconds since the clip's first frame."""
    px: np.ndarray
    """(n, 2) pixels."""
    label: str
    """What was found and what is true."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Everything that the state says about one continuation of a clip."""

    metrics: dict[str, Metric]
    curves: dict[str, np.ndarray]
    """(T,) each, index 0 is step 1; NaN where the truth shows no object."""
    events: dict[str, tuple[bool, bool]]
    """Event to whether it happens in the truth and in the model."""
    fits: tuple[Drawn, ...] = ()


@dataclass(kw_only=True)
class Sheet:
    """One clip while it is scored."""

    clip: Clip
    model: Tracks
    truth: Tracks
    metrics: dict[str, Metric] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    events: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    fits: list[Drawn] = field(default_factory=list)

    @property
    def after(self) -> slice:
        """The frames behind the context."""
        return slice(self.clip.num_context, len(self.clip))

    @property
    def times(self) -> np.ndarray:
        """Seconds since the clip's first frame of every frame, (F,)."""
        return np.arange(len(self.clip)) * self.clip.dt

    @property
    def both(self) -> tuple[np.ndarray, np.ndarray]:
        """Places after the context, of the model and of the truth, (T, N, 3) metres."""
        return self.model.world[self.after], self.truth.world[self.after]

    def put(self, name: str, value: float | None, *, failed: bool = False) -> None:
        """Keep a metric; None is the worst value."""
        unit, better, worst, _ = METRICS[name]
        if value is None or not np.isfinite(value):
            value, failed = worst, True
        value = min(value, worst) if better == "low" else max(value, worst)
        self.metrics[name] = Metric(float(value), unit, better, worst, failed)
