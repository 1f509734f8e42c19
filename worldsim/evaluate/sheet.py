"""A contact sheet: truth over imagined, clip by clip, at the steps that the tables show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worldsim.evaluate.clips import Pair, conditions_of
from worldsim.evaluate.html import table_steps

__all__ = ["contact_sheet"]

_SIDE = 192  # px, about the width of an enlarged frame
_MARGIN, _GAP, _LABELS = 16, 4, 132  # px
_GROUND, _INK, _SOFT, _EMPTY = "white", "#16181d", "#5b6270", "#eceef2"


def contact_sheet(rollouts: Sequence[Pair], path: str | Path) -> Path:
    """Write a PNG with two rows per clip, the truth and below it what was imagined, and one column per step.

    Args:
        rollouts: Both rollouts of every clip, as in ``report.rollouts``.
        path: File to write; its folder is made.
    """
    height, width = rollouts[0].truth.obs.shape[1:3]
    scale = max(1, round(_SIDE / max(height, width)))
    height, width = scale * height, scale * width
    steps = table_steps(max(len(pair.truth) for pair in rollouts))
    clip_height = 2 * height + _GAP + _MARGIN
    head = 40
    size = (_LABELS + len(steps) * (width + _GAP) + _MARGIN, head + len(rollouts) * clip_height)
    sheet = Image.new("RGB", size, _GROUND)
    draw, font, small = ImageDraw.Draw(sheet), ImageFont.load_default(18), ImageFont.load_default(14)
    dt = rollouts[0].truth.control_dt
    for column, step in enumerate(steps):
        x = _LABELS + column * (width + _GAP)
        draw.text((x + width / 2, head / 2), f"step {step} ({step * dt:.1f} s)", _INK, font, anchor="mm")
    for row, pair in enumerate(rollouts):
        y = head + row * clip_height
        draw.text((_MARGIN, y + 6), "truth", _INK, font)
        lines = [f"seed {pair.truth.seed}", *conditions_of(pair.truth).values()]
        draw.multiline_text((_MARGIN, y + 34), "\n".join(lines), _SOFT, small)
        draw.text((_MARGIN, y + height + _GAP + 6), "imagined", _INK, font)
        for column, step in enumerate(steps):
            x = _LABELS + column * (width + _GAP)
            for i, rollout in enumerate((pair.truth, pair.imagined)):
                at = (x, y + i * (height + _GAP))
                if step <= len(rollout):
                    sheet.paste(_enlarged(rollout.obs[step], scale), at)
                else:
                    draw.rectangle((*at, at[0] + width - 1, at[1] + height - 1), _EMPTY)
                    draw.text((at[0] + width / 2, at[1] + height / 2), "ended", _SOFT, small, anchor="mm")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    return path


def _enlarged(frame: np.ndarray, scale: int) -> Image.Image:
    return Image.fromarray(frame.repeat(scale, axis=0).repeat(scale, axis=1))
