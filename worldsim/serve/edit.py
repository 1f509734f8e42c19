"""A clip or a picture as it would look if a prompt held: seen and edited, side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

from worldsim.errors import EnvError
from worldsim.model import WorldModel, load
from worldsim.serve.preview import KINDS, MAX_SECONDS, Film, fitted, write_film
from worldsim.store import RolloutStore

__all__ = ["edit"]

_AT_ONCE = 16  # frames between two reports of progress
_FILMS = tuple(kind for kind in KINDS if kind != ".glb")


@dataclass(frozen=True)
class _Clip:
    """What is to be edited."""

    frames: np.ndarray
    """(T, H, W, 3) uint8."""
    told: tuple[str | None, ...]
    """(T,) what is known of each frame."""
    frame_dt: float


def edit(
    source: str | Path,
    prompt: str,
    out: str | Path,
    *,
    model: Any = "city-64",
    episode: int = 0,
    told: str | None = None,
    strength: float = 1.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a clip beside how it would look if a prompt held; see `WorldModel.edit`.

    Args:
        source: A picture, an animated GIF, or a store of rollouts.
        prompt: What is asked for.
        out: File to write; its ending says as what: .png, .gif, .mp4 or .html.
        model: Name, path or loaded model that has learned first frames of such a world.
        episode: Which episode of a store.
        told: What the clip shows, in words; a store's captions if None.
        strength: 0 to 1, how much may change.
        seed: Of the noise.
        progress: Called with (frames done, frames in all).

    Raises:
        EnvError: If the source cannot be read or is longer than 60 seconds, the ending is not possible, or the model
            has not learned first frames.
        StoreError: If there is no such episode.
        PromptError: If the model understood no word of the prompt.
        CheckpointError: If there is no such model.
    """
    path = Path(out)
    if path.suffix not in _FILMS:
        raise EnvError(f"an edited clip is one of {', '.join(_FILMS)}; got {path.name!r}")
    loaded = model if isinstance(model, WorldModel) else load(model)
    loaded.understand(prompt)
    clip = _read(Path(source), loaded, episode)
    num_frames = len(clip.frames)
    _check_length(num_frames, clip.frame_dt)
    known = clip.told if told is None else (told,) * num_frames
    edited = []
    for first in range(0, num_frames, _AT_ONCE):
        part = slice(first, min(first + _AT_ONCE, num_frames))
        frames = clip.frames[part, None]  # each frame as a clip of its own, which may have its own caption
        same = len(frames)
        edited.append(
            loaded.edit(frames, [prompt] * same, seeds=[seed] * same, told=known[part], strength=strength)[:, 0]
        )
        if progress:
            progress(part.stop, num_frames)
    views = {"seen": clip.frames, f"imagined: {prompt[:24]}": np.concatenate(edited)}
    return write_film(path, Film(views, clip.frame_dt, loaded.spec.env_id), prompt)


def _read(source: Path, model: WorldModel, episode: int) -> _Clip:
    height, width = model.spec.height, model.spec.width
    if source.is_dir():
        rollout = RolloutStore.open(source).episode(episode)
        if rollout.env_id and rollout.env_id != model.spec.env_id:
            raise EnvError(f"{model.name} has learned {model.spec.env_id}; the episode is of {rollout.env_id}")
        if rollout.obs.shape[1:] != (height, width, 3):
            raise EnvError(
                f"{model.name} edits frames of {height}x{width} (height x width); the store has "
                f"{rollout.obs.shape[1]}x{rollout.obs.shape[2]}"
            )
        captions = [rollout.caption_at(t) for t in range(len(rollout.obs))]
        return _Clip(rollout.obs, tuple(caption and caption.en for caption in captions), model.spec.control_dt)
    try:
        with Image.open(source) as image:
            frame_dt = image.info.get("duration", 0) / 1000 or model.spec.control_dt
            _check_length(getattr(image, "n_frames", 1), frame_dt)
            pictures = ImageSequence.Iterator(image)
            frames = np.stack([fitted(picture.convert("RGB"), height, width) for picture in pictures])
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:  # what a damaged file makes it say
        reason = getattr(error, "strerror", None) or error
        raise EnvError(f"{source} cannot be read as a picture, an animation or a store: {reason}") from None
    return _Clip(frames, (None,) * len(frames), frame_dt)


def _check_length(num_frames: int, frame_dt: float) -> None:
    if num_frames * frame_dt > MAX_SECONDS:
        raise EnvError(f"a clip of up to {MAX_SECONDS:g} seconds can be edited; got {num_frames * frame_dt:.0f}")
