"""One method over several scenarios: interquartile mean and performance profile of its points above PGD-AT.

`points` (..., K) hold one number a scenario, such as robust accuracy less that of PGD-AT. NaN, a scenario without a
record, makes the result NaN: leaving it out would compare methods on different scenarios.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import trim_mean

from bench.ranking.variance import Array

NORMAL_DF = 1e9  # a Student t of so many is a normal; NumPy draws none of infinitely many


def interquartile_mean(points: ArrayLike) -> NDArray[Any]:
    """Mean (...) of `points` (..., K) less the lowest and the highest quarter, each rounded down (Agarwal et al. 2021).

    So it is the plain mean below four scenarios.
    """
    points = np.asarray(points, dtype=np.float64)
    return np.where(np.isnan(points).any(-1), np.nan, trim_mean(points, 0.25, axis=-1))


def performance_profile(points: ArrayLike, taus: ArrayLike) -> NDArray[Any]:
    """Share of scenarios, (..., T) in [0, 1], in which `points` (..., K) exceed each of `taus` (T,).

    Dolan and More 2002, with a score instead of a ratio of times as in Agarwal et al. 2021.
    """
    points = np.asarray(points, dtype=np.float64)[..., None, :]
    share = (points > np.asarray(taus, dtype=np.float64)[:, None]).mean(-1)
    return np.where(np.isnan(points).any(-1), np.nan, share)


def resampling_interval(
    statistic: Callable[[Array], NDArray[Any]],
    points: ArrayLike,
    se: ArrayLike,
    df: ArrayLike,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Percentile interval of `statistic` (a function along the last axis) of the `points` (K,) of one method.

    Stratified as in Agarwal et al. 2021: every scenario is redrawn on its own, and the scenarios stay the same, since
    they are a chosen set and no sample. Three seeds are too few to draw from, so a scenario's point is moved by a
    Student t draw of its standard error `se` (K,) and `df` (K,), those of `paired_difference`. A zero `se` is a known
    point (PGD-AT itself); an unknown one (NaN) makes the interval NaN.
    """
    points, se = np.asarray(points, dtype=np.float64), np.asarray(se, dtype=np.float64)
    draws = np.random.default_rng(seed).standard_t(np.minimum(df, NORMAL_DF), (resamples, len(points)))
    moved = points + np.where(se == 0, 0, se * draws)
    low, high = np.quantile(statistic(moved), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
