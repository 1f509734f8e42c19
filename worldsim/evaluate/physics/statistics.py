"""How sure a figure is: intervals over clips, paired tests, permutation tests, rank agreement. Pure functions.

The one idea to know: clips are what is independent. Steps, objects and noise samples of one clip are averaged first, so
that ``n`` counts clips and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from scipy.stats import kendalltau, rankdata

__all__ = ["Interval", "bootstrap", "interquartile_mean", "label_permutation", "paired_p", "rank_agreement", "slope"]

_RESAMPLES = 2000
_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over clips with its 95% bootstrap interval; NaN where no clip has a value, no interval of one clip."""

    value: float
    lo: float
    hi: float
    n: int


def bootstrap(values: np.ndarray, *, seed: int = 0) -> Interval:
    """Return the mean of one number per clip and its 95% percentile bootstrap interval.

    Args:
        values: (clips,); NaN marks a clip that has no value, and does not count.
        seed: Of the resampling.
    """
    kept = np.asarray(values, np.float64)
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return Interval(value=float("nan"), lo=float("nan"), hi=float("nan"), n=0)
    if len(kept) == 1:
        return Interval(value=float(kept[0]), lo=float("nan"), hi=float("nan"), n=1)
    rng = np.random.default_rng(seed)
    means = kept[rng.integers(0, len(kept), (_RESAMPLES, len(kept)))].mean(axis=1)
    tail = (1 - _LEVEL) / 2
    lo, hi = np.quantile(means, [tail, 1 - tail])
    return Interval(value=float(kept.mean()), lo=float(lo), hi=float(hi), n=len(kept))


def interquartile_mean(values: np.ndarray) -> float:
    """Return the mean of the middle half of the finite values, which a few failures cannot move; NaN without any."""
    kept = np.sort(np.asarray(values, np.float64)[np.isfinite(values)])
    cut = len(kept) // 4
    return float(kept[cut : len(kept) - cut].mean()) if len(kept) else float("nan")


def paired_p(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> float:
    """Return the two-sided p of a sign-flip test on the paired differences of two rows over the same clips.

    Up to 12 clips every flip is counted; beyond, 10,000 are drawn. NaN with fewer than 2 pairs.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    difference = difference[np.isfinite(difference)]
    n = len(difference)
    if n < 2:
        return float("nan")
    if n <= 12:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)  # (2^n, n)
    else:
        rng = np.random.default_rng(seed)
        signs = np.concatenate([np.ones((1, n)), rng.choice([-1.0, 1.0], (9999, n))])
    means = np.abs(signs @ difference)
    return float((means >= means[0] - _tie(means[0])).mean())  # the first flips nothing


def label_permutation(errors: np.ndarray, *, seed: int = 0, num_samples: int = 10_000) -> float:
    """Return the p that branches fit their own truths no better than each other's.

    Args:
        errors: (clips, K, K); entry [c, i, j] is how far the branch imagined under action i is from the true branch
            under action j, of the same start.
        seed: Of the permutations, drawn independently per clip; all are counted where there are fewer.
        num_samples: Permutations drawn.

    Returns:
        The share of relabelings whose matched errors sum to at most the observed ones, the observed one included.
    """
    errors = np.asarray(errors, np.float64)
    num_clips, k, _ = errors.shape
    observed = errors[:, range(k), range(k)].sum()
    if num_clips == 1 and k <= 6:
        sums = np.array([errors[0, range(k), order].sum() for order in permutations(range(k))])
        return float((sums <= observed + _tie(observed)).mean())
    rng = np.random.default_rng(seed)
    orders = rng.random((num_samples, num_clips, k)).argsort(axis=2)
    clips, branches = np.arange(num_clips)[:, None], np.arange(k)
    sums = errors[clips, branches, orders].sum(axis=(1, 2))  # (samples,)
    return float((1 + (sums <= observed + _tie(observed)).sum()) / (1 + num_samples))


def _tie(total: float) -> float:
    """Return by how much two equal sums may differ for having been added up in another order."""
    return 1e-9 * max(abs(total), 1e-300)


def rank_agreement(commanded: np.ndarray, answered: np.ndarray) -> tuple[float, float]:
    """Return Spearman's rho and Kendall's tau; 0 where the answer never changes, since it then follows nothing."""
    if len(commanded) < 2 or np.ptp(answered) == 0 or np.ptp(commanded) == 0:
        return 0.0, 0.0
    rho = float(np.corrcoef(rankdata(commanded), rankdata(answered))[0, 1])
    tau: Any = kendalltau(commanded, answered)
    return rho, float(tau.statistic)


def slope(commanded: np.ndarray, answered: np.ndarray) -> float:
    """Return the least-squares slope of the answer over the command; NaN if the command never changes."""
    centred = commanded - commanded.mean()
    power = float(centred @ centred)
    return float(centred @ answered / power) if power else float("nan")
