"""The data card: what a store holds, how it is balanced, and where every part comes from.

Everything in it is computed from the episodes. What they do not say (a weather, a speed, a licence) is absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from worldsim.store.store import RolloutStore

__all__ = ["data_card"]

_FACTORS = ("weather", "time_of_day", "traffic")
"""As drawn at reset; an episode counts whole even if one of them changes in it."""
_MIN_SHARE_OF = {"weather": 0.08, "time_of_day": 0.08}
"""Least share of frames that every value of a factor must have."""
_SPEED_EDGES = np.arange(21)  # m/s
_STEER_EDGES = np.linspace(-1, 1, 21)  # of full lock
_STANDING_M_S = 0.5
_STRAIGHT = 0.05  # of full lock: less counts as neither left nor right


def data_card(store: RolloutStore) -> dict[str, Any]:
    """Return the data card of a store as JSON values."""
    infos = [store.info(i) for i in range(len(store))]
    card: dict[str, Any] = {
        "version": store.version,
        "episodes": len(store),
        "frames": store.num_frames,
        "steps": sum(info.length for info in infos),
    }
    if not infos:
        return {**card, "parts": [], "checks": []}
    card |= {"height": store.height, "width": store.width, "control_dt": sorted({info.control_dt for info in infos})}
    card["by"] = {"policy": _shares((info.policy, info.length + 1) for info in infos)}
    for factor in _FACTORS:
        pairs = [(info.variation[factor], info.length + 1) for info in infos if factor in info.variation]
        if pairs:
            card["by"][factor] = _shares(pairs)
    seeds = [info.seed for info in infos if info.seed is not None]
    if seeds:
        card["seeds"] = {"min": min(seeds), "max": max(seeds)}
    card["terminated"] = sum(info.terminated for info in infos) / len(infos)
    mortal = {info.env_id for info in infos if info.terminated}
    ends = [info.terminated for info in infos if info.env_id in mortal]
    card["terminated_where_possible"] = sum(ends) / len(ends) if ends else None
    card |= _steering(store) | _speed(store)
    card["parts"] = _parts(store)
    card["checks"] = _checks(card)
    return card


def _shares(pairs: Iterable[tuple[Hashable, int]]) -> dict[str, dict[str, float]]:
    frames, episodes = Counter(), Counter()
    for value, count in pairs:
        frames[str(value)] += count
        episodes[str(value)] += 1
    total = sum(frames.values())
    return {
        value: {"episodes": episodes[value], "frames": count, "share": count / total}
        for value, count in sorted(frames.items())
    }


def _steering(store: RolloutStore) -> dict[str, Any]:
    """Histogram of the first action where its name is ``steer``, and how much of it goes to either side."""
    values = [
        store.actions(i)[:, 0]
        for i in range(len(store))
        if store.info(i).action_spec and store.info(i).action_spec[0]["name"] == "steer"
    ]
    if not values:
        return {}
    steer = np.concatenate(values)
    counts, _ = np.histogram(steer, _STEER_EDGES)
    return {
        "steering": {"unit": "of full lock", "edges": _STEER_EDGES.round(3).tolist(), "counts": counts.tolist()},
        "steer_positive": float((steer > _STRAIGHT).mean()),
        "steer_negative": float((steer < -_STRAIGHT).mean()),
    }


def _speed(store: RolloutStore) -> dict[str, Any]:
    """Histogram of the speed of the body ``ego``, and how much of the time it stands."""
    values = [store.body(i, "ego")[:, 7:10] for i in range(len(store)) if "ego" in (store.info(i).bodies or ())]
    if not values:
        return {}
    speed = np.linalg.norm(np.concatenate(values), axis=1)  # m/s
    speed = speed[np.isfinite(speed)]  # the body may be absent at times
    counts, _ = np.histogram(np.minimum(speed, _SPEED_EDGES[-1]), _SPEED_EDGES)
    return {
        "speed": {"unit": "m/s", "edges": _SPEED_EDGES.tolist(), "counts": counts.tolist()},
        "standing_still": float((speed < _STANDING_M_S).mean()),
    }


def _parts(store: RolloutStore) -> list[dict[str, Any]]:
    """Source of every part: which env or model made it, what stored it, and its licence where that is known."""
    frames = Counter()
    for i in range(len(store)):
        info = store.info(i)
        frames[info.env_id, info.source, info.model, info.licence, info.code_version] += info.length + 1
    parts = []
    for (env_id, source, model, licence, code_version), count in sorted(frames.items(), key=str):
        part = {"env_id": env_id, "source": source, "frames": count}
        if model is not None:
            part["model"] = model
        if code_version is not None:
            part["code_version"] = code_version
        if licence is not None:
            part["licence"] = licence
        elif env_id.startswith("worldsim/"):
            part["licence"] = f"Apache-2.0, generated by {env_id if model is None else model}"
        parts.append(part)
    return parts


def _checks(card: dict[str, Any]) -> list[dict[str, Any]]:
    checks = [_check("terminated episodes", card["terminated_where_possible"], ">=", 0.05)]
    if "steering" in card:
        checks.append(_check("steering left minus right", card["steer_positive"] - card["steer_negative"], "+-", 0.05))
    if "standing_still" in card:
        checks.append(_check("standing still", card["standing_still"], "<=", 0.10))
    for factor, bound in _MIN_SHARE_OF.items():
        for value, share in card["by"].get(factor, {}).items():
            checks.append(_check(f"{factor} {value}", share["share"], ">=", bound))
    return checks


def _check(name: str, value: float | None, relation: str, bound: float) -> dict[str, Any]:
    """Return whether a value keeps its bound; None if it does not apply, as in a world that never ends by itself."""
    if value is None:
        return {"check": name, "value": None, "bound": f"{relation} {bound:g}", "ok": None}
    ok = {">=": value >= bound, "<=": value <= bound, "+-": abs(value) <= bound}[relation]
    return {"check": name, "value": round(value, 4), "bound": f"{relation} {bound:g}", "ok": ok}
