"""Laws fitted to positions over time: gravity, restitution, period, accelerations, and when two things met.

Every function takes times and positions with gaps (NaN where nothing was seen) and returns None where the positions do
not determine the law. The same function reads the truth's positions and the model's; nothing here knows which it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import pi

import numpy as np

__all__ = [
    "Bounce",
    "Flight",
    "Swing",
    "acceleration",
    "bounces",
    "circle_centre",
    "fit_flight",
    "flight_arcs",
    "meeting_time",
    "period",
    "smooth",
]

MIN_ARC = 4
"""Frames of an arc that is fitted."""
_LIFT = 0.04  # m above the ground from which a frame counts as in flight
_KINK = 0.6  # of g dt^2: an upward second difference that only a contact makes
_WINDOW = 2  # frames to either side of a local fit


@dataclass(frozen=True)
class Flight:
    """One gravity fitted to several arcs, each with a place and a speed of its own."""

    g: float
    """m/s2."""
    error: float
    """Standard error of g from the residuals, m/s2."""
    per_metre: float
    """Standard error of g for positions that are wrong by 1 m: what the arcs' lengths determine."""
    r2: float
    """Share of the height's variance within arcs that the parabolas explain."""
    arcs: tuple[tuple[int, int], ...]
    """First and last frame of each."""
    start: tuple[tuple[float, float], ...]
    """Height in metres and speed upwards in m/s at each arc's first frame."""

    def height(self, arc: int, t: np.ndarray) -> np.ndarray:
        """Return the height on an arc, t seconds after its first frame."""
        z, v = self.start[arc]
        return z + v * t - self.g * t**2 / 2


@dataclass(frozen=True)
class Bounce:
    """A contact between two arcs."""

    time_s: float
    before: float
    """Speed upwards just before, m/s; negative."""
    after: float

    @property
    def restitution(self) -> float:
        """Speed after over speed before."""
        return -self.after / self.before


@dataclass(frozen=True)
class Swing:
    """A sinusoid fitted to an angle."""

    period_s: float
    amplitude: float
    """rad."""
    phase: float
    residual: float
    """rad, root mean square."""

    def angle(self, t: np.ndarray) -> np.ndarray:
        """Return the angle at times t, rad."""
        return self.amplitude * np.cos(2 * pi * t / self.period_s + self.phase)


def smooth(positions: np.ndarray, dt: float, window: int = _WINDOW) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and velocities from a parabola through each frame and its neighbours (Savitzky and Golay 1964).

    Args:
        positions: (F, ...) metres, NaN where unknown.
        dt: Seconds per frame.
        window: Frames to either side; at the ends as many, all on one side.

    Returns:
        Positions and velocities like ``positions``; NaN where a frame is unknown itself or has fewer than two
        neighbours. Three points or fewer make a line.
    """
    flat = positions.reshape(len(positions), -1)
    place, speed = np.full(flat.shape, np.nan), np.full(flat.shape, np.nan)
    for i in range(len(flat)):
        first = max(0, min(i - window, len(flat) - 2 * window - 1))
        near = np.arange(first, min(len(flat), first + 2 * window + 1))
        is_known = np.isfinite(flat[near])  # (2 window + 1, columns)
        for c in np.flatnonzero(np.isfinite(flat[i]) & (is_known.sum(axis=0) > 2)):
            known = near[is_known[:, c]]
            place[i, c], speed[i, c] = _line_weights(*(known - i).tolist()) @ flat[known, c] / (1.0, dt)
    return place.reshape(positions.shape), speed.reshape(positions.shape)


@cache
def _line_weights(*frames: int) -> np.ndarray:
    """Return weights (2, n) that make value and slope at frame 0 of n values at some frames, by least squares."""
    powers = np.vander(frames, 3 if len(frames) > 3 else 2, increasing=True).astype(float)
    return np.linalg.pinv(powers)[:2]


def flight_arcs(height: np.ndarray, ground: float, g: float, dt: float) -> list[tuple[int, int]]:
    """Return first and last frames of the stretches in which a body is in the air.

    A stretch ends where the height is unknown or near the ground, and where, within a frame's reach of the ground, the
    second difference points upwards, which only a contact can do.

    Args:
        height: (F,) metres of the body's centre, NaN where unknown.
        ground: Height of its centre when it lies on the ground, metres.
        g: Rough gravity, m/s2, that says how large a kink is.
        dt: Seconds per frame.
    """
    airborne = np.isfinite(height) & (np.nan_to_num(height) > ground + _LIFT)
    down, up = height[1:-1] - height[:-2], height[2:] - height[1:-1]  # m in the frame before and after
    reaches = height[1:-1] - ground < 1.3 * np.maximum(np.abs(down), np.abs(up)) + _LIFT
    kinked = np.zeros(len(height), bool)
    kinked[1:-1] = (up - down > _KINK * g * dt**2) & reaches  # NaN is false
    cut_after = np.zeros(len(height), bool)  # an arc ends with this frame
    for i in np.flatnonzero(kinked):
        if kinked[i + 1]:
            cut_after[i] = True  # the contact lies between i and i + 1
        elif not kinked[i - 1]:
            airborne[i] = False  # the contact is at i
    arcs, first = [], None
    for i in range(len(height)):
        if airborne[i] and first is None:
            first = i
        if first is not None and (cut_after[i] or i + 1 == len(height) or not airborne[i + 1]):
            if i - first + 1 >= MIN_ARC:
                arcs.append((first, i))
            first = None
        if not airborne[i]:
            first = None
    return arcs


def fit_flight(height: np.ndarray, arcs: Sequence[tuple[int, int]], dt: float) -> Flight | None:
    """Fit one gravity to all arcs of a height (F,) in metres; None with fewer than 6 frames in all."""
    frames = [np.arange(first, last + 1) for first, last in arcs]
    total = sum(map(len, frames))
    if total < 6:
        return None
    matrix, target = np.zeros((total, 2 * len(arcs) + 1)), np.concatenate([height[f] for f in frames])
    row = 0
    for k, f in enumerate(frames):
        t = (f - f[0]) * dt
        rows = slice(row, row + len(f))
        matrix[rows, 2 * k], matrix[rows, 2 * k + 1], matrix[rows, -1] = 1.0, t, -(t**2) / 2
        row += len(f)
    weight = np.ones(total)
    solution = np.zeros(matrix.shape[1])
    for _ in range(3):  # residuals beyond two of their median size count less (Huber 1964)
        solution = np.linalg.lstsq(matrix * weight[:, None], target * weight, rcond=None)[0]
        residual = np.abs(target - matrix @ solution)
        weight = np.sqrt(np.minimum(1.0, 3 * max(float(np.median(residual)), 1e-4) / np.maximum(residual, 1e-9)))
    spare = total - matrix.shape[1]
    if spare < 1:
        return None
    inverse = np.linalg.pinv(matrix.T @ matrix)
    per_metre = float(np.sqrt(inverse[-1, -1]))
    squares = float(((target - matrix @ solution) ** 2).sum())
    around = sum(float(((height[f] - height[f].mean()) ** 2).sum()) for f in frames)
    return Flight(
        g=float(solution[-1]),
        error=per_metre * (squares / spare) ** 0.5,
        per_metre=per_metre,
        r2=1 - squares / max(around, 1e-12),
        arcs=tuple(arcs),
        start=tuple((float(solution[2 * k]), float(solution[2 * k + 1])) for k in range(len(arcs))),
    )


def bounces(flight: Flight, dt: float) -> list[Bounce]:
    """Return the contacts between neighbouring arcs: where their parabolas meet."""
    found = []
    for k, ((_, last), (first, _)) in enumerate(zip(flight.arcs, flight.arcs[1:], strict=False)):
        if first - last > 3:
            continue  # it lay still, or was not seen
        (z0, v0), (z1, v1) = flight.start[k], flight.start[k + 1]
        begun = flight.arcs[k][0]
        delay = (first - begun) * dt
        # z0 + v0 t - g t^2 / 2 = z1 + v1 (t - delay) - g (t - delay)^2 / 2 is linear in t
        slope = v0 - v1 - flight.g * delay
        if abs(slope) < 1e-9:
            continue
        t = (z1 - v1 * delay - flight.g * delay**2 / 2 - z0) / slope
        t = float(np.clip(t, (last - begun) * dt - dt, delay + dt))
        before, after = v0 - flight.g * t, v1 - flight.g * (t - delay)
        if before < 0 < after:
            found.append(Bounce(begun * dt + t, before, after))
    return found


def acceleration(t: np.ndarray, x: np.ndarray) -> float | None:
    """Return the constant acceleration of positions x (F,) at times t, m/s2; None with fewer than 5 known ones."""
    known = np.isfinite(x)
    if known.sum() < 5:
        return None
    return float(2 * np.polynomial.polynomial.polyfit(t[known] - t[known].mean(), x[known], 2)[2])


def period(t: np.ndarray, angle: np.ndarray, guess_s: float) -> Swing | None:
    """Fit a sinusoid around 0 to an angle (F,) in rad, with periods from a third to three times a guess.

    None with fewer than 8 known angles.
    """
    known = np.isfinite(angle)
    if known.sum() < 8:
        return None
    time, value = t[known], angle[known]

    def squares(candidate: float) -> tuple[float, np.ndarray]:
        w = 2 * pi * time / candidate
        basis = np.stack([np.cos(w), np.sin(w)], axis=1)
        solution = np.linalg.lstsq(basis, value, rcond=None)[0]
        return float(((value - basis @ solution) ** 2).sum()), solution

    candidates = guess_s * np.geomspace(1 / 3, 3, 81)
    errors = [squares(candidate)[0] for candidate in candidates]
    best = int(np.argmin(errors))
    low, high = candidates[max(best - 1, 0)], candidates[min(best + 1, len(candidates) - 1)]
    for _ in range(40):  # golden section
        a, b = high - (high - low) * 0.618034, low + (high - low) * 0.618034
        low, high = (low, b) if squares(a)[0] < squares(b)[0] else (a, high)
    found = (low + high) / 2
    error, (c, s) = squares(found)
    return Swing(found, float(np.hypot(c, s)), float(np.arctan2(-s, c)), (error / known.sum()) ** 0.5)


def circle_centre(points: np.ndarray) -> np.ndarray:
    """Return the centre (2,) of the circle through points (N, 2), by least squares (Kasa 1976)."""
    matrix = np.column_stack([2 * points, np.ones(len(points))])
    return np.linalg.lstsq(matrix, (points**2).sum(axis=1), rcond=None)[0][:2]


def meeting_time(t: np.ndarray, gap: np.ndarray) -> float | None:
    """Return when a gap (F,) that closes and opens was smallest: where the lines before and after meet; s.

    None if it is unknown around its least value, or still closing at an end.
    """
    known = np.flatnonzero(np.isfinite(gap))
    if len(known) < 5:
        return None
    least = known[np.argmin(gap[known])]
    before, after = known[(known < least) & (known >= least - 3)], known[(known > least) & (known <= least + 3)]
    if len(before) < 2 or len(after) < 2:
        return None
    down, up = np.polyfit(t[before], gap[before], 1), np.polyfit(t[after], gap[after], 1)
    if down[0] >= 0 or up[0] - down[0] < 1e-6:
        return None
    return float(np.clip((down[1] - up[1]) / (up[0] - down[0]), t[before[-1]], t[after[0]]))
