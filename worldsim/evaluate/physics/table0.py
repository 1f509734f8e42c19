"""Table 0: the error of the ruler itself, measured on true frames whose state is known to the last digit.

Every scenario is read at every size from frames as they are and from frames with noise, blur, JPEG and faded colours.
Objects are then taken away, doubled, exchanged and moved, and it is counted how often that is noticed and how often
it is seen where it is not. Results of a model within twice the floor of the same metric are "at floor".
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image
from scipy import ndimage

from worldsim.evaluate.physics.clip import Clip, record_clip
from worldsim.evaluate.physics.extract import HIDDEN, SEEN, Tracks, extract
from worldsim.evaluate.physics.state_metrics import Score, score_clip, truth_tracks

__all__ = ["CORRUPTIONS", "FAULTS", "floors", "jumps", "noticed", "plant", "table0"]

FAULT_STEPS = 8
"""Frames for which a planted fault lasts."""
_SEED = 200_000
_IN_FLIGHT = ("free_fall", "two_drops", "projectile", "support_removal")

Corruption = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _noise(level: float) -> Corruption:
    return lambda frames, rng: np.clip(frames + rng.normal(0, level, frames.shape), 0, 255).astype(np.uint8)


def _jpeg(quality: int) -> Corruption:
    def once(frame: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return lambda frames, rng: np.stack([once(frame) for frame in frames])


def _blurred(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    sigma = frames.shape[1] / 64
    return ndimage.gaussian_filter(frames.astype(np.float32), (0, sigma, sigma, 0)).round().astype(np.uint8)


def _faded(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey = frames.mean(axis=-1, keepdims=True)
    return (grey + 0.5 * (frames - grey)).round().astype(np.uint8)


CORRUPTIONS: Mapping[str, Corruption] = {
    "clean": lambda frames, rng: frames,
    "noise 10": _noise(10),
    "noise 30": _noise(30),
    "blur": _blurred,
    "JPEG 75": _jpeg(75),
    "JPEG 30": _jpeg(30),
    "half colour": _faded,
}
"""What is done to true frames; noise in levels of 255, blur with a standard deviation of 1/64 of the height."""

FAULTS = ("dropped", "duplicated", "swapped", "teleported")
"""What is planted: an object taken away, shown twice, exchanged in colour with another, set down elsewhere."""


# ---- planted faults


def plant(clip: Clip, fault: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Plant a fault into true frames for FAULT_STEPS frames after the context.

    Returns:
        Frames (F, H, W, 3) and where the fault is, (F, N) bool; None if the clip has no room for it, because too
        little of its objects is seen or, to swap, because there is but one.
    """
    names = [body.name for body in clip.objects]
    masks = np.stack([clip.mask(name) for name in names], axis=1)  # (F, N, H, W)
    first = int(rng.integers(clip.num_context + 1, len(clip) - FAULT_STEPS - 1))
    steps = range(first, first + FAULT_STEPS)
    usual = masks[: clip.num_context].sum(axis=(2, 3)).max(axis=0)  # (N,) px
    whole = [k for k in range(len(names)) if (masks[first : steps.stop, k].sum(axis=(1, 2)) > 0.7 * usual[k]).all()]
    if len(whole) < (2 if fault == "swapped" else 1):
        return None
    k, *others = (int(i) for i in rng.permutation(whole))
    frames, where = clip.frames.copy(), np.zeros(masks.shape[:2], bool)
    where[list(steps), k] = True
    if fault == "swapped":
        where[list(steps), others[0]] = True
    moves = {t: _free_place(masks[t], k, clip.width) for t in steps}
    if fault in ("duplicated", "teleported") and any(move is None for move in moves.values()):
        return None
    for t in steps:
        if fault in ("dropped", "teleported"):
            frames[t] = _filled(frames[t], ndimage.binary_dilation(masks[t, k]))
        if fault in ("duplicated", "teleported"):
            move = moves[t]
            assert move is not None
            copy = np.roll(masks[t, k], move, axis=(0, 1))
            frames[t] = np.where(copy[..., None], np.roll(clip.frames[t], move, axis=(0, 1)), frames[t])
        if fault == "swapped":
            for a, b in ((k, others[0]), (others[0], k)):
                colors = [np.array(clip.palette[clip.objects[i].color], float) for i in (a, b)]
                frames[t] = _painted(frames[t], clip.frames[t], masks[t, a], *colors)
    return frames, where


def _free_place(masks: np.ndarray, k: int, width: int) -> tuple[int, int] | None:
    """Return by how many rows and columns object k can be moved without touching anything or leaving the frame."""
    rows, columns = np.nonzero(masks[k])
    if not len(rows):
        return None
    taken = ndimage.binary_dilation(masks.any(axis=0), iterations=2)
    for share in (4, -4, 3, -3, 2.5, -2.5, 5, -5):
        for dy in (0, -width // 6, width // 6):
            dx = round(width / share)
            y, x = rows + dy, columns + dx
            inside = (y >= 0).all() and (y < masks.shape[1]).all() and (x >= 0).all() and (x < width).all()
            if inside and not taken[y, x].any():
                return dy, dx
    return None


def _filled(frame: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return a frame whose marked pixels have the colour of the nearest unmarked one."""
    row, column = np.asarray(ndimage.distance_transform_edt(hole, return_distances=False, return_indices=True))
    return frame[row, column]


def _painted(onto: np.ndarray, frame: np.ndarray, mask: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return ``onto`` with the marked pixels of a frame in another colour, as bright as they were."""
    light = frame.max(axis=-1, keepdims=True) / old.max()
    return np.where(mask[..., None], np.clip(light * new, 0, 255).round().astype(np.uint8), onto)


def jumps(tracks: Tracks) -> np.ndarray:
    """Return where an object is further from its last place than it can move, (F, N) bool.

    That is more than its own size away from where its last step would have brought it; a bounce is less.
    """
    px = tracks.px
    found = np.zeros(px.shape[:2], bool)
    size = 2 * np.sqrt(np.nanmedian(np.where(tracks.area > 0, tracks.area, np.nan), axis=0) / np.pi)  # (N,)
    step = np.linalg.norm(px[2:] - 2 * px[1:-1] + px[:-2], axis=-1)
    found[2:] = np.nan_to_num(step) > size
    return found


def noticed(fault: str, tracks: Tracks, truth: Tracks) -> np.ndarray:
    """Return where a fault is seen in tracks, (F, N) bool; one that names no object is seen of all."""
    if fault == "dropped":
        return ~np.isin(tracks.status, (SEEN, HIDDEN)) & (truth.status == SEEN)
    if fault == "duplicated":
        return np.repeat((tracks.ghosts > 0)[:, None], tracks.px.shape[1], axis=1)
    return tracks.swapped if fault == "swapped" else jumps(tracks)


# ---- the table


def floors(scores: Sequence[tuple[str, Score]]) -> dict[str, dict[str, float]]:
    """Return the mean of every metric per scenario, from scores of truth read through the extractor."""
    found: dict[str, dict[str, list[float]]] = {}
    for scenario, score in scores:
        for name, metric in score.metrics.items():
            found.setdefault(scenario, {}).setdefault(name, []).append(metric.value)
    return {
        scenario: {name: float(np.mean(values)) for name, values in metrics.items()}
        for scenario, metrics in found.items()
    }


def table0(
    env_id: str = "worldsim/Lab-v0",
    *,
    sizes: Sequence[int] = (64, 128),
    scenarios: Sequence[str] | None = None,
    clips: int = 4,
    num_context: int = 8,
    horizon: int = 32,
    seed: int = _SEED,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure the extractor on true frames.

    Args:
        env_id: A true world with named bodies and masks.
        sizes: Rows and columns of a frame.
        scenarios: Names; None takes all.
        clips: Per scenario and size, from env seeds ``seed + i``.
        num_context, horizon: Frames of a clip.
        seed: First env seed.
        progress: Called with (clips done, clips wanted).

    Returns:
        JSON values: ``rows`` (per size, scenario and corruption), ``faults`` (per size and fault) and ``floors`` (per
        size, of clean frames).
    """
    rows: list[dict[str, Any]] = []
    faults: list[dict[str, Any]] = []
    all_floors: dict[str, Any] = {}
    for index, size in enumerate(sizes):
        env = gym.make(env_id, height=size, width=size)
        try:
            names = list(scenarios or env.unwrapped.scene_card["scenarios"])  # type: ignore[attr-defined]
            counts = {fault: np.zeros(3, int) for fault in FAULTS}  # planted, of them noticed, wrongly noticed
            clean: list[tuple[str, Score]] = []
            for n, name in enumerate(names):
                read: dict[str, list[dict[str, float]]] = {corruption: [] for corruption in CORRUPTIONS}
                for i in range(clips):
                    clip = record_clip(env, name, seed + i, num_context=num_context, horizon=horizon)
                    truth = truth_tracks(clip)
                    whole = replace(clip, num_context=1)  # a gravity is best read from the whole clip
                    from_reset = truth_tracks(whole) if name in _IN_FLIGHT else truth
                    rng = np.random.default_rng((seed + i, n, size))
                    for corruption, change in CORRUPTIONS.items():
                        tracks = extract(change(clip.frames, rng), clip)
                        score = score_clip(clip, tracks, truth)
                        errors = _errors(tracks, truth, score)
                        if name in _IN_FLIGHT:
                            fit = score_clip(whole, tracks, from_reset).metrics.get("gravity_error")
                            errors |= {"gravity_error": fit.value} if fit else {}
                        read[corruption].append(errors)
                        if corruption == "clean":
                            clean.append((name, score))
                    _count_faults(clip, truth, rng, counts)
                    if progress:
                        done = (index * len(names) + n) * clips + i + 1
                        progress(done, len(sizes) * len(names) * clips)
                for corruption, found in read.items():
                    rows.append(
                        {"size": size, "scenario": name, "corruption": corruption, "n": clips, **_pooled(found)}
                    )
            all_floors[str(size)] = floors(clean)
            for fault, (planted, caught, wrong) in counts.items():
                faults.append(
                    {
                        "size": size,
                        "fault": fault,
                        "planted": int(planted),
                        "recall": float(caught / planted) if planted else None,
                        "precision": float(caught / (caught + wrong)) if caught + wrong else None,
                    }
                )
        finally:
            env.close()
    card = {"env": env_id, "clips": clips, "num_context": num_context, "horizon": horizon, "seed": seed}
    return {**card, "rows": rows, "faults": faults, "floors": all_floors}


def _errors(tracks: Tracks, truth: Tracks, score: Score) -> dict[str, float]:
    """Return the errors of one reading, squares where they are to be pooled by root mean square."""
    shown = truth.status == SEEN
    found = shown & (tracks.status == SEEN)
    apart = np.where(found[..., None], tracks.px - truth.px, np.nan)  # (F, N, 2)
    metres = np.linalg.norm(np.where(found[..., None], tracks.world - truth.world, np.nan), axis=-1)
    values = {
        "px2": float(np.nanmean((apart**2).sum(axis=-1))),
        "bias_u": float(np.nanmean(apart[..., 0])),
        "bias_v": float(np.nanmean(apart[..., 1])),
        "m2": float(np.nanmean(metres**2)),
        "not found": float(1 - found[shown].mean()),
        "ghosts": float(tracks.ghosts.mean()),
    }
    for name in ("velocity_rmse", "count_error", "restitution_error", "contact_time_error", "period_error"):
        if name in score.metrics:
            values[name] = score.metrics[name].value
    return values


def _pooled(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for values in found for name in values)
    mean = {name: float(np.mean([values[name] for values in found if name in values])) for name in names}
    mean["position_px"], mean["position_m"] = mean.pop("px2") ** 0.5, mean.pop("m2") ** 0.5
    return mean


def _count_faults(clip: Clip, truth: Tracks, rng: np.random.Generator, counts: dict[str, np.ndarray]) -> None:
    """Plant every fault once and add to what was planted, noticed, and noticed where nothing was."""
    for fault in FAULTS:
        planted = plant(clip, fault, rng)
        if planted is None:
            continue
        frames, where = planted
        seen = noticed(fault, extract(frames, clip), truth)
        if fault == "teleported":  # only the steps there and back are jumps
            edges = np.zeros_like(where)
            edges[1:] = where[1:] != where[:-1]
            near = np.asarray(ndimage.binary_dilation(where, np.ones((3, 1), bool), iterations=2), bool)
            counts[fault] += [int(edges.sum()), int((edges & seen).sum()), int((seen & ~near).sum())]
        elif fault == "duplicated":
            there, anything = where.any(axis=1), seen.any(axis=1)
            counts[fault] += [int(there.sum()), int((there & anything).sum()), int((anything & ~there).sum())]
        else:
            counts[fault] += [int(where.sum()), int((where & seen).sum()), int((seen & ~where).sum())]
