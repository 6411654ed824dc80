"""One method's variance and intervals, and paired differences, against SciPy and a slow reference."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from scipy.special import digamma, polygamma

from bench.errors import TemperError
from bench.ranking import variance
from bench.ranking.statistics import (
    mean_interval,
    minimum_detectable_difference,
    moderated_variance,
    paired_difference,
    pairwise,
    prediction_interval,
)
from tests.ranking.boards import board, flat

RNG = np.random.default_rng


# --- moderated variance ---------------------------------------------------------------------------


@pytest.mark.parametrize("y", [1e-8, 1e-3, 0.1, 0.5, 1, 3.7, 50, 1e4, 1e9])
def test_trigamma_inverse_undoes_scipys_trigamma(y):
    assert variance.trigamma_inverse(float(polygamma(1, y))) == pytest.approx(y, rel=1e-6)


def slow_fit(s2, df):
    """Smyth 2004, section 6.2, written out with sums and a bisection."""
    e = [np.log(s) - digamma(d / 2) + np.log(d / 2) for s, d in zip(s2, df, strict=True)]
    centre = sum(e) / len(e)
    rest = sum((x - centre) ** 2 for x in e) / (len(e) - 1) - sum(polygamma(1, d / 2) for d in df) / len(e)
    if rest <= 0:
        return sum(s * d for s, d in zip(s2, df, strict=True)) / sum(df), np.inf
    low, high = 1e-8, 1e8
    for _ in range(300):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if polygamma(1, middle) > rest else (low, middle)
    return np.exp(centre + digamma(low) - np.log(low)), 2 * low


@pytest.mark.parametrize("seed", range(20))
def test_moderation_agrees_with_a_slow_reference(seed):
    rng = RNG(seed)
    sizes = rng.integers(2, 7, 8)
    runs = [rng.normal(0.4, 0.01 * rng.gamma(0.7 if seed % 2 else 50), n) for n in sizes]
    s2, df = [np.var(r, ddof=1) for r in runs], sizes - 1
    scale, prior = slow_fit(s2, df)
    got, got_df = moderated_variance(runs)
    for m in range(8):
        want = scale if np.isinf(prior) else (prior * scale + df[m] * s2[m]) / (prior + df[m])
        assert got[m] == pytest.approx(max(want, s2[m]), rel=1e-6)
        assert got_df[m] == pytest.approx(min(prior + df[m], sum(df)), rel=1e-6)


def test_moderation_recovers_a_known_prior():
    rng = RNG(0)
    true = 4e-5 * 6 / rng.chisquare(6, 20_000)
    s2 = true * rng.chisquare(4, 20_000) / 4
    prior = variance.fit_prior(s2, np.full(20_000, 4.0))
    assert prior.scale == pytest.approx(4e-5, rel=0.05)
    assert prior.df == pytest.approx(6, rel=0.1)


def test_equally_noisy_methods_share_one_variance_and_all_degrees_of_freedom_but_none_falls_below_its_own():
    got, df = moderated_variance([[0.1, 0.2, 0.3], [0.5, 0.6, 0.7], [0.4, 0.5]])
    pooled = (2 * 0.01 + 2 * 0.01 + 0.005) / 5
    assert got == pytest.approx([0.01, 0.01, pooled])
    assert df == pytest.approx([5] * 3)


def test_wild_variances_are_hardly_moderated():
    rng = RNG(1)
    runs = [rng.normal(0, 10.0**k, 200) for k in range(-12, 12)]
    got, df = moderated_variance(runs)
    own = [np.var(r, ddof=1) for r in runs]
    assert got[12:] == pytest.approx(own[12:], rel=0.05)
    assert df == pytest.approx([199] * 24, rel=0.01)


def test_one_seed_gets_the_prior_alone():
    rng = RNG(2)
    runs = [rng.normal(0.4, 0.01 * k, 4) for k in (1, 9, 2, 30, 4)]
    fit = variance.fit_prior(np.array([np.var(r, ddof=1) for r in runs]), np.full(5, 3.0))
    got, df = moderated_variance([*runs, [0.2]])
    assert (got[-1], df[-1]) == pytest.approx((fit.scale, fit.df))
    assert got[:-1] == pytest.approx(moderated_variance(runs)[0])


def test_a_method_noisier_than_the_rest_keeps_its_own_variance():
    quiet = [[0.41, 0.42, 0.40], [0.50, 0.53, 0.52], [0.45, 0.46, 0.44]]
    noisy = [0.30, 0.36, 0.42]
    got, df = moderated_variance([*quiet, noisy])
    assert got[-1] == pytest.approx(np.var(noisy, ddof=1))
    assert 2 < df[-1] < 8


def test_a_method_that_collapsed_once_does_not_widen_the_others():
    rng = RNG(5)
    quiet = [rng.normal(0.4, 0.003, 3) for _ in range(8)]
    alone, _ = moderated_variance(quiet)
    got, _ = moderated_variance([*quiet, [0.4, 0.41, 0.0]])
    assert (got[:-1] < 4 * alone).all()


def test_zero_variances_do_not_move_the_others():
    runs = [[0.41, 0.42, 0.40], [0.50, 0.53, 0.52], [0.45, 0.46, 0.452]]
    alone, alone_df = moderated_variance(runs)
    got, df = moderated_variance([[0.0, 0.0, 0.0], *runs, [0.1 + 0.2, 0.3, 0.3]])
    assert got[1:4] == pytest.approx(alone)
    assert df[1:4] == pytest.approx(alone_df)
    assert np.isfinite(got).all() and (got > 0).all() and (df > 0).all()


def test_without_a_fit_every_method_keeps_its_own():
    got, df = moderated_variance([[0.4, 0.5, 0.6]])
    assert (got[0], df[0]) == pytest.approx((0.01, 2))
    got, df = moderated_variance([[0.0, 0.0], [0.4, 0.5, 0.6], [0.3]])
    assert got == pytest.approx([0, 0.01, 0.01])
    assert df.tolist() == [1, 2, 2]
    got, df = moderated_variance([[0.0] * 3, [1.0] * 3])
    assert got.tolist() == [0, 0] and df.tolist() == [2, 2]


def test_what_is_unknown_is_nan_and_its_interval_too():
    got, df = moderated_variance([[0.4], [0.5]])
    assert np.isnan(got).all() and np.isnan(df).all()
    found = mean_interval(board()[0][:1], got[0], df[0])
    assert found.mean == board()[0][0].mean()
    assert np.isnan([found.low, found.high, found.se, found.df]).all()


# --- intervals ------------------------------------------------------------------------------------


def test_without_an_image_part_the_interval_is_the_t_interval_of_the_seeds():
    runs = np.array([0.41, 0.44, 0.42, 0.47])
    got = mean_interval(flat(runs), runs.var(ddof=1), 3)
    want = stats.ttest_1samp(runs, 0).confidence_interval()
    assert (got.low, got.high, got.df) == pytest.approx((want.low, want.high, 3))


def test_without_a_seed_part_the_interval_is_the_t_interval_of_the_images():
    outcomes = board()[0][:1]
    got = mean_interval(outcomes, 0.0, 2)
    want = stats.ttest_1samp(outcomes[0].astype(float), 0).confidence_interval()
    assert (got.low, got.high, got.df) == pytest.approx((want.low, want.high, outcomes.shape[1] - 1))


def test_the_image_part_is_that_of_a_two_way_analysis_of_variance():
    y = board(seeds=4, images=30)[0].astype(float)
    s, n = y.shape
    total = image = 0.0
    for i in range(n):
        image += s * (y[:, i].mean() - y.mean()) ** 2 / (n - 1)
        for k in range(s):
            total += (y[k, i] - y[k].mean() - y[:, i].mean() + y.mean()) ** 2 / (s - 1) / (n - 1)
    assert variance.interaction(y) == pytest.approx(total)
    assert variance.image_variance(y) == pytest.approx((image - total) / s / n)


def test_pure_noise_has_no_image_part_to_speak_of():
    y = (RNG(0).random((5, 20_000)) < 0.5).astype(float)
    assert variance.image_variance(y) < 0.02 * 0.25 / 5 / 20_000 * 5


@pytest.mark.parametrize(("fill", "seeds"), [(0, 3), (1, 3), (0, 1)])
def test_intervals_stay_in_the_unit_interval(fill, seeds):
    got = mean_interval(np.full((seeds, 20), fill), 0.01, 2)
    assert 0 <= got.low <= got.mean <= got.high <= 1
    assert mean_interval(np.full((seeds, 20), fill), 0.0, 2).low == fill


def test_prediction_interval_holds_one_new_run():
    runs = np.array([0.41, 0.44, 0.42])
    got = prediction_interval(runs, runs.var(ddof=1), 2)
    half = stats.t.ppf(0.975, 2) * runs.std(ddof=1) * np.sqrt(4 / 3)
    assert (got.low, got.high) == pytest.approx((runs.mean() - half, runs.mean() + half))


@pytest.mark.parametrize("shape", [(3,), (0, 5), (3, 0)])
def test_a_wrong_shape_is_said(shape):
    with pytest.raises(TemperError, match="seeds, images"):
        mean_interval(np.zeros(shape), 0.0, 2)


# --- paired differences ---------------------------------------------------------------------------


def test_a_difference_of_seeds_alone_is_the_pooled_t_test():
    a, b = np.array([0.41, 0.44, 0.42]), np.array([0.45, 0.48, 0.44])
    pooled = (a.var(ddof=1) + b.var(ddof=1)) / 2
    got = paired_difference(flat(a), flat(b), [pooled] * 2, [4, 4])
    want = stats.ttest_ind(a, b)
    interval = want.confidence_interval()
    assert (got.p, got.df) == pytest.approx((want.pvalue, want.df))
    assert (got.low, got.high) == pytest.approx((interval.low, interval.high))


def test_a_difference_of_images_alone_is_the_paired_t_test():
    a, b = (r[:1] for r in board(2))
    got = paired_difference(a, b, [0, 0], [2, 2])
    want = stats.ttest_rel(a[0].astype(float), b[0].astype(float))
    interval = want.confidence_interval()
    assert (got.p, got.df) == pytest.approx((want.pvalue, want.df))
    assert (got.low, got.high) == pytest.approx((interval.low, interval.high))


def test_the_image_part_of_a_pair_is_that_of_its_differences():
    a, b = (board(1, seeds=4, images=500, seed=k)[0].astype(float) for k in (0, 1))
    got = pairwise([a, b], [1e-4, 1e-4], [3, 3])
    rest = variance.interaction(a) + variance.interaction(b)
    want = ((a - b).mean(0).var(ddof=1) - rest / 4) / 500
    assert got.image[0, 1] == pytest.approx(want)
    assert got.se[0, 1] ** 2 == pytest.approx(2 * 1e-4 / 4 + want)


def test_pairs_are_antisymmetric_and_agree_with_single_differences():
    robust = [*board(4), board(1, seeds=1, seed=0)[0], np.zeros((2, 200))]
    v, df = moderated_variance([r.mean(1) for r in robust])
    pairs = pairwise(robust, v, df)
    assert np.allclose(pairs.mean, -pairs.mean.T) and np.allclose(pairs.p, pairs.p.T)
    assert np.isfinite(pairs.p).all()
    for i, j in combinations(range(len(robust)), 2):
        one = paired_difference(robust[i], robust[j], v[[i, j]], df[[i, j]])
        assert (one.mean, one.se, one.df, one.p) == pytest.approx(
            (pairs.mean[i, j], pairs.se[i, j], pairs.df[i, j], pairs.p[i, j])
        )


def test_known_differences_and_unknown_ones():
    pairs = pairwise([np.zeros((2, 9)), np.ones((2, 9)), np.zeros((2, 9))], np.zeros(3), np.ones(3))
    assert (pairs.p[0, 1], pairs.p[0, 2]) == (0, 1)
    pairs = pairwise(board(3), [1e-4, np.nan, 1e-4], [2, np.nan, 2])
    assert np.isnan(pairs.p[0, 1]) and np.isfinite(pairs.p[0, 2])
    with pytest.raises(TemperError, match="share their test images"):
        pairwise([np.zeros((2, 9)), np.zeros((2, 8))], np.zeros(2), np.ones(2))


def test_minimum_detectable_difference_is_found_in_four_of_five_repetitions():
    robust, v, df = board(2, seeds=3, images=400), [1e-4, 1e-4], [4, 4]
    got = minimum_detectable_difference(robust, v, df)
    pairs = pairwise(robust, v, df)
    shift = got / pairs.se[0, 1]
    power = stats.nct.sf(stats.t.ppf(0.975, pairs.df[0, 1]), pairs.df[0, 1], shift)
    assert power == pytest.approx(0.8, abs=0.03)
    assert np.isnan(minimum_detectable_difference(robust[:1], v[:1], df[:1]))
    assert np.isfinite(minimum_detectable_difference([*robust, robust[0][:1]], [*v, np.nan], [*df, np.nan]))
