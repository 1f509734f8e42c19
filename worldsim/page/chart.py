"""Line charts over steps as inline SVG; the page's script marks the player's step and writes the values there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

__all__ = ["Series", "chart_html"]

_WIDTH, _HEIGHT = 360, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 8, 10, 26  # margins inside the picture

Values = Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a chart."""

    label: str
    values: Values
    """One per step, the first for step 1; None leaves a gap."""
    color: str = "model"
    """Name of a colour of the page: ``model``, ``truth``, ``other`` or ``faint``."""
    band: Sequence[tuple[float | None, float | None]] = ()
    """(low, high) per step, drawn behind the line."""
    dashed: bool = False


def chart_html(
    title: str, series: Sequence[Series], *, marks: Sequence[float] = (), limits: tuple[float, float] | None = None
) -> str:
    """Return a titled line chart over steps.

    Args:
        title: Plain text.
        series: Lines; all start at step 1.
        marks: Heights at which a faint line is drawn across.
        limits: Lowest and highest value shown; None fits the lines, bands and marks.
    """
    num_steps = max(len(line.values) for line in series)
    low, high = limits or _limits(series, marks)

    def x_of(step: float) -> float:
        return _LEFT + (step - 1) / max(num_steps - 1, 1) * (_WIDTH - _LEFT - _RIGHT)

    def y_of(value: float) -> float:
        return _TOP + (high - np.clip(value, low, high)) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = []
    for value in _ticks(low, high):
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y_of(value):.1f}" y2="{y_of(value):.1f}"/>'
        )
        parts.append(f'<text x="{_LEFT - 5}" y="{y_of(value) + 3.5:.1f}" text-anchor="end">{value:g}</text>')
    for step in _step_ticks(num_steps):
        parts.append(f'<text x="{x_of(step):.1f}" y="{_HEIGHT - 9}" text-anchor="middle">{step}</text>')
    for value in marks:
        parts.append(
            f'<line class="mark" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y_of(value):.1f}" y2="{y_of(value):.1f}"/>'
        )
    for line in series:
        if line.band:
            ends = [(s, lo, hi) for s, (lo, hi) in enumerate(line.band, 1) if lo is not None and hi is not None]
            upper = [f"{x_of(s):.1f},{y_of(hi):.1f}" for s, _, hi in ends]
            lower = [f"{x_of(s):.1f},{y_of(lo):.1f}" for s, lo, _ in reversed(ends)]
            parts.append(f'<polygon class="band {line.color}" points="{" ".join(upper + lower)}"/>')
    for line in reversed(series):  # the first line lies on top
        for run in _runs(line.values):
            run = run if len(run) > 1 else run * 2  # one point, from there to there with round ends, is a dot
            points = " ".join(f"{x_of(step):.1f},{y_of(value):.1f}" for step, value in run)
            dashed = " dashed" if line.dashed else ""
            parts.append(f'<polyline class="line {line.color}{dashed}" points="{points}"/>')
    parts.append(f'<line class="cursor" x1="{_LEFT}" x2="{_LEFT}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
    legend = "".join(
        f'<li class="{line.color}{" dashed" if line.dashed else ""}" '
        f'data-values="{escape(json.dumps(list(line.values)))}">'
        f"{escape(line.label)} <b></b></li>"
        for line in series
    )
    return f"""<figure class="chart" data-left="{_LEFT}" data-right="{_WIDTH - _RIGHT}" data-steps="{num_steps}">
<figcaption>{escape(title)}</figcaption>
<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)} per step">{"".join(parts)}</svg>
<ul>{legend}</ul>
</figure>"""


def _limits(series: Sequence[Series], marks: Sequence[float]) -> tuple[float, float]:
    values = [v for line in series for v in line.values if v is not None]
    values += [v for line in series for ends in line.band for v in ends if v is not None] + list(marks)
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Return three to seven round values between the limits."""
    raw = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(raw))
    size = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [round(i * size, 10) for i in range(int(np.ceil(low / size)), int(np.floor(high / size)) + 1)]


def _step_ticks(num_steps: int) -> list[int]:
    """Return the steps that are labelled: powers of two and the like, as many as do not touch."""
    kept: list[int] = []
    for step in (1, 4, 8, 16, 32, 64, 128, 256, 512):
        if step <= num_steps and (not kept or step - kept[-1] > 0.06 * num_steps):
            kept.append(step)
    return kept


def _runs(values: Values) -> list[list[tuple[int, float]]]:
    """Split a line at its gaps into runs of (step, value)."""
    runs: list[list[tuple[int, float]]] = [[]]
    for step, value in enumerate(values, 1):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((step, value))
    return [run for run in runs if run]
