"""Looks at a difference seed after seed: published bounds, a random walk, and what an uncorrected look would do."""

import numpy as np
import pytest
from scipy.stats import norm

from bench.errors import TemperError
from bench.ranking.sequential import look, nominal_levels, spent


def test_the_bounds_are_the_published_ones():
    bounds = norm.isf(nominal_levels([1, 2, 3, 4, 5]) / 2)
    assert bounds == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-4)  # Reboussin et al. 2000


def test_one_look_is_the_ordinary_test():
    assert nominal_levels([7]) == pytest.approx([0.05])
    assert spent(1.0, 0.01) == pytest.approx(0.01)


@pytest.mark.parametrize("seeds", [range(5, 11), [3, 4, 8, 20]], ids=str)
def test_a_random_walk_leaves_the_bounds_as_often_as_promised(seeds):
    draws = np.random.default_rng(0).normal(size=(200_000, max(seeds))).cumsum(1) / np.sqrt(
        np.arange(1, max(seeds) + 1)
    )
    outside = np.abs(draws[:, np.array(seeds) - 1]) > norm.isf(nominal_levels(seeds) / 2)
    spending = [spent(n / max(seeds)) for n in seeds]
    assert np.logical_or.accumulate(outside, axis=1).mean(0) == pytest.approx(spending, abs=0.002)
    uncorrected = (np.abs(draws[:, np.array(seeds) - 1]) > norm.isf(0.025)).any(1).mean()
    assert uncorrected > 0.08  # what looking again and again at 5% would do


@pytest.mark.parametrize("seeds", [[], [0, 3], [3, 3], [5, 4]], ids=str)
def test_looks_that_do_not_rise_are_refused(seeds):
    with pytest.raises(TemperError, match="rising"):
        nominal_levels(seeds)


def boards(draws: int, gap: float = 0.0):
    """Boards of 7 methods and 10 seeds on 600 images, the first two `gap` apart (on the latent scale), with the seeds'
    and the images' effects crossed."""
    rng = np.random.default_rng(1)
    for _ in range(draws):
        image = rng.normal(0, 1.4, 600) + rng.normal(0, 0.8, (7, 1, 600))
        level = np.array([gap, 0, 0.5, 0.7, -0.3, -0.5, 1.0])[:, None, None]
        seed = rng.normal(0, 0.05, (7, 10, 1))
        yield list(level + image + seed + rng.normal(size=(7, 10, 600)) > 0)


def test_equal_methods_are_called_different_in_at_most_one_of_twenty_searches():
    seeds = range(3, 11)
    levels = nominal_levels(seeds)
    found = [
        any(look(board, 0, 1, n, level).decided for n, level in zip(seeds, levels, strict=True))
        for board in boards(400)
    ]
    assert 0 < np.mean(found) < 0.07  # 5%, and two standard errors of 400 draws


def test_a_difference_is_found_with_its_sign_and_more_seeds_find_more():
    looks = [[look(board, 0, 1, n, 0.02) for n in (3, 10)] for board in boards(60, gap=0.25)]
    few, many = (np.mean([pair[k].decided for pair in looks]) for k in (0, 1))
    assert few < many
    assert all(pair[1].difference.mean > 0 for pair in looks if pair[1].decided)
    for pair in looks:
        for one in pair:
            assert one.decided == (one.difference.low > 0 or one.difference.high < 0)
