"""Interquartile mean and performance profiles: against SciPy, by hand, and their interval by simulation."""

import numpy as np
import pytest
from scipy import stats

from bench.ranking.statistics import interquartile_mean, performance_profile, resampling_interval

RNG = np.random.default_rng


@pytest.mark.parametrize("scenarios", [1, 3, 4, 7, 8, 21])
def test_the_interquartile_mean_is_scipys_trimmed_mean(scenarios):
    points = RNG(scenarios).normal(size=(5, scenarios))
    assert interquartile_mean(points) == pytest.approx(stats.trim_mean(points, 0.25, axis=1))
    assert interquartile_mean(points[0]) == pytest.approx(interquartile_mean(points)[0])


def test_a_missing_scenario_is_not_trimmed_away():
    assert np.isnan(interquartile_mean([0.1, 0.2, 0.3, np.nan]))
    got = interquartile_mean([[0.1, 0.2, 0.3, np.nan], [0.1, 0.2, 0.3, 9.0]])
    assert got == pytest.approx([np.nan, 0.25], nan_ok=True)
    assert np.isnan(performance_profile([0.1, np.nan], [0.0])).all()


def test_a_profile_counts_the_scenarios_above_each_threshold():
    points, taus = [0.01, -0.02, 0.03, 0.03], [-0.05, -0.02, 0.0, 0.02, 0.03]
    assert performance_profile(points, taus).tolist() == [1, 0.75, 0.75, 0.5, 0]
    both = performance_profile([points, np.add(points, 0.01)], taus)
    assert both.tolist() == [[1, 0.75, 0.75, 0.5, 0], [1, 1, 0.75, 0.5, 0.5]]


def test_known_points_have_no_interval_and_unknown_errors_no_end():
    points, df = [0.0, 0.01, 0.02, 0.03], [np.nan, 2, np.inf, 4]
    low, high = resampling_interval(interquartile_mean, points, np.zeros(4), df)
    assert (low, high) == pytest.approx((0.015, 0.015))
    assert np.isnan(resampling_interval(interquartile_mean, points, [0, 0.01, np.nan, 0.01], df)).all()
    low, high = resampling_interval(lambda p: performance_profile(p, [0.015, 0.9]), points, np.full(4, 1e-6), [2] * 4)
    assert (low.tolist(), high.tolist()) == ([0.5, 0], [0.5, 0])


def test_the_interval_of_a_plain_mean_is_the_normal_one():
    """Below four scenarios nothing is trimmed: se of the mean is known."""
    low, high = resampling_interval(
        interquartile_mean, [0.01, 0.02, 0.06], [0.003, 0.004, 0.012], [np.inf] * 3, resamples=40_000
    )
    half = 1.96 * 0.013 / 3
    assert (low, high) == pytest.approx((0.03 - half, 0.03 + half), abs=2e-4)


def test_the_interval_holds_the_true_interquartile_mean():
    rng, truth = RNG(0), np.array([0.0, 0.01, 0.02, 0.05, 0.02, -0.03, 0.04, 0.01])
    held = []
    for _ in range(400):
        seeds = truth[:, None] + rng.normal(0, 0.01, (8, 5))
        se = seeds.std(1, ddof=1) / np.sqrt(5)
        low, high = resampling_interval(interquartile_mean, seeds.mean(1), se, np.full(8, 4), resamples=400)
        held.append(low <= interquartile_mean(truth) <= high)
    assert np.mean(held) > 0.93
