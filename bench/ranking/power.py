"""What it would take to decide a difference: more seeds of both methods, or more test images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t

from bench.ranking.statistics import pairwise
from bench.ranking.variance import Array, as_outcomes, interaction, satterthwaite

MOST = {"seeds": 1_000, "images": 10_000_000}


@dataclass(frozen=True)
class Needs:
    """What would find the difference seen, were it the true one, at 5% two-sided in 80% of repetitions.

    `seeds` of each method on the present images; test `images` with the present seeds. None: no number (up to MOST)
    would do, since the other part of the error stays.
    """

    seeds: int | None
    images: int | None


def needs(
    first: NDArray[Any], second: NDArray[Any], seed_variance: ArrayLike, seed_df: ArrayLike, power: float = 0.8
) -> Needs:
    """What would decide between `first` (S1, N) and `second` (S2, N), given moderated variances (2,) of one seed's
    accuracy and their df (2,).

    The images' part of the squared error shrinks with the images; of the seeds' part, what a seed does to single
    images shrinks with both, the rest with the seeds, which add to its df. Test and power are those of
    `minimum_detectable_difference`.
    """
    board = [as_outcomes(first), as_outcomes(second)]
    pairs = pairwise(board, seed_variance, seed_df)
    delta, image, images = abs(float(pairs.mean[0, 1])), float(pairs.image[0, 1]), board[0].shape[1]
    seeds = np.array([len(outcomes) for outcomes in board])
    single = np.array([interaction(outcomes) for outcomes in board])
    whole = np.maximum(np.asarray(seed_variance) - single / images, 0)

    def enough(n: Array, m: int) -> bool:
        parts = np.array([((whole + single / m) / n).sum(), image * images / m])
        df = np.array([np.min(np.asarray(seed_df) + n - seeds), m - 1.0])
        total = satterthwaite(parts, df)
        reach = student_t.ppf(0.975, total) + student_t.ppf(power, total)
        return bool(delta >= reach * np.sqrt(parts.sum()))

    return Needs(
        _smallest(lambda n: enough(np.maximum(seeds, n), images), int(seeds.min()), MOST["seeds"]),
        _smallest(lambda m: enough(seeds, m), images, MOST["images"]),
    )


def _smallest(enough: Callable[[int], bool], low: int, high: int) -> int | None:
    """The smallest number from `low` to `high` that is enough, where more is never worse; None if `high` is not."""
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
