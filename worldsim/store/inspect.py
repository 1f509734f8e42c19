"""What ``worldsim inspect`` shows: the data card as text, histograms, captions, and a sheet of frames to look at."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldsim.errors import StoreError

if TYPE_CHECKING:
    from worldsim.store.store import RolloutStore

__all__ = [
    "EPISODE_COLUMNS",
    "card_text",
    "check_value",
    "contact_sheet",
    "episode_rows",
    "evenly",
    "histograms",
    "histograms_text",
    "sheet_png",
]

_BARS = " ▁▂▃▄▅▆▇█"
_NUM_BINS = 20
_MOST_DIMS, _MOST_CAPTIONS = 8, 5
_VERDICT = {True: "ok", False: "FAILS", None: "n/a"}
EPISODE_COLUMNS = ("episode", "env", "seed", "policy", "steps", "return", "end", "first caption")


def card_text(card: Mapping[str, Any]) -> str:
    """Return a data card as lines of text: counts, balances, histograms, sources, and which checks fail."""
    lines = [f"{card['episodes']} episodes, {card['frames']:,} frames, version {card['version']}"]
    if not card["episodes"]:
        return lines[0]
    lines[0] += (
        f", {card['height']}x{card['width']} pixels, {' or '.join(f'{dt:g}' for dt in card['control_dt'])} s per step"
    )
    for factor, shares in card["by"].items():
        values = ", ".join(f"{value} {share['share']:.1%}" for value, share in shares.items())
        lines.append(f"{factor:12} {values}")
    for name in ("speed", "steering"):
        if name in card:
            edges = card[name]["edges"]
            lines.append(
                f"{name:12} {edges[0]:g} {_sparkline(card[name]['counts'])} {edges[-1]:g} {card[name]['unit']}"
            )
    if "seeds" in card:
        lines.append(f"{'seeds':12} {card['seeds']['min']} to {card['seeds']['max']}")
    for part in card["parts"]:
        licence = part.get("licence", "licence unknown")
        lines.append(
            f"{'source':12} {part['env_id'] or 'unknown'} ({part['source']}), {part['frames']:,} frames, {licence}"
        )
    for check in card["checks"]:
        lines.append(f"{_VERDICT[check['ok']]:12} {check['check']}: {check_value(check)} ({check['bound']})")
    return "\n".join(lines)


def check_value(check: Mapping[str, Any]) -> str:
    """Return the value of a check as text."""
    return "no episode ends by itself" if check["value"] is None else f"{check['value']:.3f}"


def episode_rows(store: RolloutStore, most: int) -> list[list[Any]]:
    """Return a row for each of at most so many evenly spaced episodes; ``EPISODE_COLUMNS`` names what is in it."""
    rows = []
    for i in evenly(len(store), most):
        info = store.info(i)
        end = "terminated" if info.terminated else "truncated" if info.truncated else "cut off"
        caption = info.captions[0][1] if info.captions else ""
        rows.append([i, info.env_id, info.seed, info.policy, info.length, info.return_, end, caption])
    return rows


def histograms(store: RolloutStore) -> dict[str, Any]:
    """Return histograms of lengths, returns, rewards and each dimension of the action, and the commonest captions.

    Every histogram is {"edges": (n + 1,), "counts": (n,)}; the first 8 dimensions of an action have one.
    """
    if not len(store):
        return {}
    infos = [store.info(i) for i in range(len(store))]
    actions = np.concatenate([store.actions(i) for i in range(len(store))])
    actions = actions.reshape(len(actions), -1)
    values = {
        "length": store.lengths,
        "return": np.array([info.return_ for info in infos]),
        "reward": np.concatenate([store.rewards(i) for i in range(len(store))]),
    }
    names = [dim["name"] for dim in infos[0].action_spec] or [f"action {k}" for k in range(actions.shape[1])]
    values |= {name: actions[:, k] for k, name in enumerate(names[:_MOST_DIMS])}
    captions = Counter(english for info in infos for english in dict.fromkeys(c[1] for c in info.captions))
    return {name: _histogram(array) for name, array in values.items()} | {
        "captions": dict(captions.most_common(_MOST_CAPTIONS))
    }


def histograms_text(found: Mapping[str, Any]) -> str:
    """Return what ``histograms`` found as lines of text."""
    lines = [
        f"{name:12} {shape['edges'][0]:.4g} {_sparkline(shape['counts'])} {shape['edges'][-1]:.4g}"
        for name, shape in found.items()
        if name != "captions"
    ]
    return "\n".join([*lines, *(f"{count:>6} times  {text}" for text, count in found.get("captions", {}).items())])


def contact_sheet(store: RolloutStore, path: str | Path, *, num_rows: int = 8, num_columns: int = 8) -> Path:
    """Write a PNG with a row of evenly spaced frames for each of several evenly spaced episodes.

    Raises:
        StoreError: If the store is empty.
    """
    Path(path).write_bytes(sheet_png(store, num_rows=num_rows, num_columns=num_columns))
    return Path(path)


def sheet_png(store: RolloutStore, *, num_rows: int = 8, num_columns: int = 8) -> bytes:
    """Return the contact sheet as a PNG.

    Raises:
        StoreError: If the store is empty.
    """
    from PIL import Image

    if not len(store):
        raise StoreError(f"{store.path} holds no episodes to show; add some with append or collect")
    rows = []
    for episode in evenly(len(store), num_rows):
        times = np.linspace(0, store.info(episode).length, num_columns).round().astype(int)
        frames = np.empty((num_columns, 1, store.height, store.width, 3), np.uint8)
        for column, t in enumerate(times.tolist()):
            store.read_into(episode, t, frames[column])
        rows.append(np.concatenate(list(frames[:, 0]), axis=1))  # (H, columns * W, 3)
    data = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(data, format="PNG")
    return data.getvalue()


def evenly(count: int, most: int) -> list[int]:
    """Return at most so many indices below ``count``, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def _histogram(values: np.ndarray) -> dict[str, list[float]]:
    counts, edges = np.histogram(values[np.isfinite(values)], _NUM_BINS)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _sparkline(counts: Sequence[int]) -> str:
    top = max([*counts, 1])
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // top)] for count in counts)
