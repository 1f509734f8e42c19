"""Whether a model does what it is told: one start, one action swept through doses, in the truth and in imagination.

The one idea to know: the truth's own branches are the ruler. An imagined branch is read by the true branch that it
looks like, and by how far it is on the way to the next, on the pixels in which the true branches differ. That decodes a
dose, and with it a pose, from frames of any world, without a network and without an extractor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from worldsim.errors import EnvError
from worldsim.evaluate.physics.candidates import Request
from worldsim.evaluate.physics.clip import Clip, noise_seed, record_clip, record_from
from worldsim.evaluate.physics.extract import extract
from worldsim.evaluate.physics.statistics import label_permutation, rank_agreement, slope

__all__ = ["PROBES", "Probe", "Sweep", "decoded_doses", "probe_requests", "record_sweep", "score_probe", "sweep_errors"]

_DIFFERS = 10
"""Levels by which a channel of two true branches must differ for a pixel to count."""
_LAST = 3
"""The last part of the horizon that is read, as a divisor: the last third."""
_TRIES = 10
_LEAST_RESPONSE = 0.1  # m that a body must answer in the truth to be read
_LEAST_TURN = np.radians(1.0)  # by which true cameras must differ for a pose to be read


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One dimension of the action, swept."""

    dimension: str
    """Name in the world's ``action_spec``."""
    scenario: str | None = None
    variation: Mapping[str, Any] | None = None
    doses: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0)
    """In rising order, with 0 and symmetric about it."""
    hold: int = 24
    """Steps for which the dose is held; 0 afterwards."""
    horizon: int = 24
    lateral: tuple[str, ...] = ()
    """Dimensions that change sign in the mirror; no mirror test if empty."""
    loops: bool = False
    """Whether the dose and then its opposite are given too, to look away and back."""
    body: str | None = None
    """Name in the truth's state of what the dimension moves, whose place is decoded too."""

    @property
    def name(self) -> str:
        """Scenario and dimension."""
        return f"{self.scenario}.{self.dimension}" if self.scenario else self.dimension


_HANDS = ("hand_x", "impulse", "steer", "camera", "dx")
PROBES: dict[str, tuple[Probe, ...]] = {
    "lab": (
        Probe(scenario="rolling", dimension="impulse", variation={"speed": 0.6, "change": "none"}, hold=6,
              lateral=_HANDS),
        Probe(scenario="push", dimension="hand_x", lateral=_HANDS),
        Probe(scenario="push", dimension="hand_y", lateral=_HANDS),
        Probe(scenario="pick_place", dimension="hand_z", lateral=_HANDS),
        Probe(scenario="pick_place", dimension="hand_x", lateral=_HANDS, hold=12, loops=True),
        Probe(scenario="cart", dimension="steer", lateral=_HANDS),
        Probe(scenario="cart", dimension="throttle", lateral=_HANDS),
        Probe(scenario="camera", dimension="camera", lateral=_HANDS, loops=True),
    ),
    "city": (
        Probe(dimension="steer", doses=(-0.4, -0.2, 0.0, 0.2, 0.4), hold=12, horizon=16, lateral=_HANDS, loops=True),
        Probe(dimension="throttle", hold=16, horizon=16, lateral=_HANDS),
    ),
    "tabletop": (
        Probe(dimension="dx", hold=12, horizon=16, lateral=_HANDS, loops=True, body="hand"),
        Probe(dimension="dy", hold=12, horizon=16, lateral=_HANDS, loops=True, body="hand"),
        Probe(dimension="dz", hold=12, horizon=16, lateral=_HANDS, body="hand"),
    ),
}  # fmt: skip
"""What is swept in each suite."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The true branches of one start."""

    probe: Probe
    index: int
    """Dimension of the action."""
    number: int
    branches: tuple[Clip, ...]
    """One per dose."""
    loop: Clip | None
    """The largest dose for half of the horizon, then its opposite."""

    def key(self, what: str) -> str:
        """Return the key of the request for one of its branches."""
        return f"probe.{self.probe.name}.{self.number}.{what}"


def record_sweep(env: gym.Env, probe: Probe, number: int, *, seed: int, num_context: int) -> Sweep:
    """Record the true branches of one start.

    Args:
        env: The true world.
        probe: What is swept.
        number: Number of the sweep, which names it.
        seed: Env seed; later ones are tried where the truth ends before a branch does.
        num_context: Frames that a model sees.

    Raises:
        EnvError: If the world has no such dimension, or keeps ending.
    """
    names = [dim.name for dim in getattr(env.unwrapped, "action_spec", ())]
    if probe.dimension not in names:
        raise EnvError(f"the action has the dimensions {', '.join(names)}; got {probe.dimension!r}")
    index = names.index(probe.dimension)
    for attempt in range(_TRIES):
        try:
            base = record_clip(
                env,
                probe.scenario,
                seed + 100 * attempt,
                num_context=num_context,
                horizon=probe.horizon,
                variation=probe.variation,
                policy="noop" if probe.scenario else None,
            )
            branches = tuple(record_from(env, base, _held(base, probe, index, dose)) for dose in probe.doses)
            loop = record_from(env, base, _loop(base, probe, index)) if probe.loops else None
            return Sweep(probe=probe, index=index, number=number, branches=branches, loop=loop)
        except EnvError as error:
            if "ended" not in str(error) or attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _held(clip: Clip, probe: Probe, index: int, dose: float) -> np.ndarray:
    actions = np.zeros((probe.horizon, *clip.actions.shape[1:]), np.float32)
    actions[: probe.hold, index] = dose
    return actions


def _loop(clip: Clip, probe: Probe, index: int) -> np.ndarray:
    actions = np.zeros((probe.horizon, *clip.actions.shape[1:]), np.float32)
    half = probe.horizon // 2
    actions[:half, index], actions[half : 2 * half, index] = probe.doses[-1], -probe.doses[-1]
    return actions


# ---- what is asked


def probe_requests(sweep: Sweep, signs: np.ndarray | None = None) -> list[Request]:
    """Return the continuations that a sweep wants: its doses, the mirrored extremes, the loop, and a late change.

    Args:
        sweep: The true branches.
        signs: (A,) -1 for the dimensions that change sign in the mirror; None asks for no mirrored branches.
    """
    doses, branches = sweep.probe.doses, sweep.branches
    asked = [_request(sweep, f"dose{k}", clip, clip.future_actions) for k, clip in enumerate(branches)]
    zero = branches[doses.index(0.0)]
    late = zero.future_actions.copy()
    late[len(late) // 2 :, sweep.index] = doses[-1]
    asked.append(_request(sweep, "late", zero, late))
    if sweep.loop is not None:
        asked.append(_request(sweep, "loop", sweep.loop, sweep.loop.future_actions))
    if signs is not None:
        for k in (0, len(doses) - 1):
            clip = branches[k]
            plain = _request(sweep, f"mirror{k}", clip, clip.future_actions * signs)
            asked.append(
                Request(
                    key=plain.key,
                    frames=np.ascontiguousarray(plain.frames[:, :, ::-1]),
                    past=plain.past * signs,
                    actions=plain.actions,
                    seed=plain.seed,
                )
            )
    return asked


def mirror_signs(sweep: Sweep, names: Sequence[str]) -> np.ndarray | None:
    """Return -1 for every dimension of the action that a mirror turns round, else 1; None without a mirror test."""
    lateral = sweep.probe.lateral
    return np.array([-1.0 if name in lateral else 1.0 for name in names], np.float32) if lateral else None


def _request(sweep: Sweep, what: str, clip: Clip, actions: np.ndarray) -> Request:
    return Request(
        key=sweep.key(what),
        frames=clip.context,
        past=clip.context_actions,
        actions=np.asarray(actions, np.float32),
        seed=noise_seed(clip, 0),
    )


# ---- what is read


def sweep_errors(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return how far every imagined branch is from every true one, (D, D) squared levels per differing value.

    Args:
        frames: (D, T, H, W, 3) imagined branches.
        truth: (D, T, H, W, 3) true ones.
    """
    first = truth.shape[1] - max(1, truth.shape[1] // _LAST)
    seen, true = frames[:, first:].astype(np.float32), truth[:, first:].astype(np.float32)
    differs = (true.max(axis=0) - true.min(axis=0)).max(axis=-1) > _DIFFERS  # (t, H, W)
    size = max(1, int(differs.sum()) * 3)
    y, x = seen[:, differs].reshape(len(seen), -1), true[:, differs].reshape(len(true), -1)  # (D, values)
    return np.stack([((row - x) ** 2).sum(axis=1) / size for row in y])


def decoded_doses(errors: np.ndarray, apart: np.ndarray, doses: Sequence[float]) -> np.ndarray:
    """Return the dose that each branch looks like, (D,): its nearest true branch, and how far on to the next one.

    On the line between two true branches, (E_b - E_j + A_bj) / (2 A_bj) of the way from the nearest b to its neighbour
    j is the foot of the imagined one; the answer stays within the doses that were swept.

    Args:
        errors: (D, D) from `sweep_errors`.
        apart: (D, D) the same of the true branches with each other.
        doses: D rising doses.
    """
    at, out = np.asarray(doses, float), []
    for row in errors:
        best = int(np.argmin(row))
        ways = [
            (float(np.clip((row[best] - row[j] + apart[best, j]) / (2 * apart[best, j]), 0, 1)), j)
            for j in (best - 1, best + 1)
            if 0 <= j < len(at) and apart[best, j] > 0
        ]
        way, toward = max(ways, default=(0.0, best))
        out.append(float(at[best] + way * (at[toward] - at[best])))
    return np.array(out)


def score_probe(sweeps: Sequence[Sweep], answers: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Score the branches of one probe over several starts.

    Args:
        sweeps: Of one probe.
        answers: Frames (T, H, W, 3) by request key; mirrored branches, loops and late changes only where asked for.

    Returns:
        JSON values. ``identified``: share of branches nearest to their own truth; ``chance``; ``permutation_p``;
        ``sign``, ``gain``, ``spearman``, ``kendall`` of the decoded dose; ``delta_error``: squared error of the
        difference between branches over the true difference, 0 exact, 1 ignored; ``shuffled_ratio`` and
        ``zeroed_ratio``: the error with another dose's or no action over that with the right one; ``yaw_error_deg``
        and ``place_error_m``: of the decoded camera pose, with those of a camera that stays (``..._still``);
        ``body_error_m``: of the decoded place of the probe's body, and of one that stays; ``state_gain`` and
        ``state_sign``: of the first object's displacement; ``mirror_ratio``; ``loop_return`` (away and back, 1 as the
        truth); ``causality_levels``;
        and ``dose``, ``decoded``, for plots. None where the truth does not define it.
    """
    probe = sweeps[0].probe
    doses = np.array(probe.doses)
    errors, decoded, deltas, poses, places, states, mirrors, loops, early = [], [], [], [], [], [], [], [], []
    for sweep in sweeps:
        truth = np.stack([clip.future for clip in sweep.branches])
        frames = np.stack([answers[sweep.key(f"dose{k}")] for k in range(len(doses))])
        table = sweep_errors(frames, truth)
        errors.append(table)
        decoded.append(decoded_doses(table, sweep_errors(truth, truth), probe.doses))
        deltas.append(_delta(frames, truth, int(np.flatnonzero(doses == 0)[0])))
        poses += _pose_errors(sweep, decoded[-1])
        places += _body_errors(sweep, decoded[-1])
        states += _state_responses(sweep, frames)
        mirrors += _mirror_errors(sweep, answers, frames)
        loops += _loop_returns(sweep, answers)
        if (late := answers.get(sweep.key("late"))) is not None:
            half = len(late) // 2
            before = answers[sweep.key(f"dose{list(doses).index(0.0)}")][:half]
            early.append(int(np.abs(late[:half].astype(int) - before).max()))
    table, answer = np.stack(errors), np.concatenate(decoded)
    command = np.tile(doses, len(sweeps))
    own = table[:, range(len(doses)), range(len(doses))]  # (n, D)
    zero = int(np.flatnonzero(doses == 0)[0])
    others = [k for k in range(len(doses)) if k != zero]
    rho, tau = rank_agreement(command, answer)
    told = command != 0
    return {
        "n": len(sweeps),
        "doses": list(probe.doses),
        "identified": float((table.argmin(axis=2) == np.arange(len(doses))).mean()),
        "chance": 1 / len(doses),
        "permutation_p": label_permutation(table),
        "sign": float((np.sign(answer[told]) == np.sign(command[told])).mean()),
        "gain": slope(command, answer),
        "spearman": rho,
        "kendall": tau,
        "delta_error": _pooled(deltas),
        "shuffled_ratio": _ratio(_off_diagonal(table), float(own.mean())),
        "zeroed_ratio": _ratio(float(table[:, zero, others].mean()), float(own[:, others].mean())),
        "yaw_error_deg": _mean([p[0] for p in poses]),
        "yaw_error_still_deg": _mean([p[1] for p in poses]),
        "place_error_m": _mean([p[2] for p in poses]),
        "place_error_still_m": _mean([p[3] for p in poses]),
        "body_error_m": _mean([p[0] for p in places]),
        "body_error_still_m": _mean([p[1] for p in places]),
        "state_gain": slope(*_columns(states)) if states else None,
        "state_sign": float(np.mean([a * b > 0 for a, b in states if a])) if states else None,
        "mirror_ratio": _pooled(mirrors),
        "loop_return": _mean(loops),
        "causality_levels": max(early) if early else None,
        "dose": command.tolist(),
        "decoded": answer.tolist(),
    }


def _delta(frames: np.ndarray, truth: np.ndarray, zero: int) -> tuple[float, float]:
    """Return the squared error of the differences to the zero dose, and their true size."""
    seen, true = frames.astype(np.float32), truth.astype(np.float32)
    y, x = seen - seen[zero], true - true[zero]
    return float(((y - x) ** 2).sum(dtype=np.float64)), float((x**2).sum(dtype=np.float64))


def _pose_errors(sweep: Sweep, decoded: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Return per dose: yaw error and that of a still camera, degrees; place error and that of a still one, metres."""
    doses = np.array(sweep.probe.doses)
    ends = np.stack([clip.c2w[-1] for clip in sweep.branches])  # (D, 4, 4)
    begun = sweep.branches[0].c2w[sweep.branches[0].num_context - 1]
    yaw, still = np.unwrap(np.arctan2(ends[:, 1, 2], ends[:, 0, 2])), np.arctan2(begun[1, 2], begun[0, 2])
    moved = np.linalg.norm(ends[:, :3, 3] - ends[:1, :3, 3], axis=1).max() > _LEAST_RESPONSE
    if np.ptp(yaw) < _LEAST_TURN and not moved:
        return []
    rows = []
    for k, dose in enumerate(decoded):
        place = np.array([np.interp(dose, doses, ends[:, axis, 3]) for axis in range(3)])
        off_still = (yaw[k] - still + np.pi) % (2 * np.pi) - np.pi
        rows.append(
            (
                float(np.degrees(abs(np.interp(dose, doses, yaw) - yaw[k]))),
                float(np.degrees(abs(off_still))),
                float(np.linalg.norm(place - ends[k, :3, 3])),
                float(np.linalg.norm(begun[:3, 3] - ends[k, :3, 3])),
            )
        )
    return rows


def _body_errors(sweep: Sweep, decoded: np.ndarray) -> list[tuple[float, float]]:
    """Return per dose how far the probe's body is from its true place, metres, and how far one that stays is."""
    if (name := sweep.probe.body) is None:
        return []
    ends = np.stack([clip.state[name][-1, :3] for clip in sweep.branches])  # (D, 3)
    begun = sweep.branches[0].state[name][sweep.branches[0].num_context - 1, :3]
    places = np.stack([np.interp(decoded, sweep.probe.doses, ends[:, axis]) for axis in range(3)], axis=1)
    return [(float(np.linalg.norm(p - e)), float(np.linalg.norm(begun - e))) for p, e in zip(places, ends, strict=True)]


def _state_responses(sweep: Sweep, frames: np.ndarray) -> list[tuple[float, float]]:
    """Return (true, imagined) displacements of the first object against the zero dose, metres, along the true line.

    An object that is not found has not answered: 0.
    """
    zero = sweep.probe.doses.index(0.0)
    clip = sweep.branches[zero]
    if not clip.objects or np.ptp([c.c2w[-1, :3, 3] for c in sweep.branches], axis=0).max() > _LEAST_RESPONSE:
        return []
    body = clip.objects[0].name
    true = np.stack([c.state[body][-1, :3] for c in sweep.branches])
    true = true - true[zero]
    farthest = true[np.argmax(np.linalg.norm(true, axis=1))]
    if np.linalg.norm(farthest) < _LEAST_RESPONSE:
        return []
    line = farthest / np.linalg.norm(farthest)
    tracks = [extract(c.with_future(f), c) for c, f in zip(sweep.branches, frames, strict=True)]
    last = np.stack([t.world[-1, t.names.index(body)] for t in tracks])
    seen = np.nan_to_num(last - last[zero], nan=0.0) @ line
    return [(float(t @ line), float(s)) for k, (t, s) in enumerate(zip(true, seen, strict=True)) if k != zero]


def _mirror_errors(sweep: Sweep, answers: Mapping[str, np.ndarray], frames: np.ndarray) -> list[tuple[float, float]]:
    """Return squared errors (mirrored run against the mirrored truth, direct run against the truth)."""
    rows = []
    for k in (0, len(sweep.branches) - 1):
        if (mirrored := answers.get(sweep.key(f"mirror{k}"))) is not None:
            true = sweep.branches[k].future.astype(np.float32)
            back = mirrored[:, :, ::-1].astype(np.float32)
            rows.append(
                (float(((back - true) ** 2).mean()), float(((frames[k].astype(np.float32) - true) ** 2).mean()))
            )
    return rows


def _loop_returns(sweep: Sweep, answers: Mapping[str, np.ndarray]) -> list[float]:
    """Return the worse of two shares: how far it looked away by the middle, and how far it came back by the end.

    Each is 1 - MSE(seen, true) / MSE(true there, true at the other moment): 1 as the truth, 0 where it was before. A
    frozen video is back without having been away, and has 0.
    """
    if sweep.loop is None or (seen := answers.get(sweep.key("loop"))) is None:
        return []
    true, middle = sweep.loop.future.astype(np.float32), len(sweep.loop.future) // 2 - 1
    apart = float(((true[middle] - true[-1]) ** 2).mean())
    off = [float(((seen[t] - true[t]) ** 2).mean()) for t in (middle, -1)]
    return [1 - max(off) / apart] if apart else []


def _off_diagonal(table: np.ndarray) -> float:
    k = table.shape[1]
    return float(table[:, ~np.eye(k, dtype=bool)].mean())


def _pooled(rows: Sequence[tuple[float, float]]) -> float | None:
    below = sum(row[1] for row in rows)
    return sum(row[0] for row in rows) / below if below else None


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _columns(rows: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.array(rows).T
    return first, second
