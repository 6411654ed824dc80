"""Pareto fronts: what no other row beats in everything at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def front(points: ArrayLike, smaller: Sequence[int] = ()) -> NDArray[np.bool_]:
    """Which of `points` (n, d) lie on the front, bool (n,): no other is as good in every coordinate and better in one.

    Larger is better, but in the coordinates listed in `smaller`, such as compute. Equal points are on the front
    together; a point with a NaN is not on it.
    """
    points = np.array(points, dtype=np.float64)
    points[:, list(smaller)] *= -1
    as_good = (points[:, None] >= points).all(2)  # row against column
    dominated = (as_good & ~as_good.T).any(0)
    return ~dominated & ~np.isnan(points).any(1)
