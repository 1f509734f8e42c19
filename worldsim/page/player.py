"""The synchronised frame player: several rollouts of one scene, frame beside frame, and their difference."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from worldsim.errors import EnvError

__all__ = ["Scene", "Track", "player_html"]

_SHEET_COLUMNS = 8  # or more where a sheet would become too high
_LONGEST = 16_383  # px, of a side of a WebP image
_SPEEDS = (0.25, 0.5, 1, 2, 4)
_DIFFERENCE_GAIN = 2


@dataclass(frozen=True, kw_only=True)
class Track:
    """Frames under one label."""

    label: str
    frames: np.ndarray
    """(T + 1, H, W, 3) uint8; frame 0 is the start."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is played together: tracks of the same length and size.

    Raises:
        EnvError: If the tracks differ in length or size.
    """

    title: str
    tracks: Sequence[Track]
    captions: Sequence[tuple[int, str]] = ()
    """(step, text): each text holds from its step on."""
    actions: np.ndarray | None = None
    """(T, A) in [-1, 1], or (T,) numbers of choices; action t leads to frame t + 1."""

    def __post_init__(self) -> None:
        shapes = {track.frames.shape for track in self.tracks}
        if len(shapes) != 1:
            raise EnvError(f"tracks of a scene need one shape (T + 1, H, W, 3); got {sorted(shapes)}")


def player_html(
    scenes: Sequence[Scene],
    *,
    frame_dt: float,
    action_names: Sequence[str] = (),
    difference: tuple[int, int] | None = (0, 1),
    first_step: int = 0,
) -> str:
    """Return the HTML of a player, to be put on a page made by ``page_html``.

    Args:
        scenes: What can be chosen; all with the same labels.
        frame_dt: Seconds per step at normal speed.
        action_names: Name per dimension of the actions.
        difference: Two tracks whose absolute difference is shown behind them; computed in the browser. None shows none.
        first_step: Step shown at first.
    """
    labels = [track.label for track in scenes[0].tracks]
    if difference is not None:
        labels.append(f"difference ×{_DIFFERENCE_GAIN}")
    data = {
        "scenes": [_scene_data(scene) for scene in scenes],
        "frameSeconds": frame_dt,
        "actionNames": list(action_names),
        "difference": difference,
        "gain": _DIFFERENCE_GAIN,
        "firstStep": first_step,
    }
    views = "".join(f"<figure><canvas></canvas><figcaption>{escape(label)}</figcaption></figure>" for label in labels)
    options = "".join(f'<option value="{i}">{escape(scene.title)}</option>' for i, scene in enumerate(scenes))
    speeds = "".join(
        f'<option value="{speed}"{" selected" if speed == 1 else ""}>{speed:g}×</option>' for speed in _SPEEDS
    )
    return f"""<section class="player" aria-label="Frame player">
<div class="views">{views}</div>
<div class="bar">
<input class="slider" type="range" min="0" max="1" value="0" aria-label="Step">
<output class="clock"></output>
</div>
<div class="bar">
<button type="button" class="back" title="One step back (left arrow)" aria-label="One step back">‹</button>
<button type="button" class="play" title="Play or pause (space)">Play</button>
<button type="button" class="forward" title="One step on (right arrow)" aria-label="One step on">›</button>
<label>clip <select class="scene">{options}</select></label>
<label>speed <select class="speed">{speeds}</select></label>
</div>
<div class="now"><div class="actions"></div><p class="caption"></p></div>
<p class="hint">Keys: space plays, ← → step, ↑ ↓ change the clip, Home and End jump.</p>
<script type="application/json" class="data">{_script_json(data)}</script>
</section>"""


def _scene_data(scene: Scene) -> dict[str, Any]:
    num_frames, height, width, _ = scene.tracks[0].frames.shape
    columns = _columns(num_frames, height, width)
    return {
        "numFrames": num_frames,
        "height": height,
        "width": width,
        "columns": columns,
        "sheets": [_sheet(track.frames, columns) for track in scene.tracks],
        "captions": [list(caption) for caption in scene.captions],
        "actions": None if scene.actions is None else np.round(scene.actions.astype(np.float64), 2).tolist(),
    }


def _columns(num_frames: int, height: int, width: int) -> int:
    """Return how many frames stand side by side, so that neither side of the sheet is longer than WebP allows.

    Raises:
        EnvError: If there are too many frames for one image.
    """
    most_rows = _LONGEST // height
    columns = max(_SHEET_COLUMNS, -(-num_frames // most_rows))
    if columns * width > _LONGEST:
        raise EnvError(
            f"a page holds at most {most_rows * (_LONGEST // width):,} frames of {height}x{width} per clip; "
            f"got {num_frames:,}: show fewer steps"
        )
    return columns


def _sheet(frames: np.ndarray, columns: int) -> str:
    """Return all frames as one lossless image, row by row, as a data URI."""
    num_frames, height, width, _ = frames.shape
    num_rows = -(-num_frames // columns)
    sheet = np.zeros((num_rows * columns, height, width, 3), np.uint8)
    sheet[:num_frames] = frames
    grid = sheet.reshape(num_rows, columns, height, width, 3).swapaxes(1, 2)  # (rows, H, columns, W, 3)
    out = io.BytesIO()
    Image.fromarray(grid.reshape(num_rows * height, columns * width, 3)).save(out, "WEBP", lossless=True, quality=20)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def _script_json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
