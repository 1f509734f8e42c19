"""What ``worldsim inspect`` shows: the data card as text, histograms, captions, and a sheet of frames to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldsim.errors import StoreError

if TYPE_CHECKING:
    from worldsim.store.store import RolloutStore

__all__ = ["card_text", "contact_sheet", "histograms", "histograms_text"]

_BARS = " ▁▂▃▄▅▆▇█"
_NUM_BINS = 20
_MOST_DIMS, _MOST_CAPTIONS = 8, 5


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
        lines.append(f"{'ok' if check['ok'] else 'FAILS':12} {check['check']}: {check['value']:.3f} ({check['bound']})")
    return "\n".join(lines)


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
    from PIL import Image

    if not len(store):
        raise StoreError(f"{store.path} holds no episodes to show; add some with append or collect")
    episodes = np.unique(np.linspace(0, len(store) - 1, num_rows).round().astype(int)).tolist()
    rows = []
    for episode in episodes:
        times = np.linspace(0, store.info(episode).length, num_columns).round().astype(int)
        frames = np.empty((num_columns, 1, store.height, store.width, 3), np.uint8)
        for column, t in enumerate(times.tolist()):
            store.read_into(episode, t, frames[column])
        rows.append(np.concatenate(list(frames[:, 0]), axis=1))  # (H, columns * W, 3)
    Image.fromarray(np.concatenate(rows)).save(path, format="PNG")
    return Path(path)


def _histogram(values: np.ndarray) -> dict[str, list[float]]:
    counts, edges = np.histogram(values[np.isfinite(values)], _NUM_BINS)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _sparkline(counts: Sequence[int]) -> str:
    top = max([*counts, 1])
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // top)] for count in counts)
