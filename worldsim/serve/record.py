"""A drive to take home: an animation, a store of rollouts, or a page with the frame player.

Whatever shows imagined frames says so: in the picture itself, in the store as ``source``, on the page as a label.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worldsim.page import Scene, Track, page_html, player_html
from worldsim.rollout import Rollout
from worldsim.store import RolloutStore
from worldsim.store.formats.films import FilmWriter

__all__ = ["gif_bytes", "gif_film", "html_text", "labelled", "mp4_bytes", "mp4_film", "store_bytes"]

_SIDE = 256  # pixels, the longer side of a world in a GIF
_BAR, _GAP, _MARGIN = 22, 6, 6  # pixels


def gif_bytes(imagined: Rollout, true: Rollout) -> bytes:
    """Return both worlds side by side as an animated GIF at the worlds' own speed; "imagined" stands in every frame."""
    return gif_film(_side_by_side(imagined, true), true.control_dt)


def mp4_bytes(imagined: Rollout, true: Rollout) -> bytes:
    """Return both worlds side by side as an H.264 film at the worlds' own speed; "imagined" stands in every frame.

    Raises:
        MissingExtraError: If PyAV is not installed.
    """
    return mp4_film(_side_by_side(imagined, true), true.control_dt)


def gif_film(frames: Iterable[Image.Image], frame_dt: float) -> bytes:
    """Return pictures, at least one, as an animated GIF, ``frame_dt`` seconds each."""
    out = io.BytesIO()
    rest = (frame.quantize(128, Image.Quantize.FASTOCTREE) for frame in frames)
    first = next(rest)
    first.save(out, "GIF", save_all=True, append_images=rest, duration=round(1000 * frame_dt), loop=0, optimize=False)
    return out.getvalue()


def mp4_film(frames: Iterable[Image.Image], frame_dt: float) -> bytes:
    """Return pictures, at least one, as an H.264 film, ``frame_dt`` seconds each.

    Raises:
        MissingExtraError: If PyAV is not installed.
    """
    rate = Fraction(1 / frame_dt).limit_denominator(1000)
    rest = (np.asarray(frame) for frame in frames)
    first = next(rest)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with FilmWriter(path, first.shape[0], first.shape[1], rate, extra="play") as film:
            film.add(chain([first], rest))
        return path.read_bytes()


def _side_by_side(imagined: Rollout, true: Rollout) -> Iterator[Image.Image]:
    """Yield the pictures one by one: enlarged, those of a long drive would fill the memory."""
    sides = (("truth", true), ("imagined", imagined))
    for t in range(max(len(imagined), len(true)) + 1):
        yield labelled([(r.obs[min(t, len(r))], label + " (ended)" * (t > len(r))) for label, r in sides])


def labelled(frames: Sequence[tuple[np.ndarray, str]]) -> Image.Image:
    """Return frames (H, W, 3) uint8 of one size side by side, enlarged, each under its label."""
    height, width, _ = frames[0][0].shape
    scale = max(1, _SIDE // max(height, width))
    size = (width * scale, height * scale)
    picture = Image.new("RGB", (len(frames) * (size[0] + _GAP) - _GAP, size[1] + _BAR), (16, 18, 22))
    draw = ImageDraw.Draw(picture)
    for i, (frame, label) in enumerate(frames):
        x = i * (size[0] + _GAP)
        picture.paste(Image.fromarray(frame).resize(size, Image.Resampling.NEAREST), (x, _BAR))
        color = (110, 168, 254) if label.startswith("imagined") else (236, 238, 242)
        draw.text((x + _MARGIN, 4), label, color, font=ImageFont.load_default(13))
    return picture


def store_bytes(imagined: Rollout, true: Rollout) -> bytes:
    """Return a zip file of a rollout store: episode 0 imagined, episode 1 true."""
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "drive"
        RolloutStore.create(root).append([imagined, true], run_id="play")
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # chunks are compressed already
            for path in sorted(root.rglob("*")):
                archive.write(path, path.relative_to(folder))
    return out.getvalue()


def html_text(imagined: Rollout, true: Rollout) -> str:
    """Return a page that plays the drive up to the first end, needing nothing but itself."""
    num_steps = min(len(imagined), len(true))
    scene = Scene(
        title=f"seed {true.seed}",
        tracks=[
            Track(label="truth", frames=true.obs[: num_steps + 1]),
            Track(label=f"imagined by {imagined.model}", frames=imagined.obs[: num_steps + 1]),
        ],
        captions=[(caption.t, f"{caption.en} / {caption.zh}") for caption in true.caption],
        actions=true.action[:num_steps].reshape(num_steps, -1) if true.action.ndim > 1 else true.action[:num_steps],
    )
    player = player_html(
        [scene], frame_dt=true.control_dt, action_names=[dim.name for dim in true.action_spec] or ["action"]
    )
    return page_html("A drive through two worlds", f"<h1>A drive through two worlds</h1>\n{player}")
