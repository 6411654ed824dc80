"""One method's accuracy: the variance between seeds, moderated over the board, and its intervals.

A method's `robust` is an array `(S, N)`, seeds x test images, 1 where the student of that seed is robust on
that image. The model is the crossed one, `robust[s, i] = mean + a_s + b_i + c_si`: an effect of the seed, of
the image, and of both together. Accuracies and their standard errors are fractions in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, ndtri, polygamma, stdtrit

from bench.errors import TemperError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean in [0, 1], its interval clipped to [0, 1], its standard error and degrees of freedom."""

    mean: float
    low: float
    high: float
    se: float
    df: float


@dataclass(frozen=True)
class Prior:
    """Smyth's prior of the seed variances: `scale` = s0^2 with `df` = d0 (infinite: one for all methods)."""

    scale: float
    df: float


def as_outcomes(robust: NDArray[Any]) -> Array:
    """`robust` as float64 (S, N). Raises TemperError for another number of dimensions or an empty array."""
    robust = np.asarray(robust, dtype=np.float64)
    if robust.ndim != 2 or robust.size == 0:
        raise TemperError(f"robust must be (seeds, images), at least one of each, got shape {robust.shape}")
    return robust


def trigamma_inverse(x: float) -> float:
    """The y > 0 with trigamma(y) = x > 0, by Newton's method on 1 / trigamma (Smyth 2004, appendix)."""
    if x > 1e7:
        return x**-0.5
    if x < 1e-6:
        return 1 / x
    y = 0.5 + 1 / x
    for _ in range(50):
        value = float(polygamma(1, y))
        step = value * (1 - value / x) / float(polygamma(2, y))
        y += step
        if abs(step) < 1e-12 * y:
            break
    return y


def fit_prior(variance: Array, df: Array) -> Prior:
    """The prior that sample variances (M,) > 0, M >= 2, of `df` (M,) come from (Smyth 2004, section 6.2).

    Moments of log s^2: what the logs vary beyond their sampling variance, trigamma(df/2), is the prior's.
    Where nothing is left the prior's df are infinite, and its scale is the pooled variance.
    """
    logs = np.log(variance) - digamma(df / 2) + np.log(df / 2)
    excess = float(logs.var(ddof=1) - polygamma(1, df / 2).mean())
    if excess <= 0:
        return Prior(float(df @ variance / df.sum()), np.inf)
    half = trigamma_inverse(excess)
    return Prior(float(np.exp(logs.mean() + digamma(half) - np.log(half))), 2 * half)


def moderated_variance(accuracies: Sequence[NDArray[Any]]) -> tuple[Array, Array]:
    """Variance of ONE seed's accuracy (M,) and its df (M,), from each method's accuracies (S_m,), one per seed.

    Empirical Bayes (Smyth 2004): (d0 s0^2 + d s^2) / (d0 + d) with d0 + d df, at most the df of all methods
    together; but never below the method's own s^2. Few seeds rarely show that methods are not equally noisy, and
    then the variance of the noisiest is the one that pooling makes too small: what it adds in false differences,
    and what the bound costs in width, is in docs/statistics.md.
    A method with one seed gets the prior. Variances that are exactly zero (`natural`: 0% for every seed) do not
    enter the fit, and are moderated by it. Below two positive variances there is no fit: each method keeps its
    own, with S - 1 df, a method with one seed borrows the only positive one, and what remains unknown is NaN.
    """
    df = np.array([len(a) - 1 for a in accuracies], dtype=np.float64)
    own = np.array([np.var(a, ddof=1) if len(a) > 1 else np.nan for a in accuracies], dtype=np.float64)
    own[own < 1e-20] = 0  # equal accuracies, but for rounding
    used = own > 0
    if used.sum() < 2:
        scale, prior_df = (own[used][0], df[used][0]) if used.any() else (np.nan, np.nan)
        return np.where(df > 0, own, scale), np.where(df > 0, df, prior_df)
    prior = fit_prior(own[used], df[used])
    weight = 1.0 if np.isinf(prior.df) else prior.df / (prior.df + df)
    moderated = weight * prior.scale + (1 - weight) * np.nan_to_num(own)
    return np.fmax(moderated, own), np.minimum(prior.df + df, df[used].sum())


def interaction(robust: Array) -> float:
    """Mean square (variance of c_si) of what neither the seed nor the image explains; 0 for a single seed."""
    if min(robust.shape) < 2:
        return 0.0
    rest = robust - robust.mean(0) - robust.mean(1, keepdims=True) + robust.mean()
    return float((rest**2).sum() / ((robust.shape[0] - 1) * (robust.shape[1] - 1)))


def image_variance(robust: Array) -> float:
    """What the images alone add to the variance of the mean of `robust` (S, N).

    The variance over images of the seed averages, var(b) + var(c)/S, holds the part c_si that the variance
    between seeds' accuracies, var(a) + var(c)/N, holds too. Added as they are they would count var(c)/(SN)
    twice (simulated boards: 1.04 to 1.11 times a mean's width, 1.05 to 1.23 times a difference's).
    So it is taken out once (expected mean squares of the crossed layout; never below 0). A single
    seed cannot tell c from b: there it stays, and the interval is somewhat wide.
    """
    seeds, images = robust.shape
    if images < 2:
        return float("nan")
    between = float(robust.mean(0).var(ddof=1))
    return max(between - interaction(robust) / seeds, 0.0) / images


def satterthwaite(parts: Array, df: Array) -> Array:
    """Degrees of freedom (...) of a sum of independent variances `parts` (K, ...), with `df` (K, ...)."""
    total, spread = parts.sum(0) ** 2, (parts**2 / df).sum(0)
    return np.divide(total, spread, out=np.full_like(total, np.inf), where=spread != 0)


def mean_interval(robust: NDArray[Any], seed_variance: float, seed_df: float, level: float = 0.95) -> Interval:
    """t interval of the mean over seeds and over images like these, from `robust` (S, N).

    Variance: `seed_variance` (of one seed's accuracy, see `moderated_variance`) / S + `image_variance`, with
    Satterthwaite's df. A seed variance of NaN gives an interval of NaN.
    """
    robust = as_outcomes(robust)
    parts = np.array([seed_variance / robust.shape[0], image_variance(robust)])
    df = float(satterthwaite(parts, np.array([seed_df, robust.shape[1] - 1.0])))
    return _interval(float(robust.mean()), float(np.sqrt(parts.sum())), df, level)


def image_interval(robust: NDArray[Any], level: float = 0.95) -> Interval:
    """Wilson's interval (1927) of ONE network's accuracy over images like these, from `robust` (N,).

    Its seeds are not known, so that what another training would change is not in it. Unlike `mean_interval` it does
    not shrink to a point where all images are robust, or none.
    """
    (robust,) = as_outcomes(np.asarray(robust)[None])
    mean, images, z = float(robust.mean()), robust.size, float(ndtri((1 + level) / 2))
    centre, weight = mean + z**2 / (2 * images), 1 + z**2 / images
    half = z * np.sqrt(mean * (1 - mean) / images + z**2 / (4 * images**2))
    low, high = np.clip([(centre - half) / weight, (centre + half) / weight], 0, 1)
    return Interval(mean, float(low), float(high), float(np.sqrt(mean * (1 - mean) / images)), np.inf)


def prediction_interval(
    accuracies: NDArray[Any], seed_variance: float, seed_df: float, level: float = 0.95
) -> Interval:
    """Where ONE new run's accuracy falls, given `accuracies` (n,) of stored runs: mean +- t s sqrt(1 + 1/n).

    No image part: the new run is judged on the very same test images, so what they add is in all runs alike;
    and how it disagrees with the stored runs image by image is in the variance between seeds already.
    """
    accuracies = np.asarray(accuracies, dtype=np.float64)
    se = np.sqrt(seed_variance * (1 + 1 / len(accuracies)))
    return _interval(float(accuracies.mean()), float(se), seed_df, level)


def _interval(mean: float, se: float, df: float, level: float) -> Interval:
    half = float(stdtrit(df, (1 + level) / 2)) * se  # quantile of Student's t
    low, high = np.clip([mean - half, mean + half], 0, 1)
    return Interval(mean, float(low), float(high), se, df)
