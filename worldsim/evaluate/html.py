"""A comparison as one HTML file that needs no network: player, tables, curves, settings, limits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from worldsim._json import plain
from worldsim.evaluate.clips import Pair, conditions_of
from worldsim.evaluate.sentences import limits, verdict
from worldsim.page import Scene, Series, Track, chart_html, page_html, player_html
from worldsim.rollout import Rollout

__all__ = ["TABLE_STEPS", "report_html", "table_steps"]

TABLE_STEPS = (1, 4, 8, 16, 32, 64)
"""Steps that tables and contact sheets show."""
_PER_STEP = ("skill", "skill_ci", "skill_moving", "skill_mean8", "psnr", "psnr_copy_last", "ssim", "sharpness", "n")
_ROW_NAMES = {
    "model": "model",
    "shuffled_actions": "model, actions of another clip",
    "linear_extrapolation": "linear extrapolation of pixels",
    "copy_last": "copy of the last frame",
    "truth": "truth (the ceiling)",
}


def table_steps(horizon: int) -> list[int]:
    """Return TABLE_STEPS up to a horizon."""
    return [step for step in TABLE_STEPS if step <= horizon]


def report_html(
    figures: Mapping[str, Any], rollouts: Sequence[Pair], card: Mapping[str, Any], *, max_clips: int
) -> str:
    """Return a comparison as one HTML document.

    Args:
        figures: The JSON of a report.
        rollouts: Both rollouts of every clip.
        card: Data card of the model.
        max_clips: Most clips in the player, the first ones.
    """
    title = f"{figures['model']} beside {figures['env']}"
    body = f"""
<h1>{escape(title)}</h1>
<p class="soft">The same starts and the same actions, once in the true world and once imagined, frame by frame.</p>
<p class="verdict">{escape(verdict(figures))}</p>
{"".join(f'<p class="warning">{escape(text)}</p>' for text in figures["warnings"])}
{_player(figures, rollouts, max_clips)}
<h2>Step by step</h2>
{_steps_table(figures)}
<div class="charts">{_charts(figures)}</div>
<h2>Beside other predictors</h2>
{_rows_table(figures)}
{_conditions_table(figures)}
<h2>What the model cannot do</h2>
<ul>{"".join(f"<li>{escape(text)}</li>" for text in limits(figures))}</ul>
<h2>Settings</h2>
{_settings(figures)}
<details><summary>What the figures mean</summary>{_MEANINGS}</details>
<details><summary>Data card of the model</summary><pre>{_pretty(card)}</pre></details>
<details><summary>All figures as JSON</summary><pre>{_pretty(figures)}</pre></details>
"""
    return page_html(title, body)


def _player(figures: Mapping[str, Any], rollouts: Sequence[Pair], max_clips: int) -> str:
    scenes = [_scene(i, pair, figures["horizon"]) for i, pair in enumerate(rollouts[:max_clips])]
    first = rollouts[0].truth
    shown = len(scenes)
    note = f"The first {shown} of {len(rollouts)} clips; the figures are of all." if shown < len(rollouts) else ""
    player = player_html(
        scenes,
        frame_dt=first.control_dt,
        action_names=_action_names(first),
        first_step=min(8, figures["horizon"]),
    )
    return player + (f'<p class="hint">{note}</p>' if note else "")


def _scene(i: int, pair: Pair, horizon: int) -> Scene:
    truth = pair.truth
    factors = conditions_of(truth).values()
    title = f"{i + 1} · seed {truth.seed}" + (f" · {', '.join(factors)}" if factors else "")
    if len(truth) < horizon:
        title += f" · ends at {len(truth)}"
    actions = truth.action.reshape(len(truth), -1)
    return Scene(
        title=title,
        tracks=[Track(label="truth", frames=truth.obs), Track(label="imagined", frames=pair.imagined.obs)],
        captions=[(caption.t, f"{caption.en} · {caption.zh}") for caption in truth.caption],
        actions=actions,
    )


def _action_names(rollout: Rollout) -> list[str]:
    num = rollout.action.reshape(len(rollout), -1).shape[1]
    return [dim.name for dim in rollout.action_spec] or (
        ["action"] if num == 1 else [f"action {i}" for i in range(num)]
    )


def _charts(figures: Mapping[str, Any]) -> str:
    shuffled = figures["rows"].get("shuffled_actions")
    skill = [
        Series(label="model, with its 95% interval", values=figures["skill"], band=figures["skill_ci"]),
        Series(label="on moving pixels", values=figures["skill_moving"], dashed=True),
        Series(label="mean of 8 samples", values=figures["skill_mean8"], color="truth"),
    ]
    if shuffled:
        skill.append(Series(label="actions of another clip", values=shuffled["skill"], color="other"))
    return "".join(
        [
            chart_html("Skill: 1 is the truth, 0 the last frame", skill, marks=[0], limits=_skill_limits(figures)),
            chart_html(
                "PSNR of the pooled error (dB)",
                [
                    Series(label="model", values=figures["psnr"]),
                    Series(label="copy of the last frame", values=figures["psnr_copy_last"], color="other"),
                ],
            ),
            chart_html(
                "Sharpness: 1 is as sharp as the truth",
                [Series(label="model", values=figures["sharpness"])],
                marks=[1],
                limits=(0.0, max([1.4, *(v for v in figures["sharpness"] if v is not None)])),
            ),
            chart_html(
                "Structural similarity",
                [
                    Series(label="model", values=figures["ssim"]),
                    Series(label="copy of the last frame", values=figures["rows"]["copy_last"]["ssim"], color="other"),
                ],
                limits=(0.0, 1.0),
            ),
        ]
    )


def _skill_limits(figures: Mapping[str, Any]) -> tuple[float, float]:
    lowest = min([0.0, *(v for v in figures["skill"] if v is not None)])
    return max(lowest - 0.1, -2.0), 1.0


def _steps_table(figures: Mapping[str, Any]) -> str:
    heads = ["step", "skill", "95% interval", "moving pixels", "mean of 8"]
    heads += ["PSNR dB", "copy-last dB", "SSIM", "sharpness", "clips"]
    rows = []
    for step in table_steps(figures["horizon"]):
        now = {name: figures[name][step - 1] for name in _PER_STEP}
        low, high = now["skill_ci"]
        interval = "–" if low is None else f"{low:.2f} to {high:.2f}"
        rows.append(
            [
                *(
                    str(step),
                    _number(now["skill"]),
                    interval,
                    _number(now["skill_moving"]),
                    _number(now["skill_mean8"]),
                ),
                *(_number(now["psnr"], 1), _number(now["psnr_copy_last"], 1)),
                *(_number(now["ssim"]), _number(now["sharpness"]), str(now["n"])),
            ]
        )
    return _table(heads, rows)


def _rows_table(figures: Mapping[str, Any]) -> str:
    steps = [step for step in (1, 8, 16) if step <= figures["horizon"]]
    heads = ["predictor", *(f"skill at {step}" for step in steps), *(f"sharpness at {step}" for step in steps)]
    rows = []
    for key, name in _ROW_NAMES.items():
        if row := figures["rows"].get(key):
            values = [*(row["skill"][step - 1] for step in steps), *(row["sharpness"][step - 1] for step in steps)]
            rows.append([name, *map(_number, values)])
    return _table(heads, rows)


def _conditions_table(figures: Mapping[str, Any]) -> str:
    if not figures["conditions"]:
        return ""
    rows, steps = [], []
    for factor, values in figures["conditions"].items():
        for value, row in values.items():
            steps = list(row["skill"])
            rows.append(
                [f"{factor.replace('_', ' ')}: {value}", *map(_number, row["skill"].values()), str(row["episodes"])]
            )
    return "<h2>By condition</h2>" + _table(["condition", *(f"skill at {step}" for step in steps), "clips"], rows)


def _settings(figures: Mapping[str, Any]) -> str:
    seeds = figures["clips"]["seeds"]
    facts = {
        "model": f"{figures['model']} ({figures['num_parameters'] / 1e6:.1f} M parameters)",
        "checkpoint": figures["checkpoint_sha"],
        "truth": figures["env"] + (f" {figures['env_kwargs']}" if figures["env_kwargs"] else ""),
        "policy": figures["policy"],
        "clips": f"{figures['episodes']} of at most {figures['horizon']} steps of {figures['control_dt']:g} s",
        "env seeds": f"{min(seeds)} to {max(seeds)}",
        "true steps before the start": f"{min(figures['clips']['warm_up'])} to {max(figures['clips']['warm_up'])}",
        "warm-ups shortened": figures["clips"]["warm_ups_shortened"],
        "seeds replaced": figures["clips"]["seeds_replaced"],
        "context": f"{figures['num_context']} true frames, no text",
        "sampler steps": figures["sampler_steps"],
        "imagined frames per second": _speed(figures),
        "torch threads": figures["threads"],
        "commit": figures["commit"],
    }
    return (
        '<dl class="facts">'
        + "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in facts.items())
        + "</dl>"
    )


def _speed(figures: Mapping[str, Any]) -> str:
    one, batch = figures["imagined_frames_per_second"], figures["imagined_frames_per_second_batch64"]
    return "not measured" if one is None else f"{one:.0f} in one stream, {batch:.0f} in a batch of 64"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _pretty(value: Any) -> str:
    return escape(json.dumps(plain(value), indent=1, ensure_ascii=False))


_MEANINGS = """
<ul>
<li><b>skill</b>: 1 − MSE(model) / MSE(copy of the last frame), both errors pooled over all clips and pixels before the
division. <b>Moving pixels</b>: only where the truth differs from the last context frame by more than 10 of 255
in a channel.</li>
<li>One noise sample per clip is scored. <b>Mean of 8</b>: the skill of the mean of 8 samples; <b>sample spread</b>:
their standard deviation in levels.</li>
<li><b>PSNR</b>: 10 log10(255² / pooled MSE). <b>SSIM</b>: mean over clips, Gaussian window of 11 pixels.</li>
<li><b>Sharpness</b>: squared differences of neighbouring pixels, imagined over true; blur scores well in skill and low
here.</li>
<li><b>95% interval</b>: bootstrap over whole clips. <b>n</b>: clips whose truth had not ended.</li>
<li>The model sees true frames up to the start and then actions only. A clip counts up to the truth's end; ends that the
model predicts are scored and drop no step.</li>
</ul>
"""
