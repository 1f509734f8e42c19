"""What stands beside a model in every table: naive predictors, known laws, truths, and planted corruptions.

A row is frames like a model's, so that one code scores all of them. Predictors see the context alone. Corruptions are
true frames with one thing wrong, and exist to be caught.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, shift

from worldsim.evaluate.physics.clip import Clip
from worldsim.evaluate.physics.extract import Tracks
from worldsim.evaluate.physics.geometry import project
from worldsim.store.formats.films import FilmWriter, read_film

__all__ = [
    "CORRUPTIONS",
    "LAW_SCENARIOS",
    "OF_OBJECTS",
    "Corruption",
    "codec",
    "constant_acceleration",
    "copy_last",
    "film",
    "known_law",
    "linear",
    "nearest_clip",
]

LAW_SCENARIOS = ("free_fall", "two_drops", "projectile", "rolling", "collision_1d", "collision_2d", "occlusion")
"""Scenarios whose motion follows from gravity, floor, friction and collisions of balls: those `known_law` predicts."""
_FIT_FRAMES = 5
"""Context frames from which predictors take position and velocity."""
_FITS = 0.012  # m, residual of a fit through frames of one flight
_TICK = 1 / 240  # s
_WALL = 1.65  # m from the middle of the bench to the walls at its sides


# ---- predictors: (T, H, W, 3) uint8 from the context


def copy_last(clip: Clip) -> np.ndarray:
    """Repeat the last context frame."""
    return np.repeat(clip.context[-1:], clip.horizon, axis=0)


def linear(clip: Clip, tracks: Tracks) -> np.ndarray:
    """Move every object on at the speed it had in the last context frames, in pixels."""
    return _moved(clip, tracks, _extrapolated(clip, tracks, degree=1))


def constant_acceleration(clip: Clip, tracks: Tracks) -> np.ndarray:
    """Move every object on at the speed and acceleration it had in the last context frames, in pixels."""
    return _moved(clip, tracks, _extrapolated(clip, tracks, degree=2))


def known_law(clip: Clip, tracks: Tracks) -> np.ndarray | None:
    """Move balls on by the laws of the bench, from position and velocity as the pixels show them.

    Gravity, restitution, friction and masses are those of the truth. None outside of LAW_SCENARIOS.
    """
    if clip.scenario not in LAW_SCENARIOS:
        return None
    begun = [_world_motion(clip, tracks, k) for k in range(len(clip.objects))]
    if any(motion is None for motion in begun):
        return None
    place = np.array([motion[0] for motion in begun if motion])  # (N, 3) m
    velocity = np.array([motion[1] for motion in begun if motion])  # (N, 3) m/s
    spin = np.array([motion[2] for motion in begun if motion])  # (N,) rad/s
    path = _simulated(clip, place, velocity, spin)  # (T, N, 3)
    now = project(place, clip.K, clip.c2w[clip.num_context - 1])  # (N, 2)
    then = np.stack([project(p, clip.K, clip.c2w[clip.num_context + t]) for t, p in enumerate(path)])
    return _moved(clip, tracks, then - now)


def nearest_clip(clip: Clip, others: list[Clip]) -> np.ndarray:
    """Return the true future of that other clip whose context looks most alike."""
    errors = [float(((o.context.astype(np.float32) - clip.context) ** 2).mean()) for o in others]
    return others[int(np.argmin(errors))].future


def codec(frames: np.ndarray, quality: int = 30) -> np.ndarray:
    """Return frames (T, H, W, 3) after JPEG of the given quality."""
    out = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(buffer)))
    return np.stack(out)


def film(frames: np.ndarray, dt: float) -> np.ndarray:
    """Return frames (T, H, W, 3) after an mp4 film as the store exports them: H.264, colours at half the resolution.

    Raises:
        MissingExtraError: If PyAV is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        rate = Fraction(1 / dt).limit_denominator(1000)
        with FilmWriter(path, frames.shape[1], frames.shape[2], rate) as writer:
            writer.add(frames)
        return read_film(path, num_frames=len(frames))


def _extrapolated(clip: Clip, tracks: Tracks, degree: int) -> np.ndarray:
    """Return displacements (T, N, 2) px of every object from its place in the last context frame."""
    last, num = clip.num_context - 1, len(clip.objects)
    ahead = np.arange(1, clip.horizon + 1)
    moves = np.zeros((clip.horizon, num, 2))
    for k in range(num):
        frames = np.arange(max(0, last + 1 - _FIT_FRAMES), last + 1)
        seen = frames[np.isfinite(tracks.px[frames, k]).all(axis=1)]
        if len(seen) <= degree:
            continue
        powers = np.vander(seen - last, degree + 1, increasing=True)
        fit, *_ = np.linalg.lstsq(powers, tracks.px[seen, k], rcond=None)  # (degree + 1, 2)
        moves[:, k] = sum(ahead[:, None] ** p * fit[p] for p in range(1, degree + 1))
    return moves


def _world_motion(clip: Clip, tracks: Tracks, k: int) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Return place, velocity and spin of object ``k`` at the last context frame.

    Place and velocity are a fit that knows gravity, through as many of the last frames as lie on one flight. Spin is
    not seen: a ball that has touched the floor is taken to roll (its rim keeps up with it), one that has not, not to.
    """
    last = clip.num_context - 1
    seen = np.flatnonzero(np.isfinite(tracks.world[: last + 1, k]).all(axis=1))
    if len(seen) < 3:
        return None
    radius, gravity = clip.objects[k].half[2], float(clip.gravity[last])
    place, velocity = np.zeros(3), np.zeros(3)
    for count in range(3, min(_FIT_FRAMES, len(seen)) + 1):
        frames = seen[-count:]
        times, points = (frames - last) * clip.dt, tracks.world[frames, k]
        fall = np.zeros_like(points)
        if points[:, 2].min() > 1.03 * radius:  # in the air all the while
            fall[:, 2] = -0.5 * gravity * times**2
        powers = np.vander(times, 2, increasing=True)
        fit, *_ = np.linalg.lstsq(powers, points - fall, rcond=None)
        if count > 3 and np.abs(powers @ fit - (points - fall)).max() > _FITS:
            break
        place, velocity = fit
    touched = bool((tracks.world[seen, k, 2] < 1.15 * radius).any())
    return place, velocity, float(velocity[0] / radius) if touched and clip.scenario != "rolling" else 0.0


def _simulated(clip: Clip, place: np.ndarray, velocity: np.ndarray, spin: np.ndarray) -> np.ndarray:
    """Advance balls by gravity, floor, walls, friction and each other; returns their places per step, (T, N, 3).

    Args:
        clip: Its laws.
        place, velocity: (N, 3) metres and m/s.
        spin: (N,) rad/s about the axis across the view, positive where a ball rolls to +x.
    """
    v, gravity = clip.variation, float(clip.gravity[clip.num_context - 1])
    restitution, friction = float(v.get("restitution", 0.5)), float(v.get("friction", 0.5))
    radius = np.array([body.half[0] for body in clip.objects])
    mass = np.array([body.mass for body in clip.objects])
    place, velocity, spin, path = place.copy(), velocity.copy(), spin.copy(), []
    for _ in range(clip.horizon):
        for _ in range(round(clip.dt / _TICK)):
            velocity[:, 2] -= gravity * _TICK
            place += velocity * _TICK
            for i in range(len(radius)):
                if place[i, 2] < radius[i] and velocity[i, 2] < 0:
                    place[i, 2] = radius[i]
                    press = -velocity[i, 2] * (1 + (restitution if velocity[i, 2] < -0.15 else 0.0))
                    velocity[i, 2] += press
                    slip = velocity[i, 0] - spin[i] * radius[i]
                    grip = float(np.clip(slip * 2 / 7, -friction * press, friction * press))
                    velocity[i, 0] -= grip
                    spin[i] += grip / (0.4 * radius[i])
                beyond = abs(place[i, 0]) > _WALL - radius[i] and place[i, 0] * velocity[i, 0] > 0
                if beyond and clip.normal[1]:  # side views alone have walls at their sides
                    velocity[i, 0] *= -restitution
                for j in range(i):
                    _collide(place, velocity, mass, radius, i, j, restitution)
        path.append(place.copy())
    return np.array(path)


def _collide(
    position: np.ndarray, velocity: np.ndarray, mass: np.ndarray, radius: np.ndarray, i: int, j: int, restitution: float
) -> None:
    """Exchange momentum along the line of centres if two balls touch and approach, in place."""
    line = position[i] - position[j]
    distance = float(np.linalg.norm(line))
    if distance >= radius[i] + radius[j]:
        return
    line = line / max(distance, 1e-9)
    approach = float((velocity[i] - velocity[j]) @ line)
    if approach < 0:
        impulse = -(1 + restitution) * approach / (1 / mass[i] + 1 / mass[j])
        velocity[i] += impulse / mass[i] * line
        velocity[j] -= impulse / mass[j] * line


def _moved(clip: Clip, tracks: Tracks, moves: np.ndarray) -> np.ndarray:
    """Paint the last context frame with every object cut out and set down elsewhere; ``moves`` is (T, N, 2) px."""
    last = clip.num_context - 1
    labels, frame = tracks.labels[last], clip.frames[last].astype(np.float32)
    ground = _emptied(clip, tracks)
    out = np.repeat(ground[None], clip.horizon, axis=0)
    for k in range(len(clip.objects)):
        cut = labels == k + 1
        if not cut.any():
            continue
        cut = binary_dilation(cut)  # its soft edge belongs to it
        layer = np.where(cut[..., None], frame, 0.0)
        for t in range(clip.horizon):
            dx, dy = moves[t, k]
            if abs(dx) > frame.shape[1] or abs(dy) > frame.shape[0]:
                continue  # gone from the frame
            alpha = shift(cut.astype(np.float32), (dy, dx), order=1)[..., None]
            out[t] = out[t] * (1 - alpha) + shift(layer, (dy, dx, 0), order=1)
    return np.clip(out.round(), 0, 255).astype(np.uint8)


def _emptied(clip: Clip, tracks: Tracks) -> np.ndarray:
    """Return the last context frame without its objects: what the context showed there, else the nearest colour."""
    last = clip.num_context - 1
    objects = np.array([binary_dilation(labels > 0, iterations=2) for labels in tracks.labels[: last + 1]], np.bool_)
    frame = clip.frames[last].astype(np.float32)
    here, known = objects[last], ~objects.all(axis=0)
    filled = frame.copy()
    for y, x in np.argwhere(here & known):
        filled[y, x] = np.median(clip.context[~objects[:, y, x], y, x], axis=0)
    return _fill(filled, here & ~known)


def _fill(frame: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return a frame whose marked pixels have the colour of the nearest unmarked one."""
    if not hole.any() or hole.all():
        return frame
    nearest = np.asarray(distance_transform_edt(hole, return_distances=False, return_indices=True))  # (2, H, W)
    return frame[tuple(nearest)]


# ---- corruptions: (T, H, W, 3) uint8 from the true clip

Corruption = Callable[[Clip, np.random.Generator], np.ndarray]


def _frozen(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    return copy_last(clip)


def _frozen_late(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    until = clip.horizon // 3
    return clip.future[np.minimum(np.arange(clip.horizon), until)]


def _reversed(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    return clip.future[::-1].copy()


def _slowed(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    frames = clip.frames[clip.num_context - 1 :]
    return frames[np.round(0.43 * np.arange(1, clip.horizon + 1)).astype(int)]


def _delayed(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    return clip.frames[clip.num_context - 3 : -3]


def _time_shuffled(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    return clip.future[rng.permutation(clip.horizon)]


def _shifted(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    by = max(1, clip.width // 12)
    return clip.future[:, :, np.maximum(np.arange(clip.width) - by, 0)]


def _mirrored(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    return clip.future[:, :, ::-1].copy()


def _blurred(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    sigma = clip.width / 32
    return gaussian_filter(clip.future.astype(np.float32), (0, sigma, sigma, 0)).round().astype(np.uint8)


def _noisy(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    return np.clip(clip.future + rng.normal(0, 30, clip.future.shape), 0, 255).astype(np.uint8)


def _edited(clip: Clip, edit: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the future with ``edit(frame, where the first object is)`` from a third of it on."""
    begins = clip.horizon // 3
    mask = clip.mask(clip.objects[0].name)[clip.num_context :]
    out = clip.future.copy()
    for t in range(begins, clip.horizon):
        if mask[t].any():
            out[t] = edit(out[t], mask[t])
    return out


def _pasted(frame: np.ndarray, mask: np.ndarray, onto: np.ndarray, by: int) -> np.ndarray:
    """Return ``onto`` with the marked part of ``frame`` beside its place, towards the middle of the frame."""
    width = frame.shape[1]
    sign = 1 if np.nonzero(mask)[1].mean() < width / 2 else -1
    moved = np.roll(mask, sign * by, axis=1)
    return np.where(moved[..., None], np.roll(frame, sign * by, axis=1), onto)


def _dropped(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    return _edited(clip, lambda frame, mask: _fill(frame, binary_dilation(mask)))


def _duplicated(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    return _edited(clip, lambda frame, mask: _pasted(frame, mask, frame, clip.width // 4))


def _teleported(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    return _edited(clip, lambda frame, mask: _pasted(frame, mask, _fill(frame, binary_dilation(mask)), clip.width // 4))


def _recoloured(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    return _edited(clip, lambda frame, mask: np.where(mask[..., None], np.roll(frame, 1, axis=-1), frame))


CORRUPTIONS: Mapping[str, Corruption] = {
    "frozen": _frozen,
    "frozen_late": _frozen_late,
    "reversed": _reversed,
    "slowed": _slowed,
    "delayed": _delayed,
    "time_shuffled": _time_shuffled,
    "shifted": _shifted,
    "mirrored": _mirrored,
    "blurred": _blurred,
    "noisy": _noisy,
    "dropped": _dropped,
    "duplicated": _duplicated,
    "teleported": _teleported,
    "recoloured": _recoloured,
}
"""What is planted into true frames; ``slowed`` plays at 0.43 of the speed, ``delayed`` is 3 frames late.

A wrong scene and a changed gravity are planted too; they are other episodes of the truth, recorded by the suite.
"""
OF_OBJECTS = ("dropped", "duplicated", "teleported", "recoloured")
"""Corruptions of the first object; they need its true mask."""
