"""``worldsim inspect -o``: what a store holds as one page that needs nothing but itself, with episodes to play."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldsim.page import Scene, Track, page_html, player_html
from worldsim.store.inspect import EPISODE_COLUMNS, check_value, episode_rows, evenly, sheet_png

if TYPE_CHECKING:
    from worldsim.store.store import RolloutStore

__all__ = ["report_html"]

_MOST_SCENES, _MOST_STEPS = 6, 240
_MOST_ROWS = 100
_WIDTH, _HEIGHT = 300, 90
_STYLE = """
.bars { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 18px 28px; }
.bars figure { margin: 0; } .bars figcaption { font-weight: 600; font-size: .9375rem; }
.bars svg { display: block; width: 100%; height: auto; } .bars rect { fill: var(--model); }
.bars div { display: flex; justify-content: space-between; color: var(--soft); font-size: .8125rem; }
.sheet { display: block; width: 100%; image-rendering: pixelated; border-radius: 4px; }
td.wide { white-space: normal; text-align: left; min-width: 18em; } th.wide { text-align: left; }
.player { max-width: 560px; } .scroll + .scroll { margin-top: 22px; }
"""


def report_html(store: RolloutStore, card: Mapping[str, Any], shapes: Mapping[str, Any]) -> str:
    """Return the page of a store that is whole.

    Args:
        store: What to show.
        card: Its data card.
        shapes: What ``histograms`` found.
    """
    title = f"Rollouts in {Path(store.path).name}"
    head = f"<h1>{escape(title)}</h1>\n<p class=soft>{escape(str(store.path))}, version {card['version']}</p>"
    if not len(store):
        return page_html(title, f"{head}\n<p class=verdict>It holds no episodes.</p>")
    failed = [check["check"] for check in card["checks"] if check["ok"] is False]
    verdict = f"Out of balance: {', '.join(failed)}." if failed else "Every balance that applies is kept."
    facts = {
        "episodes": f"{card['episodes']:,}",
        "frames": f"{card['frames']:,}",
        "frame": f"{card['height']}x{card['width']} pixels",
        "seconds per step": " or ".join(f"{dt:g}" for dt in card["control_dt"]),
        "integrity": "whole: every checksum matches",
        "packed with": store.codec,
        **({"seeds": f"{card['seeds']['min']} to {card['seeds']['max']}"} if "seeds" in card else {}),
    }
    shares = [
        [factor, value, share["episodes"], share["frames"], f"{share['share']:.1%}"]
        for factor, values in card["by"].items()
        for value, share in values.items()
    ]
    checks = [
        [check["check"], check_value(check), check["bound"], {True: "ok", False: "fails", None: "n/a"}[check["ok"]]]
        for check in card["checks"]
    ]
    parts = [
        [part["env_id"] or "unknown", part["source"], part["frames"], part.get("licence", "licence unknown")]
        for part in card["parts"]
    ]
    captions = [[text, count] for text, count in shapes["captions"].items()]
    sections = [
        head,
        f'<p class="verdict{" warning" if failed else ""}">{escape(verdict)}</p>',
        _facts(facts),
        "<h2>Episodes to play</h2>",
        _player(store),
        "<h2>Frames: a row per episode, evenly spaced in time</h2>",
        f'<img class="sheet" alt="Frames of evenly spaced episodes" src="{_sheet(store)}">',
        "<h2>Histograms</h2>",
        '<div class="bars">' + "".join(_bars(name, s) for name, s in shapes.items() if name != "captions") + "</div>",
        "<h2>Balance</h2>",
        _table(("factor", "value", "episodes", "frames", "share of frames"), shares),
        _table(("check", "value", "bound", "verdict"), checks),
        "<h2>Captions</h2>",
        _table(("commonest captions", "episodes"), captions) if captions else "<p>None of the episodes has any.</p>",
        "<h2>Sources</h2>",
        _table(("env", "source", "frames", "licence"), parts),
        f"<h2>{'Episodes' if len(store) <= _MOST_ROWS else f'{_MOST_ROWS} of {len(store):,} episodes'}</h2>",
        _table(EPISODE_COLUMNS, episode_rows(store, _MOST_ROWS)),
    ]
    return page_html(title, "\n".join(sections), style=_STYLE)


def _player(store: RolloutStore) -> str:
    scenes = []
    for i in evenly(len(store), _MOST_SCENES):
        info, num_steps = store.info(i), min(store.info(i).length, _MOST_STEPS)
        frames, actions, _ = store.window(episode=i, t=0, length=num_steps)
        is_drawn = actions.ndim == 1 or (actions.ndim == 2 and bool((np.abs(actions) <= 1).all()))
        scene = Scene(
            title=f"episode {i}" + ("" if num_steps == info.length else f", first {num_steps} steps"),
            tracks=[Track(label="recorded", frames=frames)],
            captions=[(t, english) for t, english, _ in info.captions if t <= num_steps],
            actions=actions if is_drawn else None,
        )
        scenes.append(scene)
    first = store.info(0)
    names = [dim["name"] for dim in first.action_spec]
    return player_html(scenes, frame_dt=first.control_dt, action_names=names, difference=None)


def _sheet(store: RolloutStore) -> str:
    return "data:image/png;base64," + base64.b64encode(sheet_png(store)).decode()


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{rows}</dl>'


def _bars(name: str, shape: Mapping[str, Sequence[float]]) -> str:
    counts, edges = shape["counts"], shape["edges"]
    top, width = max([*counts, 1]), _WIDTH / len(counts)
    bars = "".join(
        f'<rect x="{i * width:.1f}" y="{_HEIGHT * (1 - count / top):.1f}" width="{width - 1:.1f}" '
        f'height="{_HEIGHT * count / top:.1f}"><title>{edges[i]:.4g} to {edges[i + 1]:.4g}: {count:,.0f}</title></rect>'
        for i, count in enumerate(counts)
    )
    return (
        f"<figure><figcaption>{escape(name)}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Histogram of {escape(name)}">{bars}</svg>'
        f"<div><span>{edges[0]:.4g}</span><span>{edges[-1]:.4g}</span></div></figure>"
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    wide = [column in {"first caption", "licence"} for column in columns]
    head = "".join(f"<th{' class=wide' if w else ''}>{escape(c)}</th>" for c, w in zip(columns, wide, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{' class=wide' if w else ''}>{_cell(v)}</td>" for v, w in zip(row, wide, strict=True))
        + "</tr>"
        for row in rows
    )  # fmt: skip
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else escape(f"{value:,}" if isinstance(value, int) else str(value))
