"""The laws of a scenario, fitted to what a model shows and held against the truth's own fits.

A law is asked for only where the truth's positions determine it: a parabola of five frames cannot tell a gravity.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from worldsim.evaluate.physics import laws
from worldsim.evaluate.physics.clip import Clip
from worldsim.evaluate.physics.geometry import project
from worldsim.evaluate.physics.sheet import LATE, Drawn, Sheet

__all__ = ["score_laws"]

_EYE = 0.005  # m by which a place may be wrong, a tenth of a pixel
_DECIDED = 0.06  # of gravity, within which such places must leave it
_FREE = 10  # frames of undisturbed rolling, in which such places leave a drag to within 0.02


def score_laws(sheet: Sheet) -> None:
    """Fit what the scenario has: gravity, bounces, slopes, swings, and when things meet."""
    fits: dict[str, Callable[[Sheet], None]] = {
        "free_fall": _flight,
        "two_drops": _flight,
        "projectile": _flight,
        "support_removal": _flight,
        "ramp": _slope,
        "rolling": _floor,
        "occlusion": _floor,
        "solid_wall": _floor,
        "pendulum": _pendulum,
        "double_pendulum": _rods,
    }
    if sheet.clip.scenario in fits:
        fits[sheet.clip.scenario](sheet)
    _meetings(sheet)


def _flight(sheet: Sheet) -> None:
    """Gravity, sideways acceleration and restitution of what flies and bounces."""
    clip, first = sheet.clip, sheet.clip.num_context
    g = float(clip.gravity[first:].mean())
    if np.ptp(clip.gravity[first:]) > 0.01 * g:
        return
    gravity, sideways, rebound, met = [], [], [], []
    for k, body in enumerate(clip.objects):
        true_path, path = sheet.truth.world[first:, k].copy(), sheet.model.world[first:, k].copy()
        if clip.scenario == "support_removal":
            start = clip.state[body.name][first - 1, 2]
            _forget_before_fall(true_path, start)
            _forget_before_fall(path, start)
        true_fit = _fit(clip, true_path[:, 2], body.half[2], g)
        if true_fit is None:
            continue
        fit = _fit(clip, path[:, 2], body.half[2], g)
        if true_fit.per_metre * _EYE < _DECIDED * g and abs(true_fit.g - g) < 0.02 * g:
            gravity.append(min(abs(fit.g - g) / g, 1.0) if fit else 1.0)
            if clip.scenario == "projectile":
                drift = _fit_sideways(path[:, 0], fit, clip.dt) if fit and gravity[-1] < 1.0 else None
                sideways.append(min(abs(drift) / g, 1.0) if drift is not None else 1.0)
            if fit:
                sheet.fits += _drawn_flight(sheet, k, path, fit, g)
        if body.shape != "ball":
            continue
        whole = [arc for arc in true_fit.arcs if arc[1] - arc[0] >= laws.MIN_ARC]  # one frame more than is needed
        clear = laws.fit_flight(true_path[:, 2], whole, clip.dt)
        true_bounces = [b for b in laws.bounces(clear, clip.dt) if b.before < -0.8] if clear else []
        own = laws.bounces(fit, clip.dt) if fit else []
        for bounce in true_bounces:
            near = min(own, key=lambda b: abs(b.time_s - bounce.time_s), default=None)
            is_it = near is not None and abs(near.time_s - bounce.time_s) < LATE
            rebound.append(min(abs(near.restitution - bounce.restitution), 1.0) if near and is_it else 1.0)
            exact = _contact_near(clip, body.name, bounce.time_s + first * clip.dt)
            met.append(min(abs(near.time_s + first * clip.dt - exact), LATE) if near and is_it else LATE)
    for name, values, worst in (
        ("gravity_error", gravity, 1.0),
        ("lateral_acceleration", sideways, 1.0),
        ("restitution_error", rebound, 1.0),
        ("contact_time_error", met, LATE),
    ):
        if values:
            sheet.put(name, float(np.mean(values)), failed=worst in values)


def _forget_before_fall(path: np.ndarray, start: float) -> None:
    """Forget where a body (F, 3) was until it is 3 cm below a height in metres; in place."""
    fallen = np.flatnonzero(np.nan_to_num(path[:, 2], nan=np.inf) < start - 0.03)
    path[: fallen[0] if len(fallen) else len(path)] = np.nan


def _fit(clip: Clip, height: np.ndarray, ground: float, g: float) -> laws.Flight | None:
    return laws.fit_flight(height, laws.flight_arcs(height, ground, g, clip.dt), clip.dt)


def _fit_sideways(x: np.ndarray, fit: laws.Flight, dt: float) -> float | None:
    """Return the mean acceleration along x over the arcs, weighted by what their lengths determine."""
    values, weights = [], []
    for first, last in fit.arcs:
        found = laws.acceleration(np.arange(first, last + 1) * dt, x[first : last + 1])
        if found is not None:
            values.append(found)
            weights.append(float(last + 1 - first) ** 5)
    return float(np.average(values, weights=weights)) if values else None


def _contact_near(clip: Clip, name: str, time_s: float) -> float:
    """Return when the simulator says that a body began to touch anything, nearest to a time."""
    times = [c.time_s for c in clip.contacts if name in (c.first, c.second)]
    return min(times, key=lambda t: abs(t - time_s), default=time_s)


def _drawn_flight(sheet: Sheet, k: int, path: np.ndarray, fit: laws.Flight, g: float) -> list[Drawn]:
    clip, drawn = sheet.clip, []
    for arc, (first, last) in enumerate(fit.arcs):
        t = np.linspace(0, (last - first) * clip.dt, 4 * (last - first) + 1)
        places = np.stack([np.interp(t, np.arange(last + 1 - first) * clip.dt, path[first : last + 1, c])
                           for c in range(3)], axis=1)  # fmt: skip
        places[:, 2] = fit.height(arc, t)
        frame = clip.num_context + first
        drawn.append(
            Drawn(
                body=clip.objects[k].name,
                law="gravity",
                t_s=t + frame * clip.dt,
                px=project(places, clip.K, clip.c2w[frame]),
                label=f"g {fit.g:.2f} m/s2, true {g:.2f}",
            )
        )
    return drawn


def _slope(sheet: Sheet) -> None:
    """Acceleration down a ramp, and the friction of a box that slides."""
    clip, first = sheet.clip, sheet.clip.num_context
    body = clip.objects[0]
    slope = np.radians(float(clip.variation["slope"]))
    side = -1.0 if clip.variation.get("side") == "right" else 1.0
    down = np.array([side * np.cos(slope), 0.0, -np.sin(slope)])
    true = clip.state[body.name][first:, :3]
    on_ramp = sheet.truth.visible[first:, 0] & (true[:, 2] > body.radius + 0.12)
    if on_ramp.sum() < 8:
        return
    t = np.arange(len(true)) * clip.dt
    exact = laws.acceleration(t, np.where(on_ramp, true @ down, np.nan))
    found = laws.acceleration(t, np.where(on_ramp, sheet.model.world[first:, 0] @ down, np.nan))
    if exact is None:
        return
    sheet.put("acceleration_error", None if found is None else abs(found - exact))
    slides = float(np.ptp((true @ down)[on_ramp])) > 0.1
    if body.shape == "box" and slides:
        g = float(clip.gravity[first:].mean())
        sheet.put("friction_error", None if found is None else abs(found - exact) / (g * np.cos(slope)))


def _floor(sheet: Sheet) -> None:
    """What the floor takes from a ball that rolls on it, until it meets something else: nothing, in the truth.

    A ball that begins without spin slides for less than 0.3 s, which is over in the context.
    """
    clip, first = sheet.clip, sheet.clip.num_context
    name = clip.objects[0].name
    met = [c.time_s for c in clip.contacts if name in (c.first, c.second) and "floor" not in (c.first, c.second)]
    ends = min((t for t in met if t > (first - 1) * clip.dt), default=np.inf)
    true, model = sheet.truth.world[first:, 0, 0].copy(), sheet.model.world[first:, 0, 0].copy()
    late = sheet.times[first:] > ends - clip.dt
    true[late], model[late] = np.nan, np.nan
    if np.isfinite(true).sum() < _FREE:
        return
    t, g = np.arange(clip.horizon) * clip.dt, float(clip.gravity[first:].mean())
    exact, found = laws.acceleration(t, true), laws.acceleration(t, np.where(np.isfinite(true), model, np.nan))
    sheet.put("friction_error", None if found is None or exact is None else abs(found - exact) / g)


def _pendulum(sheet: Sheet) -> None:
    clip, first = sheet.clip, sheet.clip.num_context
    pivot = _pivot(clip)
    length = float(clip.variation["length"])
    guess = 2 * np.pi * (length / float(clip.gravity[first:].mean())) ** 0.5
    t = np.arange(clip.horizon) * clip.dt
    model, true = (_angle(world[:, 0], pivot) for world in sheet.both)
    exact, found = laws.period(t, true, guess), laws.period(t, model, guess)
    if exact is not None and np.ptp(clip.gravity[first:]) < 0.01 * clip.gravity[-1]:
        failed = found is None or found.amplitude < 0.2 * exact.amplitude
        sheet.put("period_error", None if failed or found is None else abs(found.period_s / exact.period_s - 1))
        if found is not None:
            fine = np.linspace(0, t[-1], 4 * len(t))
            angle = found.angle(fine)
            places = pivot + length * np.stack([np.sin(angle), np.zeros_like(angle), -np.cos(angle)], axis=1)
            sheet.fits.append(
                Drawn(
                    body=clip.objects[0].name,
                    law="period",
                    t_s=fine + first * clip.dt,
                    px=project(places, clip.K, clip.c2w[first]),
                    label=f"period {found.period_s:.2f} s, true {exact.period_s:.2f} s",
                )
            )
    _rods(sheet)


def _rods(sheet: Sheet) -> None:
    """Lengths of rods that cannot stretch: from the hinge to the first ball, from ball to ball."""
    hinge = np.broadcast_to(_pivot(sheet.clip), (sheet.clip.horizon, 3))
    model, true = sheet.both
    wrong = []
    for k in range(true.shape[1]):
        before = (hinge, hinge) if k == 0 else (model[:, k - 1], true[:, k - 1])
        length = np.linalg.norm(model[:, k] - before[0], axis=1)
        exact = np.linalg.norm(true[:, k] - before[1], axis=1)
        shown = np.isfinite(exact)
        wrong.append(np.where(np.isfinite(length), np.abs(length / exact - 1), 1.0)[shown])
    every = np.minimum(np.concatenate(wrong), 1.0)
    if len(every):
        sheet.put("length_error", float(every.mean()), failed=bool((every == 1.0).any()))


def _pivot(clip: Clip) -> np.ndarray:
    """Return where a pendulum hangs, metres: the middle of the circle on which its first ball moves."""
    name = clip.objects[0].name
    rows = clip.fine.get(name, clip.state[name])[:, :3]
    x, z = laws.circle_centre(rows[:, [0, 2]])
    return np.array([x, rows[0, 1], z])


def _angle(path: np.ndarray, pivot: np.ndarray) -> np.ndarray:
    return np.arctan2(path[:, 0] - pivot[0], pivot[2] - path[:, 2])


def _meetings(sheet: Sheet) -> None:
    """When two balls, or a ball and a wall, meet."""
    clip, first = sheet.clip, sheet.clip.num_context
    pairs = {"collision_1d": ("a", "b"), "collision_2d": ("a", "b"), "solid_wall": ("a", "wall")}
    if clip.scenario not in pairs:
        return
    pair = pairs[clip.scenario]
    times = [c.time_s for c in clip.contacts if {c.first, c.second} == set(pair)]
    margin = 3 * clip.dt
    if not times or not (first - 1) * clip.dt + margin < times[0] < (len(clip) - 1) * clip.dt - margin:
        return
    # The last context frame is known to be before the meeting, so that it may serve as the first point of the fit.
    model = sheet.model.world[first - 1 :]
    if pair[1] == "wall":
        gap = np.abs(model[:, 0, 0] - clip.state["wall"][0, 0])
        touching = clip.bodies["wall"].half[0] + clip.objects[0].radius
    else:
        gap = np.linalg.norm(model[:, 0] - model[:, 1], axis=1)
        touching = clip.objects[0].radius + clip.objects[1].radius
    t = sheet.times[first - 1 :]
    found = laws.meeting_time(t, gap)
    apart = bool(np.isfinite(gap).any() and np.nanmin(gap) > 1.2 * touching)
    sheet.put("contact_time_error", None if found is None or apart else abs(found - times[0]))
