"""Statistics of the leaderboard against SciPy, brute force, a slow reference and simulation."""

import importlib.util
import sys
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.special import digamma, polygamma

from bench.errors import TemperError
from bench.ranking import comparison, variance
from bench.ranking.statistics import (
    Gap,
    gap_closed,
    holm,
    holm_pairs,
    letters,
    mean_interval,
    minimum_detectable_difference,
    moderated_variance,
    paired_difference,
    pairwise,
    prediction_interval,
    rank_bounds,
)

RNG = np.random.default_rng


def flat(accuracies, images=50):
    """Outcomes of equal value on every image: no image part, so that only seeds vary."""
    return np.repeat(np.asarray(accuracies, float)[:, None], images, axis=1)


def board(methods=4, seeds=3, images=200, seed=0):
    """Binary outcomes of correlated methods, each a bit worse than the one before."""
    rng = RNG(seed)
    difficulty = rng.normal(size=images)
    return [
        (rng.normal(size=(seeds, images)) + difficulty + rng.normal(0, 0.1, (seeds, 1)) > 0.3 * m)
        for m in range(methods)
    ]


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
    got, got_df = moderated_variance(runs, largest_prior_df=np.inf)
    for m in range(8):
        want = scale if np.isinf(prior) else (prior * scale + df[m] * s2[m]) / (prior + df[m])
        assert got[m] == pytest.approx(want, rel=1e-6)
        assert got_df[m] == pytest.approx(min(prior + df[m], sum(df)), rel=1e-6)


def test_moderation_recovers_a_known_prior():
    rng = RNG(0)
    true = 4e-5 * 6 / rng.chisquare(6, 20_000)
    s2 = true * rng.chisquare(4, 20_000) / 4
    prior = variance.fit_prior(s2, np.full(20_000, 4.0))
    assert prior.scale == pytest.approx(4e-5, rel=0.05)
    assert prior.df == pytest.approx(6, rel=0.1)


def test_equal_variances_are_pooled_and_share_all_degrees_of_freedom():
    got, df = moderated_variance([[0.1, 0.2, 0.3], [0.5, 0.6, 0.7], [0.4, 0.5]], np.inf)
    assert got == pytest.approx([(2 * 0.01 + 2 * 0.01 + 0.005) / 5] * 3)
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


def test_a_bounded_prior_leaves_a_noisy_method_more_of_its_own():
    runs = [[0.41, 0.42, 0.40], [0.50, 0.53, 0.52], [0.45, 0.46, 0.44]]
    own = [np.var(r, ddof=1) for r in runs]
    got, df = moderated_variance(runs, largest_prior_df=4)
    assert got == pytest.approx([(4 * np.mean(own) + 2 * s) / 6 for s in own])
    assert df == pytest.approx([6] * 3)


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
    got = paired_difference(flat(a), flat(b), *moderated_variance([a, b]))
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


# --- many methods ---------------------------------------------------------------------------------


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


def test_minimum_detectable_difference_is_found_in_four_of_five_repetitions():
    robust, v, df = board(2, seeds=3, images=400), [1e-4, 1e-4], [4, 4]
    got = minimum_detectable_difference(robust, v, df)
    pairs = pairwise(robust, v, df)
    shift = got / pairs.se[0, 1]
    power = stats.nct.sf(stats.t.ppf(0.975, pairs.df[0, 1]), pairs.df[0, 1], shift)
    assert power == pytest.approx(0.8, abs=0.03)
    assert np.isnan(minimum_detectable_difference(robust[:1], v[:1], df[:1]))
    assert np.isfinite(minimum_detectable_difference([*robust, robust[0][:1]], [*v, np.nan], [*df, np.nan]))


# --- gap closed -----------------------------------------------------------------------------------


def teacher_of(robust, share, seed=9):
    """A teacher robust wherever `robust` is, and on `share` of the other images."""
    return (robust[0] | (RNG(seed).random(robust.shape[1]) < share))[None]


def gap_parts(images=600):
    robust = board(3, images=images)[::-1]
    return robust, moderated_variance([r.mean(1) for r in robust]), teacher_of(robust[2], 0.5)


def test_gap_closed_is_the_ratio_and_the_base_closes_nothing():
    robust, (v, df), teacher = gap_parts()
    gaps = gap_closed(robust, 0, teacher, v, df)
    base = robust[0].mean()
    assert gaps[0] == Gap(0, 0, 0)
    for r, gap in zip(robust[1:], gaps[1:], strict=True):
        assert gap.value == pytest.approx((r.mean() - base) / (teacher.mean() - base))
        assert gap.low < gap.value < gap.high
    assert gap_closed(robust, 0, teacher, v, df) == gaps
    assert gap_closed(robust, 0, teacher, v, df, seed=1) != gaps


def test_gap_closed_agrees_with_the_delta_method():
    robust, (v, df), teacher = gap_parts(20_000)
    df = np.full(3, 1e6)
    board_ = [*robust, teacher]
    pairs = pairwise(board_, [*v, 0], [*df, 1])
    gap = gap_closed(robust, 0, teacher, v, df, resamples=8000)[1]
    room, g = pairs.mean[3, 0], gap.value
    student, whole, rest = pairs.se[1, 0] ** 2, pairs.se[3, 0] ** 2, pairs.se[1, 3] ** 2
    se = np.sqrt(student - g * (student + whole - rest) + g**2 * whole) / room
    assert gap.high - gap.low == pytest.approx(2 * 1.96 * se, rel=0.05)


def test_gap_closed_is_null_without_room():
    robust, (v, df), _ = gap_parts()
    worse = robust[0][:1] & False
    assert gap_closed(robust, 0, worse, v, df) == [None] * 3
    little = robust[0][:1].copy()
    assert gap_closed(robust, 0, little, v, df) == [None] * 3
    _, _, teacher = gap_parts()
    assert gap_closed(robust, 0, teacher, np.full(3, 0.25), df) == [None] * 3
    assert gap_closed(robust, 0, teacher, np.full(3, np.nan), np.full(3, np.nan)) == [None] * 3


def test_resampled_means_have_the_bootstraps_variance():
    means = board(2, images=300)[0].astype(float)
    draws = comparison._resampled(means, 4000, RNG(0))
    assert draws.mean(0) == pytest.approx(means.mean(1), abs=0.003)
    assert np.cov(draws.T) == pytest.approx(np.cov(means, ddof=0) / 300, abs=6e-5)


# --- speed and simulation -------------------------------------------------------------------------


def test_forty_methods_take_seconds():
    rng = RNG(0)
    robust = [rng.random((5, 10_000)) < 0.5 for _ in range(40)]
    start = time.perf_counter()
    v, df = moderated_variance([r.mean(1) for r in robust])
    pairs = pairwise(robust, v, df)
    letters(np.arange(40), holm_pairs(pairs.p))
    assert time.perf_counter() - start < 5


@pytest.mark.slow
def test_simulated_coverage_false_differences_and_width():
    path = Path(__file__).parents[2] / "scripts" / "simulate_statistics.py"
    spec = importlib.util.spec_from_file_location("simulate_statistics", path)
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script
    spec.loader.exec_module(script)
    for spread, images in ((0.3, 600), (1.0, 2000)):
        got = script.simulate(script.World(np.full(7, spread), images, 3), 400, 0)
        assert got["coverage, mean"] > 0.92
        assert got["coverage, difference"] > 0.92
        assert got["coverage, new run"] > 0.92
        assert got["false difference, per pair"] < 0.08
        assert got["any on the board, Holm"] < 0.08
        assert 0.8 < got["width, mean"] < 1.2
        assert 0.8 < got["width, difference"] < 1.2
