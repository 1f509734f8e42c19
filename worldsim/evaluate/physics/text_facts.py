"""Whether a model shows what the text says: single facts and minimal pairs, read from frames by measurement.

A pair of texts differs in one word. With a context (gravity: moon, earth) both branches begin from the same frames,
the truth is told the same, and each imagined branch must be nearer to its own truth than to the other. Without one
(colour, direction, mass) the model begins where the text leads it, and facts are measured in what it shows; the truth,
made as the text says, tells how well the facts can be measured at all.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from scipy.ndimage import label

from worldsim.evaluate.physics.candidates import Request
from worldsim.evaluate.physics.clip import Clip, noise_seed, record_clip
from worldsim.evaluate.physics.extract import extract
from worldsim.evaluate.physics.pixels import saturated

__all__ = [
    "PAIRS",
    "GravityPair",
    "Pair",
    "facts_of",
    "gravity_requests",
    "imagined_facts",
    "record_gravity_pair",
    "score_facts",
    "score_gravity",
    "true_facts",
]

GRAVITY_SCENARIOS = ("projectile", "support_removal", "pendulum")
"""Scenarios in which a change of gravity is seen within a second."""
_GRAVITY = ("moon", "earth")
_LEAST_BLOB = 12  # px
_PUSH = 1.0  # the impulse by which a mass is felt
_PUSH_STEPS = 4
_STEPS = 24
_SEED = 209_700


# ---- gravity, with a context


@dataclass(frozen=True, kw_only=True)
class GravityPair:
    """One context under the gravity of the earth, and its two true futures: the moon's from now on, and as before."""

    clip: Clip
    number: int
    prompts: tuple[str, str]
    """The truth's own captions after the change."""
    frames: tuple[np.ndarray, np.ndarray]
    """(T, H, W, 3) each."""

    def key(self, which: int) -> str:
        """Return the key of the request for one of the two."""
        return f"text.gravity.{self.clip.scenario}.{self.number}.{_GRAVITY[which]}"


def record_gravity_pair(env: gym.Env, scenario: str, number: int, *, seed: int, num_context: int) -> GravityPair:
    """Record one context and what follows when the moon's gravity is asked for, and when the earth's is."""
    variation = {"change": "none", "gravity": 9.81}
    clip = record_clip(env, scenario, seed, num_context=num_context, horizon=_STEPS, variation=variation, policy="noop")
    prompts, futures = [], []
    for text in _GRAVITY:
        truth: Any = env.unwrapped
        truth.restore(clip.snapshot)
        truth.set_prompt(text)
        frames = []
        for t, action in enumerate(clip.future_actions):
            obs, _, _, _, info = truth.step(action)
            frames.append(obs)
            if t == 0:
                prompts.append(info["caption"]["en"])
        futures.append(np.stack(frames))
    return GravityPair(clip=clip, number=number, prompts=(prompts[0], prompts[1]), frames=(futures[0], futures[1]))


def gravity_requests(pair: GravityPair) -> list[Request]:
    """Return the two continuations, which differ in their text alone."""
    clip = pair.clip
    return [
        Request(
            key=pair.key(which),
            frames=clip.context,
            past=clip.context_actions,
            actions=clip.future_actions,
            prompt=pair.prompts[which],
            seed=noise_seed(clip, 0),
        )
        for which in (0, 1)
    ]


def score_gravity(pairs: Sequence[GravityPair], answers: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Score imagined branches by the height of the first object.

    Returns:
        ``both_right``: share of pairs whose branches are each nearer to their own truth (chance 0.25); ``right``: share
        of branches; ``sensitivity``: imagined difference of mean heights over the true one, pooled; ``n``.
    """
    both, single, above, below = [], [], 0.0, 0.0
    for pair in pairs:
        true = [_heights(pair.clip, frames) for frames in pair.frames]
        seen = [_heights(pair.clip, answers[pair.key(which)]) for which in (0, 1)]
        right = [_is_nearer(seen[w], true[w], true[1 - w]) for w in (0, 1)]
        both.append(all(right))
        single += right
        size = float(np.nanmean(true[0]) - np.nanmean(true[1]))
        imagined = float(np.nan_to_num(_mean(seen[0]) - _mean(seen[1])))
        above, below = above + np.sign(size) * imagined, below + abs(size)
    return {
        "n": len(pairs),
        "both_right": float(np.mean(both)),
        "right": float(np.mean(single)),
        "chance": 0.25,
        "sensitivity": above / below if below else None,
    }


def _heights(clip: Clip, frames: np.ndarray) -> np.ndarray:
    """Return the height of the first object in the imagined frames, (T,) metres; NaN where it is not seen."""
    return extract(clip.with_future(frames), clip).world[clip.num_context :, 0, 2]


def _mean(heights: np.ndarray) -> float:
    return float(np.nanmean(heights)) if np.isfinite(heights).any() else float("nan")


def _is_nearer(seen: np.ndarray, own: np.ndarray, other: np.ndarray) -> bool:
    """Return whether heights are nearer to their own truth; unseen steps speak for neither."""
    known = np.isfinite(seen) & np.isfinite(own) & np.isfinite(other)
    return bool(np.abs(seen - own)[known].sum() < np.abs(seen - other)[known].sum())


# ---- colour, direction and mass, from the text alone


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two texts that differ in one word, and the fact that should follow it."""

    fact: str
    """``color``, ``direction`` or ``mass``."""
    scenario: str
    texts: tuple[str, str]
    values: tuple[Any, Any]
    """What the fact should be: a colour's name, -1 or 1, or for a mass in kg that the truth is given."""


PAIRS: tuple[Pair, ...] = (
    Pair(fact="color", scenario="rolling", texts=("a red ball rolls", "a blue ball rolls"), values=("red", "blue")),
    Pair(
        fact="color",
        scenario="projectile",
        texts=("a green ball is thrown", "a purple ball is thrown"),
        values=("green", "purple"),
    ),
    Pair(
        fact="color",
        scenario="pendulum",
        texts=("a yellow ball swings", "a cyan ball swings"),
        values=("yellow", "cyan"),
    ),
    Pair(
        fact="direction",
        scenario="rolling",
        texts=("a ball rolls to the right", "a ball rolls to the left"),
        values=(1, -1),
    ),
    Pair(
        fact="direction",
        scenario="occlusion",
        texts=("a ball rolls to the right behind a screen", "a ball rolls to the left behind a screen"),
        values=(1, -1),
    ),
    Pair(
        fact="mass", scenario="pendulum", texts=("a lightweight ball swings", "a heavy ball swings"), values=(0.3, 2.0)
    ),
)


def facts_of(frames: np.ndarray, palette: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return what can be measured in frames (T, H, W, 3) without knowing what to expect.

    ``color``: the palette's name nearest in hue to most coloured pixels, None without any; ``count``: coloured blobs in
    the first frame; ``direction``: -1 or 1, where their middle moves, 0 if by less than a pixel; ``path``: that middle,
    (T,) px, NaN where there is none.
    """
    hues = {name: _hue(color) for name, color in palette.items() if max(color) - min(color) > 0.25 * max(color)}
    masks = saturated(frames)
    names = list(hues)
    pixels = frames[masks]
    color = None
    if len(pixels) >= _LEAST_BLOB and names:
        angle = np.array([_hue(p) for p in pixels[:: max(1, len(pixels) // 500)]])
        gap = np.abs((angle[:, None] - np.array([hues[n] for n in names])[None] + 0.5) % 1 - 0.5)
        color = names[int(np.bincount(gap.argmin(axis=1), minlength=len(names)).argmax())]
    blobs = np.zeros(masks[0].shape, np.int32)
    label(masks[0], output=blobs)
    columns = np.arange(frames.shape[2]) + 0.5
    size = masks.sum(axis=(1, 2))
    path = np.divide(
        (masks * columns).sum(axis=(1, 2)), size, out=np.full(len(frames), np.nan), where=size >= _LEAST_BLOB
    )
    seen = path[np.isfinite(path)]
    moved = float(seen[len(seen) // 2 :].mean() - seen[: max(1, len(seen) // 4)].mean()) if len(seen) > 1 else 0.0
    return {
        "color": color,
        "count": int((np.bincount(blobs.ravel())[1:] >= _LEAST_BLOB).sum()),
        "direction": 0 if abs(moved) < 1 else int(np.sign(moved)),
        "path": path,
    }


def _hue(color: Sequence[int]) -> float:
    return colorsys.rgb_to_hsv(*(float(c) / 255 for c in color))[0]


def true_frames(env: gym.Env, pair: Pair, which: int, seed: int, actions: np.ndarray) -> np.ndarray:
    """Return the truth of one text of a pair, (T + 1, H, W, 3): its scenario with what the word stands for."""
    value = pair.values[which]
    palette = list(getattr(env.unwrapped, "scene_card", {})["palette"])
    factor: dict[str, Any] = {
        "color": {"hue": palette.index(value) if value in palette else None},
        "direction": {"side": "left" if value == 1 else "right"},  # where it comes from
        "mass": {"mass": value},
    }[pair.fact]
    variation = {"scenario": pair.scenario, "change": "none", **factor}
    obs, _ = env.reset(seed=seed, options={"variation": variation})
    return np.stack([obs, *(env.step(action)[0] for action in actions)])


def score_facts(pair: Pair, shown: Sequence[np.ndarray], palette: Mapping[str, Sequence[int]]) -> tuple[bool, bool]:
    """Return whether each text of a pair came true in its frames (T, H, W, 3).

    A mass is felt, not seen: the light one must be pushed farther than the heavy one, so both are right or both wrong,
    and wrong if one is ever lost.
    """
    facts = [facts_of(frames, palette) for frames in shown]
    if pair.fact == "mass":
        reach = [float(f["path"].max() - f["path"][0]) for f in facts]
        right = reach[0] > reach[1] + 1  # never with a NaN
        return right, right
    return facts[0][pair.fact] == pair.values[0], facts[1][pair.fact] == pair.values[1]


def true_facts(env: gym.Env, num_seeds: int) -> dict[str, Any]:
    """Score the pairs of texts in the truth, which is given what they mean: how well a fact can be measured.

    Args:
        env: The true world.
        num_seeds: Starts per pair.

    Returns:
        By fact: {"truth": {"both_right", "right", "n"}}.
    """
    palette, found = _palette(env), {}
    for pair in PAIRS:
        actions = _actions_of(env, pair)
        for seed in range(num_seeds):
            true = [true_frames(env, pair, which, _SEED + seed, actions) for which in (0, 1)]
            found.setdefault(pair.fact, []).append(score_facts(pair, true, palette))
    return {f"fact.{fact}": {"truth": _pooled(rights)} for fact, rights in found.items()}


def imagined_facts(
    env: gym.Env,
    begin: Callable[[str, int], tuple[np.ndarray, np.ndarray]],
    imagine: Callable[[Sequence[Request]], list[np.ndarray]],
    num_seeds: int,
    row: str = "model",
) -> dict[str, Any]:
    """Score the pairs of texts in what a model shows that begins from the texts alone.

    Args:
        env: The true world, for its actions and its palette.
        begin: From a text and a seed to the frames and actions that the model begins with.
        imagine: The model.
        num_seeds: Noise seeds per pair.
        row: How the table calls what begins so: ``model``, or another name where the model draws the first frame.

    Returns:
        By fact: {row: {"both_right", "right", "n"}}.
    """
    palette, found = _palette(env), {}
    for number, pair in enumerate(PAIRS):
        actions = _actions_of(env, pair)
        for seed in range(num_seeds):
            requests = []
            for which, text in enumerate(pair.texts):
                frames, past = begin(text, seed)
                key = f"text.{pair.fact}.{number}.{seed}.{which}" + ("" if row == "model" else ".drawn")
                requests.append(Request(key=key, frames=frames, past=past, actions=actions, prompt=text, seed=seed))
            shown = [np.concatenate([r.frames[-1:], f]) for r, f in zip(requests, imagine(requests), strict=True)]
            found.setdefault(pair.fact, []).append(score_facts(pair, shown, palette))
    return {f"fact.{fact}": {row: _pooled(rights)} for fact, rights in found.items()}


def _palette(env: gym.Env) -> Mapping[str, Sequence[int]]:
    return getattr(env.unwrapped, "scene_card", {}).get("palette", {})


def _actions_of(env: gym.Env, pair: Pair) -> np.ndarray:
    """Return the actions under which a pair is shown, (T, A): none, or for a mass a push."""
    actions = np.zeros((_STEPS, *(env.action_space.shape or ())), np.float32)
    if pair.fact == "mass":
        names = [dim.name for dim in env.unwrapped.action_spec]  # type: ignore[attr-defined]
        actions[:_PUSH_STEPS, names.index("impulse")] = _PUSH
    return actions


def _pooled(rights: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    both = [all(pair) for pair in rights]
    return {"both_right": float(np.mean(both)), "right": float(np.mean(rights)), "n": len(rights)}
