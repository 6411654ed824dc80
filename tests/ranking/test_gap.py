"""Gap closed: its value, its interval against the delta method, and where it is null."""

import numpy as np
import pytest

from bench.ranking import gap as gap_module
from bench.ranking.statistics import Gap, gap_closed, moderated_variance, pairwise
from tests.ranking.boards import board

RNG = np.random.default_rng


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


def test_draws_without_any_room_leave_the_interval_known():
    """Four images of a hundred are the room; about 2% of the draws have none of them."""
    base = np.arange(100)[None] < 90
    student, teacher = np.arange(100)[None] < 92, np.arange(100)[None] < 94
    gaps = gap_closed([base, student], 0, teacher, np.zeros(2), np.full(2, 1e6))
    assert gaps[0] == Gap(0, 0, 0)
    assert gaps[1].value == pytest.approx(0.5)
    assert 0 <= gaps[1].low < gaps[1].value < gaps[1].high <= 1


def test_resampled_means_have_the_bootstraps_variance():
    means = board(2, images=300)[0].astype(float)
    draws = gap_module._resampled(means, 4000, RNG(0))
    assert draws.mean(0) == pytest.approx(means.mean(1), abs=0.003)
    assert np.cov(draws.T) == pytest.approx(np.cov(means, ddof=0) / 300, abs=6e-5)
