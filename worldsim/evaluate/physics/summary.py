"""From the figures of clips to the tables of a report: pool, compare with the floor, admit, and give one number.

The one idea to know: a metric counts in the headline of a scenario only if, there and then, it puts the truth before a
second take of the truth, and that well before a frozen video and a wrong scene. The headline of a row is how far it
comes from the better of these two (0) to the second take (100).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldsim.evaluate.physics.scoring import best_of, better_of, loss, worst_of
from worldsim.evaluate.physics.statistics import bootstrap, interquartile_mean, paired_p

__all__ = ["HEADLINE", "NAIVE", "Table", "admitted", "caught", "clip_csv", "headline", "summarise"]

HEADLINE = ("ade", "velocity_rmse", "event_agreement", "contact_time_error")
"""Metrics of the state that the headline may count."""
HEADLINE_PIXELS = ("mse_moving",)
"""What it counts in a world whose state is not read from frames."""
NAIVE = ("copy_last", "wrong_scene")
"""Rows that know nothing of what happens; the better of them is 0."""
_MARGIN = 0.75
"""Of the loss of the better naive row, which a second take must stay below."""
_RESAMPLES = 500
_CURVE_ROWS = ("model", "copy_last", "linear", "truth_perturbed", "truth")

Scores = Mapping[str, Mapping[str, Any]]


class Table:
    """Values by row, metric and clip; the samples of a model are averaged per clip.

    Args:
        scores: {clip: {row: {"metrics": {metric: value}, "curves": ...}}}; rows named ``model#k`` become ``model``.
        sample: Keep this sample of the model alone; None takes all.
    """

    def __init__(self, scores: Scores, sample: int | None = None) -> None:
        self.clips = list(scores)
        self._values: dict[str, dict[str, dict[str, float]]] = {}
        for clip, found in scores.items():
            samples: dict[str, list[float]] = {}
            for row, score in found.items():
                if row.startswith("model#"):
                    if sample is not None and row != f"model#{sample}":
                        continue
                    for metric, value in score["metrics"].items():
                        samples.setdefault(metric, []).append(value)
                else:
                    self._values.setdefault(row, {})[clip] = dict(score["metrics"])
            if samples:
                means = {metric: float(np.mean(values)) for metric, values in samples.items()}
                self._values.setdefault("model", {})[clip] = means

    @property
    def rows(self) -> list[str]:
        """Names of the rows."""
        return list(self._values)

    def values(self, row: str, metric: str, clips: Sequence[str]) -> np.ndarray:
        """Return one value per clip, NaN where the row or the metric has none there."""
        found = self._values.get(row, {})
        return np.array([found.get(clip, {}).get(metric, np.nan) for clip in clips])

    def has(self, row: str, clip: str) -> bool:
        """Return whether a row has figures of a clip."""
        return clip in self._values.get(row, {})

    def metrics(self, clips: Sequence[str]) -> list[str]:
        """Return the metrics that the truth defines on any of these clips."""
        names: dict[str, None] = {}
        for clip in clips:
            names.update(dict.fromkeys(self._values.get("truth", {}).get(clip, {})))
        return list(names)


def _of(clips: Sequence[str], scenario: str | None = None, splits: Sequence[str] | None = None) -> list[str]:
    return [
        clip
        for clip in clips
        if (scenario is None or clip.split(".")[0] == scenario) and (splits is None or clip.split(".")[1] in splits)
    ]


def _losses(table: Table, row: str, metric: str, clips: Sequence[str]) -> np.ndarray:
    """Return losses per clip; a row that has none where the truth has one gets the worst."""
    values = table.values(row, metric, clips)
    found = np.array([loss(metric, value) for value in values])
    found[np.isnan(values)] = loss(metric, worst_of(metric))
    return np.where(np.isfinite(table.values("truth", metric, clips)), found, np.nan)


def _anchors(losses: Mapping[str, np.ndarray]) -> tuple[float, float, float]:
    """Return mean losses of the truth, of what counts as 100 and of what counts as 0."""
    truth = float(np.nanmean(losses["truth"]))
    hundred = max(float(np.nanmean(losses["truth_perturbed"])), truth)
    return truth, hundred, min(float(np.nanmean(losses[row])) for row in NAIVE)


def admitted(table: Table, metric: str, clips: Sequence[str]) -> bool:
    """Return whether a metric orders what it must on some clips: truth, second take, and well behind them the naive."""
    losses = {row: _losses(table, row, metric, clips) for row in ("truth", "truth_perturbed", *NAIVE)}
    if not np.isfinite(losses["truth"]).any():
        return False
    truth, hundred, zero = _anchors(losses)
    return truth <= hundred < _MARGIN * zero


def headline(table: Table, row: str, clips: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """Return the score of a row over some clips, 0 to 100, with its 95% bootstrap interval over clips.

    The interval is None where a scenario has one clip: nothing then says how much clips differ.

    Args:
        table: All figures.
        row: Which row.
        clips: Over which clips; all metrics of HEADLINE that are admitted in a scenario count there alike, and all
            scenarios that admit one count alike.
        seed: Of the resampling.
    """
    scenarios = list(dict.fromkeys(clip.split(".")[0] for clip in clips))
    wished = _wished(table, clips)
    parts: list[list[dict[str, np.ndarray]]] = []
    for scenario in scenarios:
        here = _of(clips, scenario)
        metrics = [metric for metric in wished if admitted(table, metric, here)]
        if metrics:
            names = ("truth", "truth_perturbed", *NAIVE, row)
            parts.append([{name: _losses(table, name, metric, here) for name in names} for metric in metrics])
    if not parts:
        return {"value": None, "lo": None, "hi": None, "n": 0, "scenarios": 0}
    rng = np.random.default_rng(seed)
    values = np.zeros(1 + _RESAMPLES)  # the clips as they are, then resamples
    for part in parts:
        n = len(part[0][row])
        weights = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), _RESAMPLES)])
        values += np.mean([_normalised(losses, row, weights) for losses in part], axis=0) / len(parts)
    sizes = [len(part[0][row]) for part in parts]
    found = {"value": float(values[0]), "lo": None, "hi": None, "n": sum(sizes), "scenarios": len(parts)}
    if min(sizes) > 1:
        found |= dict(zip(("lo", "hi"), np.quantile(values[1:], [0.025, 0.975]).tolist(), strict=True))
    return found


def _wished(table: Table, clips: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics that the headline may count: of the state where it is read, else of pixels."""
    return HEADLINE if any("ade" in table.metrics([clip]) for clip in clips) else HEADLINE_PIXELS


def _normalised(losses: Mapping[str, np.ndarray], row: str, weights: np.ndarray) -> np.ndarray:
    """Return 100 (zero - loss) / (zero - hundred) within 0 and 100 for every weighting (R, clips) of the clips, (R,).

    A resample of clips that cannot tell a second take from the naive rows gives 0 or 100.
    """

    def mean(name: str) -> np.ndarray:
        has = np.isfinite(losses[name])
        size = weights @ has
        usual = float(losses[name][has].mean())  # where a resample drew only clips that the metric is not defined on
        return np.where(size > 0, weights @ np.where(has, losses[name], 0.0) / np.maximum(size, 1), usual)

    hundred = np.maximum(mean("truth_perturbed"), mean("truth"))
    zero = np.min([mean(name) for name in NAIVE], axis=0)
    gap, mine = zero - hundred, zero - mean(row)
    flat = np.where(mean(row) <= hundred, 100.0, 0.0)
    return np.where(gap > 0, np.clip(100 * mine / np.where(gap > 0, gap, 1.0), 0, 100), flat)


def caught(planted: Mapping[str, float], truth: Mapping[str, float], codec: Mapping[str, float]) -> list[str]:
    """Return the metrics that see a planted corruption: beyond twice the loss of the truth and of its codec copy.

    A hundredth of the range between best and worst comes on top, so that rounding is no discovery.
    """
    found = []
    for metric, value in planted.items():
        if metric not in truth or metric not in codec:
            continue
        floor = 2 * max(loss(metric, truth[metric]), loss(metric, codec[metric]))
        least = 0.01 * min(abs(worst_of(metric) - best_of(metric)), 1.0)
        if loss(metric, value) > floor + least:
            found.append(metric)
    return found


def summarise(scores: Scores, planted: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Return the tables of a run as JSON values.

    Args:
        scores: Figures by clip and row.
        planted: {clip: {corruption: {metric: value}}}.

    Returns:
        ``floor``, ``scenarios`` (in range), ``out_of_range`` by split, ``rows``, ``headline``,
        ``headline_out_of_range``, ``headline_by_noise_seed``, ``admitted``, ``corruptions``, ``curves``, ``paired``
        and ``iqm``.
    """
    table = Table(scores)
    scenarios = list(dict.fromkeys(clip.split(".")[0] for clip in table.clips))
    splits = list(dict.fromkeys(clip.split(".")[1] for clip in table.clips))
    inside, outside = _of(table.clips, splits=["train"]), [c for c in table.clips if c.split(".")[1] != "train"]
    of = {s: _of(inside, s) for s in scenarios}
    floor = {s: {m: _value(table, "truth", m, of[s]) for m in table.metrics(of[s])} for s in scenarios}
    return {
        "floor": floor,
        "scenarios": {s: _figures(table, "model", of[s], floor[s]) for s in scenarios},
        "out_of_range": {
            split: {s: _figures(table, "model", _of(outside, s, [split]), floor[s]) for s in scenarios}
            for split in splits
            if split != "train"
        },
        "rows": {row: _row(table, row, inside, outside, scenarios) for row in table.rows},
        "headline": headline(table, "model", inside),
        "headline_out_of_range": headline(table, "model", outside) if outside else None,
        "headline_by_noise_seed": [headline(Table(scores, k), "model", inside)["value"] for k in _samples(scores)],
        "admitted": {s: [m for m in _wished(table, inside) if admitted(table, m, _of(inside, s))] for s in scenarios},
        "corruptions": _caught_table(planted, table),
        "curves": _curves(scores),
        "paired": _paired(table, inside),
        "iqm": {row: interquartile_mean(table.values(row, _main(table, inside), inside)) for row in table.rows},
    }


def _samples(scores: Scores) -> list[int]:
    """Return the numbers of the model's noise samples that every clip has."""
    found = [{int(row.partition("#")[2]) for row in rows if row.startswith("model#")} for rows in scores.values()]
    return sorted(set.intersection(*found))


def _main(table: Table, clips: Sequence[str]) -> str:
    return "ade" if "ade" in table.metrics(clips) else "mse_moving"


def _value(table: Table, row: str, metric: str, clips: Sequence[str]) -> float:
    return float(np.nanmean(table.values(row, metric, clips)))


def _figures(table: Table, row: str, clips: Sequence[str], floor: Mapping[str, float]) -> dict[str, Any]:
    out = {}
    for metric in table.metrics(clips):
        found = bootstrap(table.values(row, metric, clips))
        if not found.n:
            continue
        near = metric in floor and loss(metric, found.value) <= 2 * loss(metric, floor[metric])
        out[metric] = {"value": found.value, "lo": found.lo, "hi": found.hi, "n": found.n, "at_floor": bool(near)}
    return out


def _row(
    table: Table, row: str, inside: Sequence[str], outside: Sequence[str], scenarios: Sequence[str]
) -> dict[str, Any]:
    if row != "model":  # a law is known in some scenarios only, and scored in these
        inside, outside = ([clip for clip in clips if table.has(row, clip)] for clips in (inside, outside))
    of = {s: _of(inside, s) for s in scenarios}
    shown = [*HEADLINE, *HEADLINE_PIXELS, "permanence", "iq_verified", "pisa_l2", "pisa_iou", "ssim_object", "ssim"]
    return {
        "headline": headline(table, row, inside),
        "headline_out_of_range": headline(table, row, outside) if outside else None,
        "metrics": {m: vars(bootstrap(table.values(row, m, inside))) for m in shown if m in table.metrics(inside)},
        "scenarios": {
            s: {m: _value(table, row, m, of[s]) for m in table.metrics(of[s]) if _has(table, row, m, of[s])}
            for s in scenarios
        },
    }


def _has(table: Table, row: str, metric: str, clips: Sequence[str]) -> bool:
    return bool(np.isfinite(table.values(row, metric, clips)).any())


def _caught_table(planted: Mapping[str, Mapping[str, Mapping[str, float]]], table: Table) -> dict[str, Any]:
    """Return {corruption: {"caught", "n", "by": {metric: share of clips}}}."""
    out: dict[str, dict[str, Any]] = {}
    for clip, found in planted.items():
        truth = {m: float(table.values("truth", m, [clip])[0]) for m in table.metrics([clip])}
        codec = {m: float(table.values("truth_codec", m, [clip])[0]) for m in truth}
        for name, metrics in found.items():
            entry = out.setdefault(name, {"caught": 0, "n": 0, "by": {}})
            by = caught(metrics, truth, codec)
            entry["n"] += 1
            entry["caught"] += bool(by)
            for metric in by:
                entry["by"][metric] = entry["by"].get(metric, 0) + 1
    for entry in out.values():
        entry["by"] = dict(sorted(((m, c / entry["n"]) for m, c in entry["by"].items()), key=lambda item: -item[1])[:6])
    return out


def _curves(scores: Scores) -> dict[str, Any]:
    """Return {scenario: {row: {curve: mean over clips per step}}} of the clips in range."""
    gathered: dict[str, dict[str, dict[str, list[list[float]]]]] = {}
    for clip, found in scores.items():
        scenario, split, _ = clip.split(".")
        if split != "train":
            continue
        for row, score in found.items():
            name = row.split("#")[0]
            if name in _CURVE_ROWS:
                for curve, values in score["curves"].items():
                    gathered.setdefault(scenario, {}).setdefault(name, {}).setdefault(curve, []).append(values)
    return {
        scenario: {
            row: {curve: _step_means(lines) for curve, lines in curves.items()} for row, curves in by_row.items()
        }
        for scenario, by_row in gathered.items()
    }


def _step_means(lines: Sequence[Sequence[float | None]]) -> list[float | None]:
    table = np.array([[np.nan if v is None else v for v in line] for line in lines], float)
    count = np.isfinite(table).sum(axis=0)
    total = np.where(np.isfinite(table), table, 0.0).sum(axis=0)
    return [float(f"{t / c:.5g}") if c else None for t, c in zip(total, count, strict=True)]


def _paired(table: Table, clips: Sequence[str]) -> dict[str, Any]:
    """Return, per row, the paired difference to the model in the main metric over the same clips, and its p."""
    metric = _main(table, clips)
    mine = table.values("model", metric, clips)
    out = {}
    for row in table.rows:
        if row == "model" or not len(mine):
            continue
        theirs = table.values(row, metric, clips)
        both = np.isfinite(mine) & np.isfinite(theirs)
        if both.sum() < 2:
            continue
        out[row] = {
            "metric": metric,
            "model_minus_row": float((mine - theirs)[both].mean()),
            "p": paired_p(mine, theirs),
            "n": int(both.sum()),
            "better": better_of(metric),
        }
    return out


def clip_csv(scores: Scores, facts: Mapping[str, Any]) -> str:
    """Return CSV with one line per clip, row and noise sample: its metrics, those that failed, the facts of the run."""
    metrics = list(dict.fromkeys(m for found in scores.values() for score in found.values() for m in score["metrics"]))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["scenario", "split", "clip", "row", "sample", *metrics, "failed", *facts])
    for clip, found in scores.items():
        scenario, split, number = clip.split(".")
        for row, score in found.items():
            name, _, sample = row.partition("#")
            values = [f"{score['metrics'][m]:.5g}" if m in score["metrics"] else "" for m in metrics]
            writer.writerow(
                [scenario, split, number, name, sample, *values, " ".join(score["failed"]), *facts.values()]
            )
    return out.getvalue()
