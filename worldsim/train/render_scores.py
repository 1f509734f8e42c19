"""How true a renderer's frames are, episode by episode, each frame drawn upon the one drawn before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from worldsim.metrics import gradient_energy, pooled_ratio, psnr, skill, squared_error
from worldsim.model import Renderer
from worldsim.train.pairs import Pairs

__all__ = ["GROUPS", "draw_episodes", "draw_strip", "previous_frames", "score"]

GROUPS = ("time_of_day", "weather")
"""Factors whose values, as an episode begins, name the group that its figures are shown under."""
_SHOWN = 8


def draw_episodes(
    renderer: Renderer, pairs: Pairs, *, sampler_steps: int | None = None, bfloat16: bool = False
) -> np.ndarray:
    """Return the frames of every row, (N, H, W, 3) uint8; the noise of an episode has the seed of its env.

    Args:
        renderer: What draws.
        pairs: What it draws from.
        sampler_steps: Denoiser calls per frame; None takes the checkpoint's.
        bfloat16: Whether to convolve in bfloat16.
    """
    drawn = np.zeros((len(pairs), renderer.spec.height, renderer.spec.width, 3), np.uint8)
    seeds = np.array([episode["seed"] for episode in pairs.episodes])
    for t in range(int(pairs.length.max())):
        here = pairs.length > t
        rows = pairs.first[here] + t
        for some in np.array_split(np.arange(len(rows)), max(1, len(rows) // 32)):
            at = rows[some]
            drawn[at] = renderer.draw(
                pairs.plain(at),
                drawn[at - 1] if t else None,
                seeds=seeds[here][some],
                steps=np.full(len(some), t),
                sampler_steps=sampler_steps,
                bfloat16=bfloat16,
            )
    return drawn


def previous_frames(pairs: Pairs) -> np.ndarray:
    """Return the true frame before each row, (N, H, W, 3) uint8; a row without one has its own."""
    rows = np.arange(len(pairs))
    return pairs.frames(np.where(pairs.is_first, rows, rows - 1))


def score(frames: np.ndarray, pairs: Pairs) -> dict[str, Any]:
    """Return figures of frames (N, H, W, 3), over all moments that have a frame before them.

    Besides those of all moments, there are those of each group and each camera that have such a moment.

    - ``psnr``: of the pooled squared error, decibels, and ``psnr_plain`` that of the plain colours;
    - ``skill``: 1 - squared error / that of the plain colours, pooled;
    - ``sharpness``: gradient energy over the truth's;
    - ``change``: mean change of a pixel from one frame to the next, over the truth's;
    - ``flicker``: root mean square change of the error from one frame to the next, levels.
    """
    rows = np.arange(len(pairs))
    truth, plain = pairs.frames(rows), pairs.plain(rows)["plain"]
    num_pixels = float(np.prod(truth.shape[1:]))
    error = frames.astype(np.float32) - truth
    sums: dict[str, np.ndarray] = {
        "error": squared_error(frames, truth),
        "plain": squared_error(plain, truth),
        "edges": gradient_energy(frames),
        "true_edges": gradient_energy(truth),
        "change": _change(np.abs, frames.astype(np.float32)),
        "true_change": _change(np.abs, truth.astype(np.float32)),
        "flicker": _change(np.square, error),
    }
    counts = ~pairs.is_first
    owner = np.repeat(np.arange(len(pairs.episodes)), pairs.length)  # (N,)
    groups = np.array([_group(episode) for episode in pairs.episodes])[owner]
    cameras = np.array([episode["camera"] for episode in pairs.episodes])[owner]

    def figures(mask: np.ndarray) -> dict[str, float]:
        total = {name: np.asarray(values[mask & counts].sum()) for name, values in sums.items()}
        num = float((mask & counts).sum()) * num_pixels
        return {
            "psnr": float(psnr(total["error"] / num)),
            "psnr_plain": float(psnr(total["plain"] / num)),
            "skill": float(skill(total["error"], total["plain"])),
            "sharpness": float(pooled_ratio(total["edges"], total["true_edges"])),
            "change": float(pooled_ratio(total["change"], total["true_change"])),
            "flicker": float(np.sqrt(total["flicker"] / num)),
            "frames": int((mask & counts).sum()),
        }

    return {
        **figures(np.ones(len(pairs), bool)),
        "groups": {name: figures(groups == name) for name in sorted(set(groups[counts].tolist()))},
        "cameras": {name: figures(cameras == name) for name in pairs.spec.cameras if name in cameras[counts]},
    }


def draw_strip(path: Path, frames: np.ndarray, pairs: Pairs) -> None:
    """Write a picture: for moments of several groups, plain colours above truth above what was drawn."""
    groups: dict[str, list[int]] = {}
    for index, episode in enumerate(pairs.episodes):
        groups.setdefault(_group(episode), []).append(index)
    chosen = [episodes[k] for k in range(_SHOWN) for episodes in groups.values() if k < len(episodes)][:_SHOWN]
    rows = pairs.first[chosen] + pairs.length[chosen] - 1
    parts = (pairs.plain(rows)["plain"], pairs.frames(rows), frames[rows])
    picture = np.concatenate([np.concatenate(list(part), axis=1) for part in parts], axis=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture)
    image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST).save(path)


def _change(of: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    """Sum what ``of`` makes of each row's difference to the row before it, (N,); 0 for the first."""
    sums = of(np.diff(values, axis=0)).sum(axis=(1, 2, 3), dtype=np.float64)
    return np.concatenate([[0.0], sums])


def _group(episode: Mapping[str, Any]) -> str:
    variation: Mapping[str, Any] = episode["variation"]
    names: Sequence[str] = [str(variation[name]) for name in GROUPS if name in variation]
    return " ".join(names) or "all"
