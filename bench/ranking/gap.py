"""How much of the way from PGD-AT to the teacher a student goes, with an interval by joint resampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.ranking.comparison import seed_averages
from bench.ranking.variance import Array, as_outcomes, interaction


@dataclass(frozen=True)
class Gap:
    """(student - base) / (teacher - base) and its interval; 1 where the student reaches the teacher."""

    value: float
    low: float
    high: float


def gap_closed(
    robust: Sequence[NDArray[Any]],
    base: int,
    teacher: NDArray[Any],
    seed_variance: ArrayLike,
    seed_df: ArrayLike,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Gap | None]:
    """(student - base) / (teacher - base) of every method of a board; `base` is the index of PGD-AT.

    Percentile interval by joint resampling: the images are drawn once for all methods and the `teacher`
    (1, N), one fixed network without a seed part. Three seeds are too few to draw from, so each method's mean
    is moved by a Student t draw of its `seed_df`, scaled by sqrt((v - var(c)/N) / S): var(c) comes with the
    images (see `image_variance`). All None unless teacher - base exceeds 2 points and its interval excludes
    0.
    """
    board = [as_outcomes(r) for r in robust]
    means = seed_averages([*board, as_outcomes(teacher)])
    draws = _resampled(means, resamples, np.random.default_rng([seed, 0]))
    draws[:, :-1] += _seed_draws(board, seed_variance, seed_df, resamples, np.random.default_rng([seed, 1]))
    centre, tails = means.mean(1), [(1 - level) / 2, (1 + level) / 2]
    room, rooms = centre[-1] - centre[base], draws[:, -1] - draws[:, base]
    if not (room > 0.02 and np.quantile(rooms, tails[0]) > 0):
        return [None] * len(board)
    gains = draws[:, :-1] - draws[:, [base]]
    beyond = np.where(gains == 0, 0, np.copysign(np.inf, gains))  # of no room at all; 0 of 0 is 0
    ratios = np.divide(gains, rooms[:, None], out=beyond, where=rooms[:, None] != 0)
    values, (low, high) = (centre[:-1] - centre[base]) / room, np.quantile(ratios, tails, axis=0)
    return [Gap(float(v), float(a), float(b)) for v, a, b in zip(values, low, high, strict=True)]


def _resampled(means: Array, resamples: int, rng: np.random.Generator, chunk: int = 250) -> Array:
    """Means (resamples, M) of `means` (M, N) over images drawn with replacement: counts x a matrix product."""
    images, out = means.shape[1], []
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = rng.integers(0, images, (rows, images)) + images * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images)
        out.append(counts.astype(np.float64) @ means.T / images)
    return np.concatenate(out)


def _seed_draws(
    board: Sequence[Array],
    seed_variance: ArrayLike,
    seed_df: ArrayLike,
    resamples: int,
    rng: np.random.Generator,
) -> Array:
    own = np.array([interaction(r) / r.shape[1] for r in board])
    seeds = np.array([len(r) for r in board])
    scale = np.sqrt(np.maximum(np.asarray(seed_variance) - own, 0) / seeds)
    return rng.standard_t(np.asarray(seed_df), (resamples, len(board))) * scale
