"""Looking at a difference again after every added seed, without finding more false differences for it.

Whoever adds seeds until an interval excludes 0 finds a difference too often: each look is another chance. A group
sequential test spreads the error rate over the looks. Its looks are at fractions t in (0, 1] of the most seeds; by the
look at t it may have spent, on either side, 2 - 2 Phi(z / sqrt(t)) with z the upper alpha/4 quantile (Lan and DeMets,
Biometrika 1983, after O'Brien and Fleming): almost nothing early, nearly all of it at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from bench.errors import TemperError
from bench.ranking.statistics import Difference, moderated_variance, paired_difference
from bench.ranking.variance import Array

NODES = 201  # of the quadrature over the values at which a look does not stop


@dataclass(frozen=True)
class Look:
    """A difference after so many `seeds` of both methods, tested at `level`; its interval is that of 1 - `level`."""

    seeds: int
    level: float
    difference: Difference

    @property
    def decided(self) -> bool:
        """Whether the interval excludes 0."""
        return self.difference.p < self.level


def look(board: Sequence[NDArray[Any]], first: int, second: int, seeds: int, level: float) -> Look:
    """The difference of two rows of a board, arrays (S_m, N), after their first `seeds` seeds.

    The other rows only take part in the moderation of the variance between seeds.
    """
    pair = [first, second]
    seen = [outcomes[:seeds] if row in pair else outcomes for row, outcomes in enumerate(board)]
    variance, df = moderated_variance([outcomes.mean(1) for outcomes in seen])
    return Look(seeds, level, paired_difference(seen[first], seen[second], variance[pair], df[pair], 1 - level))


def spent(fraction: float, alpha: float = 0.05) -> float:
    """The part of `alpha`, both sides together, that may be spent by a look at `fraction` in (0, 1]."""
    return float(4 * norm.sf(norm.isf(alpha / 4) / np.sqrt(fraction)))


def nominal_levels(seeds: Sequence[int], alpha: float = 0.05) -> Array:
    """The level (K,) of the two-sided test at each look, for looks at these rising numbers of `seeds`.

    A Brownian motion that is looked at after t = seeds / most leaves the bounds by each look with probability
    `spent(t)`: bound after bound by recursive integration (Armitage, McPherson and Rowe 1969). Differences on fixed
    test images are correlated more than that from look to look: the test errs less often for it, never more.

    Raises TemperError for numbers that do not rise or are not positive.
    """
    if not seeds or seeds[0] < 1 or any(later <= sooner for sooner, later in pairwise(seeds)):
        raise TemperError(f"looks must be at rising numbers of seeds, got {list(seeds)}")
    times = np.array(seeds, dtype=np.float64) / seeds[-1]
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    at, mass = np.zeros(1), np.ones(1)  # where the motion is, if no look stopped it, and with what probability
    levels, before = [], 0.0
    for time, elapsed in zip(times, np.diff(times, prepend=0.0), strict=True):
        step = np.sqrt(elapsed)
        bound = _bound(at, mass, step, spent(time, alpha) - before)
        levels.append(2 * norm.sf(bound / np.sqrt(time)))
        reached, before = bound * nodes, spent(time, alpha)
        at, mass = reached, bound * weights * (norm.pdf((reached[:, None] - at) / step) / step @ mass)
    return np.array(levels)


def _bound(at: Array, mass: Array, step: float, probability: float) -> float:
    """The b for which a step of that standard deviation ends outside [-b, b] with `probability`."""

    def excess(bound: float) -> float:
        return float(((norm.sf((bound - at) / step) + norm.sf((bound + at) / step)) @ mass) - probability)

    return float(brentq(excess, 0.0, 40.0, xtol=1e-12))
