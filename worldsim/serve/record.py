"""A drive to take home: an animation, a store of rollouts, or a page with the frame player.

Whatever shows imagined frames says so: in the picture itself, in the store as ``source``, on the page as a label.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worldsim.page import Scene, Track, page_html, player_html
from worldsim.rollout import Rollout
from worldsim.store import RolloutStore

__all__ = ["gif_bytes", "html_text", "store_bytes"]

_SIDE = 256  # pixels, the longer side of a world in a GIF
_BAR, _GAP, _MARGIN = 22, 6, 6  # pixels


def gif_bytes(imagined: Rollout, true: Rollout) -> bytes:
    """Return both worlds side by side as an animated GIF at the worlds' own speed; "imagined" stands in every frame."""
    frames = [
        _side_by_side(
            imagined.obs[min(t, len(imagined))], true.obs[min(t, len(true))], t > len(imagined), t > len(true)
        )
        for t in range(max(len(imagined), len(true)) + 1)
    ]
    out = io.BytesIO()
    first, *rest = [frame.quantize(128, Image.Quantize.FASTOCTREE) for frame in frames]
    first.save(
        out,
        "GIF",
        save_all=True,
        append_images=rest,
        duration=round(1000 * imagined.control_dt),
        loop=0,
        optimize=False,
    )
    return out.getvalue()


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


def _side_by_side(imagined: np.ndarray, true: np.ndarray, imagined_over: bool, true_over: bool) -> Image.Image:
    height, width, _ = imagined.shape
    scale = max(1, _SIDE // max(height, width))
    size = (width * scale, height * scale)
    picture = Image.new("RGB", (2 * size[0] + _GAP, size[1] + _BAR), (16, 18, 22))
    draw = ImageDraw.Draw(picture)
    columns = ((true, "truth", true_over, (236, 238, 242)), (imagined, "imagined", imagined_over, (110, 168, 254)))
    for i, (frame, label, is_over, color) in enumerate(columns):
        x = i * (size[0] + _GAP)
        picture.paste(Image.fromarray(frame).resize(size, Image.Resampling.NEAREST), (x, _BAR))
        draw.text((x + _MARGIN, 4), label + " (ended)" * is_over, color, font=ImageFont.load_default(13))
    return picture
