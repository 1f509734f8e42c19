"""A run of the physics benchmark as one HTML file: clips side by side, curves, dose and response, fits, every table."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from worldsim.evaluate.physics.cases import read_cases
from worldsim.evaluate.physics.clip import Clip
from worldsim.evaluate.physics.extract import extract
from worldsim.evaluate.physics.scoring import PIXEL_METRICS
from worldsim.evaluate.physics.state_metrics import METRICS, score_clip, truth_tracks
from worldsim.evaluate.physics.suite import Run
from worldsim.page import Scene, Series, Track, chart_html, page_html, player_html

__all__ = ["ROW_NAMES", "report_html", "verdict"]

ROW_NAMES = {
    "truth": "truth (the floor of the ruler)",
    "truth_codec": "truth through JPEG, quality 30",
    "truth_film": "truth through H.264 (mp4)",
    "truth_perturbed": "truth, second take from a perturbed start (100)",
    "model": "model",
    "shuffled_actions": "model, actions of another clip",
    "known_law": "known law from the pixels' state, where there is one",
    "constant_acceleration": "constant acceleration in pixels",
    "linear": "constant speed in pixels",
    "nearest_training_clip": "nearest clip under training seeds",
    "copy_last": "copy of the last frame",
    "wrong_scene": "wrong scene",
}
"""What tables call the rows, in their order."""
_SHOWN = (
    *("ade", "velocity_rmse", "event_agreement", "contact_time_error", "permanence"),
    *("mse_moving", "iq_verified", "pisa_iou", "ssim"),
)
_CURVES = (
    ("position_error_m", "Position error (m)"),
    ("psnr_object", "PSNR where the objects are (dB)"),
    ("psnr_moving", "PSNR where the truth moved (dB)"),
    ("ssim", "Structural similarity"),
)
_STATE_CURVES = _CURVES[:2]
"""What is drawn of a world whose state is read; the others are in the JSON."""
_SCENARIOS = "In range, then out of it. Italic: within twice the floor, that is as good as the ruler can tell."
_OVERLAYS = "Over the last context frame: black the truth, blue the model, dashed the law fitted to the model."
_CONTROL = (
    "One start, one dimension of the action at several doses. What is imagined is read by the truth's own branches. "
    "Sign, gain and Spearman are 1 for the truth and 0.5, 0, 0 for a frozen video; p is of a permutation of the "
    "branches; a shuffled ratio of 1 says that another action would have done as well."
)
_DOSED = (
    *("sign", "gain", "spearman", "identified", "permutation_p", "delta_error", "shuffled_ratio", "zeroed_ratio"),
)
_FOLLOWED = (
    *("yaw_error_deg", "yaw_error_still_deg", "place_error_m", "place_error_still_m", "body_error_m", "state_gain"),
    *("mirror_ratio", "loop_return", "causality_levels"),
)
_CALLED = {
    **{"n": "starts", "permutation_p": "p", "causality_levels": "causality", "body_error_m": "body error m"},
    **{"yaw_error_deg": "yaw error °", "yaw_error_still_deg": "if still °"},
    **{"place_error_m": "place error m", "place_error_still_m": "if still m"},
}
_SCALE = 4
_STYLE = """
.overlay { display: inline-block; margin: 0 14px 18px 0; width: 300px; vertical-align: top; }
.overlay svg { width: 100%; height: auto; image-rendering: pixelated; border-radius: 4px; }
.overlay .truth { stroke: #16181d; } .overlay .model { stroke: #2563eb; } .overlay .fit { stroke: #d9730d; }
.overlay polyline { fill: none; stroke-width: 2.2; } .overlay .fit { stroke-dasharray: 5 4; }
.dose { display: inline-block; margin: 0 18px 18px 0; width: 210px; }
.dose svg { width: 100%; } .dose text { font-size: 10px; fill: var(--soft); }
.dose circle { fill: var(--model); opacity: .75; } .dose line { stroke: var(--edge); }
.dose .one { stroke: var(--soft); }
td.floor { color: var(--soft); font-style: italic; }
h3 { font-size: 1rem; margin: 20px 0 6px; }
.scroll + .scroll { margin-top: 18px; }
"""


def verdict(figures: Mapping[str, Any]) -> str:
    """Return the outcome in two or three sentences."""
    head, out = figures["headline"], figures["headline_out_of_range"]
    rows = figures["rows"]
    if head["value"] is None:
        return "No metric could tell a second take of the truth from a frozen video: these clips decide nothing."
    scenarios = f"{head['scenarios']} scenario{'s' if head['scenarios'] > 1 else ''}"
    text = (
        f"{figures['model']} scores {head['value']:.0f} of 100 in range "
        f"({_spread(head)}{head['n']} clips of {scenarios})"
    )
    if out and out["value"] is not None:
        text += f" and {out['value']:.0f} out of range ({_spread(out)}{out['n']} clips)"
    beside = []
    for row in ("linear", "constant_acceleration", "nearest_training_clip", "copy_last"):
        if row in rows and (value := rows[row]["headline"]["value"]) is not None:
            beside.append(f"{ROW_NAMES[row]} {value:.0f}")
    text += "; 100 is a second take of the truth, 0 the better of a frozen video and a wrong scene. "
    return text + "Beside it: " + ", ".join(beside) + "."


def _spread(head: Mapping[str, Any]) -> str:
    return "" if head["lo"] is None else f"{head['lo']:.0f} to {head['hi']:.0f}, "


def report_html(figures: Mapping[str, Any], run: Run) -> str:
    """Return a run as one HTML document.

    Args:
        figures: The JSON of the run.
        run: Where its clips and frames are.
    """
    shown = {name: value for name, value in figures.items() if name != "curves"}
    title = f"Physics of {figures['model']} on {figures['suite']}"
    cases = _shown_cases(run)
    overlays = [_overlay(key, clip, frames) for key, clip, frames in cases if clip.objects and clip.split == "train"]
    what = "State read from frames, in metres and seconds," if overlays else "Frames, and poses decoded from them,"
    body = f"""
<h1>{escape(title)}</h1>
<p class="soft">{what} against the simulator's.</p>
<p class="verdict">{escape(verdict(figures))}</p>
{"".join(f'<p class="warning">{escape(text)}</p>' for text in figures["notes"])}
{_player(run, cases)}
{_section("Rows", _rows_table(figures))}
{_section("Scenario by scenario", _scenario_tables(figures), _SCENARIOS)}
{_section("Over the horizon", _curves(figures))}
{_section("Trajectories and fitted laws", "".join(overlays), _OVERLAYS)}
{_section("Control", _control(figures["control"]), _CONTROL)}
{_section("Text", _part(figures["text"], ("both_right", "right", "sensitivity", "n")))}
{_section("Uncertainty", _uncertainty(figures["uncertainty"]))}
{_section("Planted corruptions", _corruptions(figures["corruptions"]))}
{_section("Settings", _facts(figures["run"]))}
<details><summary>What the figures mean</summary>{_meanings()}</details>
<details><summary>All figures as JSON</summary><pre>{_pretty(shown)}</pre></details>
"""
    return page_html(title, body, style=_STYLE)


def _section(title: str, content: str, text: str = "") -> str:
    """Return a section, or nothing where the plan asked for nothing."""
    explained = f'<p class="soft">{text}</p>' if text else ""
    return f"<h2>{title}</h2>{explained}{content}" if content else ""


def _shown_cases(run: Run) -> list[tuple[str, Clip, np.ndarray]]:
    """Return the first clip of every scenario, in range and out of it, with what the model made of it."""
    seen: dict[tuple[str, bool], str] = {}
    for key in run.keys:
        scenario, split, _ = key.split(".")
        seen.setdefault((scenario, split == "train"), key)
    keys = list(seen.values())
    clips = (case.clip for case in read_cases(run.truth / "clips", keys))
    return [(key, clip, run.frames(f"{key}.sample0")) for key, clip in zip(keys, clips, strict=True)]


def _player(run: Run, cases: Sequence[tuple[str, Clip, np.ndarray]]) -> str:
    scenes = []
    for key, clip, frames in cases:
        last = clip.context[-1:]
        text = f"{clip.caption['en']} · {clip.caption['zh']}" if clip.caption else ""
        scenes.append(
            Scene(
                title=key.replace(".", " · "),
                tracks=[
                    Track(label="truth", frames=np.concatenate([last, clip.future])),
                    Track(label="imagined", frames=np.concatenate([last, frames])),
                ],
                captions=[(0, text)] if text else [],
            )
        )
    return player_html(scenes, frame_dt=cases[0][1].dt, first_step=min(8, run.plan.horizon))


def _rows_table(figures: Mapping[str, Any]) -> str:
    rows = figures["rows"]
    metrics = [m for m in _SHOWN if any(m in row["metrics"] for row in rows.values())]
    has_outside = any(row["headline_out_of_range"] for row in rows.values())
    heads = [
        "row",
        "score in range",
        *(["out of range"] if has_outside else []),
        *(m.replace("_", " ") for m in metrics),
        "p to model",
    ]
    lines = []
    for name, label in ROW_NAMES.items():
        if (row := rows.get(name)) is None:
            continue
        values = [_number(row["metrics"].get(m, {}).get("value")) for m in metrics]
        paired = figures["paired"].get(name)
        lines.append(
            [label, _interval(row["headline"]), *([_interval(row["headline_out_of_range"])] if has_outside else []),
             *values, _number(paired["p"], 3) if paired else "–"]
        )  # fmt: skip
    return _table(heads, lines)


def _scenario_tables(figures: Mapping[str, Any]) -> str:
    parts = []
    for name, figure in figures["scenarios"].items():
        outside = {split: found[name] for split, found in figures["out_of_range"].items() if found.get(name)}
        heads = ["metric", "unit", "floor", "second take", "copy-last", "in range", "95% interval", "n", *outside]
        lines = []
        for metric, cell in figure.items():
            if metric not in METRICS:
                continue
            beside = [
                _number(figures["rows"][row]["scenarios"][name].get(metric)) for row in ("truth_perturbed", "copy_last")
            ]
            value = _cell(cell)
            interval = f"{_number(cell['lo'])} to {_number(cell['hi'])}"
            others = [_cell(found[metric]) if metric in found else "–" for found in outside.values()]
            unit, floor = METRICS[metric][0], _number(figures["floor"][name].get(metric))
            lines.append([metric.replace("_", " "), unit, floor, *beside, value, interval, str(cell["n"]), *others])
        if lines:
            admitted = ", ".join(figures["admitted"][name]) or "none"
            summary = f"<summary>{escape(name)} <span class='soft'>in the headline: {escape(admitted)}</span></summary>"
            parts.append(f"<details>{summary}{_table(heads, lines)}</details>")
    return "".join(parts)


def _cell(cell: Mapping[str, Any]) -> str:
    return f"\x01{_number(cell['value'])}" if cell["at_floor"] else _number(cell["value"])


def _curves(figures: Mapping[str, Any]) -> str:
    charts = []
    for scenario, rows in figures["curves"].items():
        has_state = "position_error_m" in rows["model"]
        for curve, title in _STATE_CURVES if has_state else _CURVES[2:]:
            lines = [Series(label="model", values=rows["model"][curve])]
            styles = (("truth_perturbed", "truth", False), ("copy_last", "other", False), ("linear", "other", True))
            for row, color, dashed in (*styles, ("truth", "faint", True)):
                if curve in rows.get(row, {}) and not (row == "truth" and curve != "position_error_m"):
                    label = ROW_NAMES[row].split(",")[0] if row != "truth_perturbed" else "second take"
                    lines.append(Series(label=label, values=rows[row][curve], color=color, dashed=dashed))
            charts.append(chart_html(f"{scenario}: {title}", lines))
    return f'<div class="charts">{"".join(charts)}</div>'


def _overlay(key: str, clip: Clip, frames: np.ndarray) -> str:
    """Return a picture of true and imagined paths with the laws fitted to the imagined one."""
    tracks = extract(clip.with_future(frames), clip)
    true = truth_tracks(clip)
    begin = clip.num_context - 1
    parts = []
    for k in range(len(tracks.names)):
        parts.append(_path(true.px[begin:, k], "truth"))
        parts.append(_path(tracks.px[begin:, k], "model"))
    drawn = score_clip(clip, tracks).fits
    parts += [_path(np.asarray(fit.px), "fit") for fit in drawn]
    laws = "; ".join(fit.label for fit in drawn)
    buffer = io.BytesIO()
    Image.fromarray(clip.context[-1]).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f'width="{_SCALE * clip.width}" height="{_SCALE * clip.height}"'
    return (
        f'<figure class="overlay"><svg viewBox="0 0 {_SCALE * clip.width} {_SCALE * clip.height}">'
        f'<image href="data:image/png;base64,{data}" {size} style="image-rendering:pixelated" opacity=".55"/>'
        f'{"".join(parts)}</svg><figcaption class="hint">{escape(key.replace(".", " · "))}'
        f"{': ' + escape(laws) if laws else ''}</figcaption></figure>"
    )


def _path(px: np.ndarray, kind: str) -> str:
    """Return a line through points (n, 2), broken where they are not known."""
    runs: list[list[str]] = [[]]
    for u, v in px:
        if np.isfinite(u) and np.isfinite(v):
            runs[-1].append(f"{_SCALE * u:.1f},{_SCALE * v:.1f}")
        elif runs[-1]:
            runs.append([])
    return "".join(f'<polyline class="{kind}" points="{" ".join(run)}"/>' for run in runs if len(run) > 1)


def _control(control: Mapping[str, Any]) -> str:
    plots = "".join(_dose_plot(probe, rows["model"]) for probe, rows in control.items() if "model" in rows)
    tables = _control_table(control, ("n", *_DOSED)) + _control_table(control, _FOLLOWED)
    return f"{tables}<div>{plots}</div>" if control else ""


def _control_table(control: Mapping[str, Any], names: Sequence[str]) -> str:
    found = [rows[row] for rows in control.values() for row in rows]
    asked = [name for name in names if any(figures.get(name) is not None for figures in found)]
    lines = [
        [f"{probe}: {label}", *(_number(rows[row].get(name)) for name in asked)]
        for probe, rows in control.items()
        for row, label in (("model", "model"), ("copy_last", "frozen"), ("truth_opposite", "truth, opposite dose"))
        if row in rows and any(rows[row].get(name) is not None for name in asked)
    ]
    return _table(["probe", *(_CALLED.get(name, name.replace("_", " ")) for name in asked)], lines)


def _dose_plot(probe: str, found: Mapping[str, Any]) -> str:
    most = max(abs(d) for d in found["doses"])

    def at(value: float) -> float:
        return 100 * value / most

    dots = "".join(
        f'<circle cx="{at(c):.1f}" cy="{-at(d):.1f}" r="4"/>'
        for c, d in zip(found["dose"], found["decoded"], strict=True)
    )
    return (
        '<figure class="dose"><svg viewBox="-120 -120 240 240" role="img">'
        '<line x1="-110" x2="110" y1="0" y2="0"/><line y1="-110" y2="110" x1="0" x2="0"/>'
        f'<line class="one" x1="-100" y1="100" x2="100" y2="-100" stroke-dasharray="4 4"/>{dots}'
        f'<text x="-118" y="-108">seen, to {most:g}</text><text x="40" y="116">told, to {most:g}</text></svg>'
        f'<figcaption class="hint">{escape(probe)}: gain {_number(found["gain"])}</figcaption></figure>'
    )


def _part(part: Mapping[str, Any], names: Sequence[str]) -> str:
    lines = [
        [f"{what}: {row}", *(_number(found.get(name)) for name in names)]
        for what, rows in part.items()
        for row, found in rows.items()
    ]
    heads = ["", *(name.replace("_", " ") for name in names)]
    return _table(heads, lines) if lines else ""


def _uncertainty(part: Mapping[str, Any]) -> str:
    lines = []
    for scenario, clips in part.items():
        for row in ("truth_again", "model", "copy_last"):
            found = [clip[row] for clip in clips if row in clip]
            if found:
                end = [np.mean([clip[name][-1] for clip in found]) for name in ("crps", "energy_score")]
                widest = [clip["coverage"][0] if clip["coverage"] else None for clip in found]
                expected = found[0]["expected"][0] if found[0]["expected"] else None
                spread = _mean([clip["spread_skill"] for clip in found])
                lines.append(
                    [f"{scenario}: {row.replace('_', ' ')}", *map(_number, end), _number(_mean(widest)),
                     _number(expected), _number(spread), str(found[0]["samples"]), str(len(found))]
                )  # fmt: skip
    heads = ["", "CRPS at the end (m)", "energy score (m)", "coverage", "if calibrated", "spread / error"]
    heads += ["samples", "clips"]
    return _table(heads, lines) if lines else ""


def _corruptions(found: Mapping[str, Any]) -> str:
    lines = []
    for name, entry in found.items():
        by = ", ".join(metric.replace("_", " ") for metric in entry["by"])
        lines.append([name.replace("_", " "), f"{entry['caught']} of {entry['n']}", by])
    return _table(["planted into the truth", "caught", "most often by"], lines) if lines else ""


def _mean(values: Sequence[float | None]) -> float | None:
    kept = [v for v in values if v is not None]
    return float(np.mean(kept)) if kept else None


def _facts(facts: Mapping[str, Any]) -> str:
    cells = "".join(f"<div><dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd></div>" for k, v in facts.items())
    return f'<dl class="facts">{cells}</dl>'


def _meanings() -> str:
    lines = [(name, *entry) for name, entry in (*METRICS.items(), *PIXEL_METRICS.items())]
    items = "".join(
        f"<li><b>{escape(name)}</b> ({escape(str(unit)) or 'no unit'}, {better} is better): {escape(str(meaning))}</li>"
        for name, unit, better, _, meaning in lines
    )
    return f"<ul>{items}</ul>"


def _interval(head: Mapping[str, Any] | None) -> str:
    if head is None or head["value"] is None:
        return "–"
    return f"{head['value']:.0f}" + ("" if head["lo"] is None else f" ({head['lo']:.0f}–{head['hi']:.0f})")


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(_td(cell) for cell in line) + "</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _td(cell: str) -> str:
    return f'<td class="floor">{escape(cell[1:])}</td>' if cell.startswith("\x01") else f"<td>{escape(cell)}</td>"


def _number(value: Any, digits: int | None = None) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    if isinstance(value, int):
        return str(value)
    if abs(value) < 1e-9:
        value = 0.0
    if 0 < abs(value) < 5e-4:
        return "<0.001"
    if digits is None:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:.{digits}f}"


def _pretty(value: Any) -> str:
    return escape(json.dumps(value, indent=1, ensure_ascii=False, default=str))
