"""How far a model's objects are from where the law puts them: metres, seconds, and the laws' own constants.

Every metric compares what was read from a model's frames with the simulator's state. Two rules hold for all:

- whether a metric is defined is asked of the truth alone, so that a model cannot avoid a question by failing it;
- an object that is not found has the worst value, is marked as failed, and stays in every mean.

True places are those that a perfect eye would read: the state through the camera, put back into the plane of motion.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import kendalltau

from worldsim.evaluate.physics import laws
from worldsim.evaluate.physics.clip import Body, Clip
from worldsim.evaluate.physics.events import events_of, fall_times, task_reached
from worldsim.evaluate.physics.extract import HIDDEN, MISSING, OUTSIDE, SEEN, SLIGHT, Tracks, reference_pixels
from worldsim.evaluate.physics.geometry import ball_to_world, depth_of, outline_radius, to_world
from worldsim.evaluate.physics.law_metrics import score_laws
from worldsim.evaluate.physics.outline import box_outline
from worldsim.evaluate.physics.sheet import FAR, FAST, HORIZONS_S, LATE, METRICS, Drawn, Metric, Score, Sheet

__all__ = ["METRICS", "Drawn", "Metric", "Score", "score_clip", "truth_tracks"]

_ENERGETIC = frozenset({
    "free_fall", "two_drops", "projectile", "rolling", "ramp", "collision_1d", "collision_2d", "pendulum",
    "double_pendulum", "solid_wall", "clutter", "support_removal",
})  # fmt: skip


# ---- the truth, as a perfect eye reads it


def truth_tracks(clip: Clip) -> Tracks:
    """Return the tracks that a perfect eye would read: the state through the camera, visibility from the masks.

    An object is seen where a share of SLIGHT of it is; without masks, wherever its state is known and in view.
    """
    bodies = clip.objects
    px = np.stack([reference_pixels(clip, body) for body in bodies], axis=1)  # (F, N, 2)
    size = np.full(px.shape[:2], np.nan)
    status = np.full(px.shape[:2], SEEN, np.uint8)
    area = np.zeros(px.shape[:2])
    world = np.full((*px.shape[:2], 3), np.nan)
    for k, body in enumerate(bodies):
        pos = clip.state[body.name][:, :3]
        point, normal = pos[clip.num_context - 1], np.array(clip.normal)
        if body.shape == "ball":
            world[:, k] = ball_to_world(px[:, k], body.radius, clip.K, clip.c2w, point, normal)
            full = np.pi * outline_radius(depth_of(pos, clip.c2w), body.radius, clip.K) ** 2
        else:
            world[:, k] = to_world(px[:, k], clip.K, clip.c2w, point, normal)
            full = _box_areas(clip, body)
        inside = ((px[:, k] >= 0) & (px[:, k] < [clip.width, clip.height])).all(axis=1)
        status[~inside, k] = OUTSIDE
        if clip.masks is not None:
            area[:, k] = clip.mask(body.name).sum(axis=(1, 2))
            status[inside & (area[:, k] < SLIGHT * full), k] = HIDDEN
            size[area[:, k] > 0.65 * full, k] = 1.0
        else:
            area[:, k] = full
        status[~np.isfinite(px[:, k, 0]), k] = MISSING
    hidden = status != SEEN
    px[hidden], world[hidden] = np.nan, np.nan
    return Tracks(
        names=tuple(body.name for body in bodies),
        px=px,
        world=world,
        status=status,
        area=area,
        size=size,
        swapped=np.zeros(px.shape[:2], bool),
        ghosts=np.zeros(len(clip), int),
        labels=np.zeros(clip.frames.shape[:3], np.uint8),
    )


def _box_areas(clip: Clip, body: Body) -> np.ndarray:
    """Return how many pixels a box covers when nothing hides it, (F,)."""
    rows = clip.state[body.name]
    turns = Rotation.from_quat(rows[:, 3:7]).as_matrix()
    outlines = [box_outline(rows[t, :3], turns[t], body.half, clip.K, clip.c2w[t]) for t in range(len(clip))]
    return np.array([outline.area if outline else np.nan for outline in outlines])


# ---- one clip


def score_clip(clip: Clip, tracks: Tracks, truth: Tracks | None = None) -> Score:
    """Score what was read from a continuation of a clip against the simulator.

    Args:
        clip: The truth.
        tracks: From `extract`, of the model's frames behind the true context.
        truth: From `truth_tracks`, if it is at hand.
    """
    sheet = Sheet(clip=clip, model=tracks, truth=truth or truth_tracks(clip))
    for part in (_places, _velocities, _presence, score_laws, _sums, _solidity, _happenings):
        part(sheet)
    return Score(metrics=sheet.metrics, curves=sheet.curves, events=sheet.events, fits=tuple(sheet.fits))


def _places(sheet: Sheet) -> None:
    """Distances from the true places."""
    clip = sheet.clip
    model, true = sheet.both
    shown = np.isfinite(true[..., 0])  # (T, N)
    if not shown.any():
        return
    found = shown & np.isfinite(model[..., 0])
    away = np.where(found, np.linalg.norm(np.where(found[..., None], model - true, 0), axis=-1), FAR)
    away = np.where(shown, np.minimum(away, FAR), np.nan)  # (T, N)
    diagonal = float(np.hypot(clip.height, clip.width))
    apart = np.linalg.norm(sheet.model.px[sheet.after] - sheet.truth.px[sheet.after], axis=-1)
    apart = np.where(shown, np.where(found, apart, diagonal), np.nan)
    sizes = np.array([2 * body.radius for body in clip.objects])
    gone = bool((shown & ~found).any())
    sheet.put("ade", float(np.nanmean(away)), failed=gone)
    last = [column[np.isfinite(column)][-1] for column in away.T if np.isfinite(column).any()]
    sheet.put("fde", float(np.mean(last)), failed=bool((shown & ~found)[-1].any()))
    for horizon in HORIZONS_S:
        steps = round(horizon / clip.dt)
        if steps <= len(away) and shown[:steps].any():
            sheet.put(f"ade_{horizon:g}s", float(np.nanmean(away[:steps])), failed=bool((shown & ~found)[:steps].any()))
    sheet.put("ade_px", float(np.nanmean(apart)), failed=gone)
    sheet.put("ade_diameters", float(np.nanmean(np.minimum(away / sizes, 10.0))), failed=gone)
    sheet.curves["position_error_m"] = _row_mean(away)
    sheet.curves["position_error_px"] = _row_mean(apart)


def _velocities(sheet: Sheet) -> None:
    """Velocities, twice: as PhyWorld takes them, and step by step."""
    clip = sheet.clip
    model, true = sheet.both
    speeds, gone = [], False
    for k in range(true.shape[1]):
        true_steps, model_steps = np.diff(true[:, k], axis=0) / clip.dt, np.diff(model[:, k], axis=0) / clip.dt
        if not np.isfinite(true_steps[:, 0]).any():
            continue
        use = np.isfinite(true_steps[:, 0])
        seen = use & np.isfinite(model_steps[:, 0])
        off = float(np.linalg.norm(model_steps[seen].mean(0) - true_steps[use].mean(0))) if seen.any() else FAST
        share = seen.sum() / use.sum()
        speeds.append(share * min(off, FAST) + (1 - share) * FAST)
        gone |= share < 1
    if speeds:
        sheet.put("velocity_error", float(np.mean(speeds)), failed=bool(gone))
    _, fast = laws.smooth(model, clip.dt)
    _, known = laws.smooth(true, clip.dt)
    shown = np.isfinite(known[..., 0])
    if shown.any():
        found = shown & np.isfinite(fast[..., 0])
        wrong = np.where(found, np.linalg.norm(np.where(found[..., None], fast - known, 0), axis=-1), FAST)
        wrong = np.where(shown, np.minimum(wrong, FAST), np.nan)
        sheet.put("velocity_rmse", float(np.sqrt(np.nanmean(wrong**2))), failed=bool((shown & ~found).any()))
        sheet.curves["velocity_error_m_s"] = _row_mean(wrong)


def _presence(sheet: Sheet) -> None:
    """Who is there, whole, once, and in its own colour."""
    clip, model, truth, after = sheet.clip, sheet.model, sheet.truth, sheet.after
    shown = truth.status[after] == SEEN  # (T, N)
    kept = ~np.isin(model.status[after], (MISSING, OUTSIDE))
    if shown.any():
        gone = bool((~kept[shown]).any())
        sheet.put("permanence", float(kept[shown].mean()), failed=gone)
        sheet.curves["present"] = np.divide(
            (kept & shown).sum(1), shown.sum(1), out=np.full(len(shown), np.nan), where=shown.any(1)
        )
        sheet.put("identity", float((kept & ~model.swapped[after])[shown].mean()), failed=gone)
    counted = (model.status[after] == SEEN).sum(axis=1) + model.ghosts[after]
    wrong = np.abs(counted - shown.sum(axis=1)).astype(float)
    sheet.put("count_error", float(wrong.mean()))
    sheet.curves["count_error"] = wrong
    sheet.put("ghosts", float(model.ghosts[after].mean()))
    strained, gone = [], False
    for k, body in enumerate(clip.objects):
        true = (
            truth.size[after, k] if body.shape != "ball" else np.where(np.isfinite(truth.size[after, k]), 1.0, np.nan)
        )
        lost = np.isfinite(true) & ~kept[:, k]
        change = np.where(lost, 1.0, np.abs(np.log(np.maximum(model.size[after, k], 1e-3) / true)))
        if np.isfinite(true).any():
            known = change[np.isfinite(change)]
            strained.append(min(float(known.mean()), 1.0) if len(known) else 1.0)
            gone |= bool(lost.any()) or not len(known)
    if strained:
        sheet.put("rigidity", float(np.mean(strained)), failed=gone)
    _reappearance(sheet)


def _reappearance(sheet: Sheet) -> None:
    """What comes out from behind something in the horizon, after at least three hidden frames."""
    clip = sheet.clip
    back, late, beside = [], [], []
    for k in range(len(clip.objects)):
        hidden = sheet.truth.status[:, k] == HIDDEN
        out = [
            t
            for t in range(clip.num_context, len(clip) - 2)
            if hidden[t - 3 : t].all() and (sheet.truth.status[t : t + 3, k] == SEEN).all()
        ]
        if not out:
            continue
        t = out[0]
        seen = sheet.model.status[:, k] == SEEN
        gone = np.flatnonzero(~seen[clip.num_context :]) + clip.num_context
        again = (
            [s for s in range(gone[0], len(clip)) if seen[s : s + 3].all() and s + 3 <= len(clip)] if len(gone) else []
        )
        back.append(bool(again))
        late.append(min(abs(again[0] - t) * clip.dt, LATE) if again else LATE)
        near = [s for s in (t + 2, t + 1, t) if np.isfinite(sheet.model.world[s, k, 0])]
        place = sheet.model.world[near[0], k] - sheet.truth.world[near[0], k] if near else np.array([FAR, 0, 0])
        beside.append(min(float(np.linalg.norm(place)), FAR))
    if back:
        failed = not all(back)
        sheet.put("reappearance", float(np.mean(back)), failed=failed)
        sheet.put("reappearance_time_error", float(np.mean(late)), failed=failed)
        sheet.put("reappearance_place_error", float(np.mean(beside)), failed=FAR in beside)


# ---- sums over all objects


def _sums(sheet: Sheet) -> None:
    """Momentum and energy beside the simulator's, both from smoothed positions."""
    clip = sheet.clip
    if clip.scenario not in _ENERGETIC:
        return
    model, true = sheet.both
    mass = np.array([body.mass for body in clip.objects])
    place, speed = laws.smooth(model, clip.dt)
    true_place, true_speed = laws.smooth(true, clip.dt)
    shown = np.isfinite(true_speed[..., 0]).all(axis=1)  # (T,)
    if not shown.any():
        return
    found = np.isfinite(speed[..., 0]).all(axis=1)
    gravity = clip.gravity[sheet.after, None]

    def energy(at: np.ndarray, v: np.ndarray) -> np.ndarray:
        return (mass * ((v**2).sum(-1) / 2 + gravity * at[..., 2])).sum(axis=1)

    exact = energy(true_place, true_speed)
    lowest = (mass * gravity * np.nanmin(true_place[..., 2], axis=0)).sum(axis=1)
    stake = float(np.nanmax((exact - lowest)[shown]))
    stake = max(stake, 0.1 * float((mass * gravity[0] * [2 * body.radius for body in clip.objects]).sum()))
    wrong = np.where(found, np.abs(energy(place, speed) - exact) / stake, 1.0)
    wrong = np.where(shown, np.minimum(wrong, 1.0), np.nan)
    sheet.put("energy_residual", float(np.nanmean(wrong)), failed=bool((shown & ~found).any()))
    sheet.curves["energy_residual"] = wrong
    if clip.scenario in ("collision_1d", "collision_2d", "clutter"):
        exact_p, p = (mass[:, None] * true_speed).sum(axis=1), (mass[:, None] * speed).sum(axis=1)
        size = float(np.nanmax((mass * np.linalg.norm(true_speed, axis=-1)).sum(axis=1)[shown]))
        if size > 0.05 * mass.sum():
            wrong = np.where(found, np.linalg.norm(p - exact_p, axis=1) / size, 1.0)
            wrong = np.where(shown, np.minimum(wrong, 1.0), np.nan)
            sheet.put("momentum_residual", float(np.nanmean(wrong)), failed=bool((shown & ~found).any()))
            sheet.curves["momentum_residual"] = wrong


def _solidity(sheet: Sheet) -> None:
    """Two things in one place, and things on the wrong side of a wall."""
    clip = sheet.clip
    model, true = sheet.both
    names = [body.name for body in clip.objects]
    if clip.scenario == "double_pendulum":
        return  # its balls pass each other
    deepest = max(0.0, _deepest(clip, model) - _deepest(clip, true))
    seen = np.isfinite(model[..., 0]).any()
    has_ball = any(body.shape == "ball" for body in clip.objects)
    if has_ball and np.isfinite(true[..., 0]).any() and clip.scenario != "camera":
        sheet.put("penetration", deepest if seen else None)
    if clip.scenario == "solid_wall" and clip.variation.get("opening") == "closed":
        wall, start = clip.state["wall"][0, :3], clip.state[names[0]][clip.num_context - 1, 0]
        side = np.sign(start - wall[0])
        if seen:
            depth = side * (model[:, 0, 0] - wall[0])  # m on its own side of the wall's middle
            sheet.put("tunnelling", float(bool((depth[np.isfinite(depth)] < 0).any())))
        else:
            sheet.put("tunnelling", None)


def _deepest(clip: Clip, world: np.ndarray) -> float:
    """Return the deepest overlap of balls with balls, the floor and the wall, in diameters; 0 if none."""
    bodies, depths = clip.objects, [0.0]
    for i, body in enumerate(bodies):
        if body.shape != "ball":
            continue
        size, place = 2 * body.radius, world[:, i]
        if abs(clip.normal[2]) < 0.5:
            depths.append(_most(body.radius - place[:, 2]) / size)
        if "wall" in clip.bodies:
            half = np.array(clip.bodies["wall"].half)
            beyond = np.abs(place - clip.state["wall"][0, :3]) - half
            outside = np.linalg.norm(np.maximum(beyond, 0), axis=1)
            depths.append(_most(body.radius - np.where((beyond < 0).all(axis=1), beyond.max(axis=1), outside)) / size)
        for j in range(i + 1, len(bodies)):
            if bodies[j].shape == "ball":
                apart = np.linalg.norm(place - world[:, j], axis=1)
                depths.append(_most(body.radius + bodies[j].radius - apart) / size)
    return max(depths)


def _most(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else 0.0


def _happenings(sheet: Sheet) -> None:
    """What happens, in which order, and whether the task is done."""
    clip = sheet.clip
    true, own = events_of(clip, sheet.truth.world), events_of(clip, sheet.model.world)
    lost = np.flatnonzero(_lost(sheet))
    for k in lost:  # nothing that is not there can agree
        name = clip.objects[k].name
        own |= {event: not happens for event, happens in true.items() if name in event.split()}
    sheet.events |= {name: (true[name], own[name]) for name in true}
    if true:
        agrees = [own[name] == happens for name, happens in true.items()]
        sheet.put("event_agreement", float(np.mean(agrees)), failed=len(lost) > 0)
    if clip.scenario == "dominoes":
        times, found = fall_times(clip, sheet.truth.world), fall_times(clip, sheet.model.world)
        fallen = np.isfinite(times)
        if fallen.sum() >= 3:
            last = np.nan_to_num(found[fallen], nan=1e3)  # one that stands comes last
            rank = kendalltau(times[fallen], last)
            sheet.put("order_tau", float(rank.statistic))  # pyright: ignore[reportAttributeAccessIssue]
    reached, own_reached = task_reached(clip, sheet.truth.world), task_reached(clip, sheet.model.world)
    if reached is not None:
        sheet.put("task_agreement", float(reached == own_reached))


def _lost(sheet: Sheet) -> np.ndarray:
    """Return which objects are missing in most frames in which the truth shows them, (N,) bool."""
    shown = sheet.truth.status[sheet.after] == SEEN
    gone = shown & np.isin(sheet.model.status[sheet.after], (MISSING, OUTSIDE))
    return gone.sum(axis=0) > 0.5 * np.maximum(shown.sum(axis=0), 1)


def _row_mean(values: np.ndarray) -> np.ndarray:
    """Return means over objects (T, N) -> (T,), NaN where none is known."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=1)
    return np.divide(total, known.sum(axis=1), out=np.full(len(values), np.nan), where=known.any(axis=1))
