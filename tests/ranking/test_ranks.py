"""Holm, ranks and letters against their definitions and brute force."""

from itertools import combinations

import numpy as np
import pytest

from bench.ranking.statistics import holm, holm_pairs, letters, rank_bounds

RNG = np.random.default_rng


def test_holm_agrees_with_its_definition():
    for seed in range(30):
        p = RNG(seed).random(9) ** 3
        order = sorted(range(9), key=lambda k: p[k])
        for place, k in enumerate(order):
            want = min(1, max((9 - q) * p[order[q]] for q in range(place + 1)))
            assert holm(p)[k] == pytest.approx(want)


def test_holm_passes_over_nan():
    assert holm([0.01, np.nan, 0.04]) == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)
    assert holm([]).shape == (0,)


def random_board(seed, methods=7):
    rng = RNG(seed)
    p = np.triu(rng.random((methods, methods)), 1)
    p = p + p.T + np.eye(methods)
    return rng.random(methods), p


def test_holm_of_pairs_counts_every_pair_once():
    _, p = random_board(0)
    got, upper = holm_pairs(p), np.triu_indices(7, 1)
    assert np.array_equal(got, got.T) and (np.diag(got) == 1).all()
    assert got[upper] == pytest.approx(holm(p[upper]))


def test_rank_bounds_count_better_and_worse():
    mean, p = random_board(3)
    low, high = rank_bounds(mean, p, alpha=0.5)
    for m in range(7):
        assert low[m] == 1 + sum(p[m, k] < 0.5 and mean[k] > mean[m] for k in range(7))
        assert high[m] == 7 - sum(p[m, k] < 0.5 and mean[k] < mean[m] for k in range(7))
        assert low[m] <= high[m]


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("seed", range(20))
def test_methods_share_a_letter_if_and_only_if_they_are_not_told_apart(seed, alpha):
    mean, p = random_board(seed, methods=2 + seed % 8)
    names = letters(mean, p, alpha)
    for i, j in combinations(range(len(mean)), 2):
        assert bool(set(names[i]) & set(names[j])) == (p[i, j] >= alpha)
    assert "a" in names[int(np.argmax(mean))] and all(names)
    assert all(list(n) == sorted(set(n)) for n in names)


def test_no_letter_can_be_spared():
    for seed in range(20):
        mean, p = random_board(seed)
        names = letters(mean, p, 0.5)
        for gone in set("".join(names)):
            left = [set(n) - {gone} for n in names]
            ties = [bool(left[i] & left[j]) == (p[i, j] >= 0.5) for i, j in combinations(range(7), 2)]
            assert not (all(ties) and all(left))


def test_letters_by_hand():
    p = np.ones((3, 3))
    assert letters([0.3, 0.2, 0.1], p) == ["a", "a", "a"]
    p[0, 2] = p[2, 0] = 0.01
    assert letters([0.3, 0.2, 0.1], p) == ["a", "ab", "b"]
    assert letters([0.1, 0.2, 0.3], p) == ["b", "ab", "a"]
    assert letters([0.1, 0.3], np.where(np.eye(2) == 1, 1, 0.0)) == ["b", "a"]
    assert letters([], np.ones((0, 0))) == []
    assert len(set(letters(np.arange(60), np.eye(60)))) == 60
