"""Pareto fronts against brute force."""

import numpy as np
import pytest

from bench.ranking.statistics import front


@pytest.mark.parametrize("smaller", [(), (1,), (0, 2)])
@pytest.mark.parametrize("seed", range(10))
def test_the_front_is_what_nothing_dominates(seed, smaller):
    points = np.random.default_rng(seed).integers(0, 4, (25, 3)).astype(float)  # with ties and copies
    sign = [-1 if d in smaller else 1 for d in range(3)]
    want = []
    for mine in points * sign:
        others = [other for other in points * sign if not np.array_equal(other, mine)]
        want.append(not any(all(other >= mine) for other in others))
    assert front(points, smaller).tolist() == want
    assert 0 < sum(want) < 25


def test_clean_accuracy_against_compute():
    robust, compute = [0.5, 0.6, 0.6, 0.4], [1.0, 2.0, 3.0, 0.5]
    assert front(np.transpose([robust, compute]), smaller=[1]).tolist() == [True, True, False, True]
    assert front(np.transpose([robust, compute])).tolist() == [False, False, True, False]


def test_copies_share_the_front_and_an_unknown_point_neither_joins_nor_hides_others():
    assert front([[1, 2], [1, 2], [2, np.nan], [np.nan, 9]]).tolist() == [True, True, False, False]
    assert front(np.empty((0, 2))).tolist() == []
    given = np.array([[1.0, 2.0]])
    front(given, smaller=[0])
    assert given.tolist() == [[1.0, 2.0]]
