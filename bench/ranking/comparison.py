"""Methods against each other: paired differences, Holm, ranks, letters, detectable difference, gap closed.

A board is a list of arrays `(S_m, N)` on the same N test images (see `variance`), with the moderated variance
(M,) and df (M,) of one seed's accuracy. Differences are fractions: 0.01 is one point.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t

from bench.errors import TemperError
from bench.ranking.variance import Array, as_outcomes, interaction, satterthwaite

Group = frozenset[int]


@dataclass(frozen=True)
class Difference:
    """First minus second method: mean, interval, standard error, degrees of freedom, two-sided p."""

    mean: float
    low: float
    high: float
    se: float
    df: float
    p: float


@dataclass(frozen=True)
class Pairs:
    """All pairs of a board, (M, M) each, row minus column; `image` is the images' part of se^2."""

    mean: Array
    se: Array
    df: Array
    p: Array
    image: Array


@dataclass(frozen=True)
class Gap:
    """(student - base) / (teacher - base) and its interval; 1 where the student reaches the teacher."""

    value: float
    low: float
    high: float


def pairwise(robust: Sequence[NDArray[Any]], seed_variance: ArrayLike, seed_df: ArrayLike) -> Pairs:
    """Every paired difference of a board.

    Seed part: v_i / S_i + v_j / S_j. Seeds share initial weights and order, but effects of the seed are taken
    as independent between methods: where they agree the interval is too wide, not too narrow. Its df are
    those of fully dependent variances, since methods borrow them from one prior (two methods with one pooled
    variance of d df have d, not 2d). Image part: variance over images of the differences of seed averages, less the
    seed-by-image part that the seeds' variance counts already (see `image_variance`). p: t test with
    Satterthwaite's df. Raises TemperError for unequal numbers of images.
    """
    board = [as_outcomes(r) for r in robust]
    averages = _averages(board)
    seed = np.asarray(seed_variance, dtype=np.float64) / [len(r) for r in board]
    mean = np.subtract.outer(averages.mean(1), averages.mean(1))
    image = _image_part(board, averages)
    parts = np.stack([np.add.outer(seed, seed), image])
    images = np.full_like(image, averages.shape[1] - 1.0)
    df = satterthwaite(parts, np.stack([_shared_df(seed, np.asarray(seed_df, dtype=np.float64)), images]))
    se = np.sqrt(parts.sum(0))
    p = np.array(2 * student_t.sf(np.abs(_ratio(mean, se)), df), dtype=np.float64)
    np.fill_diagonal(p, 1.0)
    return Pairs(mean, se, df, p, image)


def _averages(board: Sequence[Array]) -> Array:
    if len({r.shape[1] for r in board}) > 1:
        raise TemperError(f"methods must share their test images, got {[r.shape[1] for r in board]} of them")
    return np.stack([r.mean(0) for r in board])


def _image_part(board: Sequence[Array], averages: Array) -> Array:
    images = averages.shape[1]
    centred = averages - averages.mean(1, keepdims=True)
    product = centred @ centred.T / (images - 1) if images > 1 else np.full((len(board),) * 2, np.nan)
    both = np.array([interaction(r) / len(r) for r in board])
    alone = np.diag(product) - both
    return np.maximum(np.add.outer(alone, alone) - 2 * product, 0) / images


def _shared_df(seed: Array, df: Array) -> Array:
    """df (M, M) of v_i + v_j when both move together: their standard deviations add."""
    root = seed / np.sqrt(df)
    spread = np.add.outer(root, root) ** 2
    total = np.add.outer(seed, seed) ** 2
    return np.divide(total, spread, out=np.full_like(total, np.inf), where=spread != 0)


def _ratio(mean: Array, se: Array) -> Array:
    """mean / se, where 0 / 0 is 0 and anything else / 0 infinite."""
    return np.divide(mean, se, out=np.where(mean == 0, 0, np.inf), where=se != 0)


def paired_difference(
    first: NDArray[Any],
    second: NDArray[Any],
    seed_variance: ArrayLike,
    seed_df: ArrayLike,
    level: float = 0.95,
) -> Difference:
    """`first` (S1, N) minus `second` (S2, N) on the same images; moderated variances (2,) and df (2,)."""
    pairs = pairwise([first, second], seed_variance, seed_df)
    mean, se, df, p = (float(m[0, 1]) for m in (pairs.mean, pairs.se, pairs.df, pairs.p))
    half = float(student_t.ppf((1 + level) / 2, df)) * se
    return Difference(mean, mean - half, mean + half, se, df, p)


def holm(p: ArrayLike) -> Array:
    """Adjusted p-values (K,) of Holm's step-down test (1979). NaN stays NaN and is not counted as a test."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted = np.full_like(p, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def holm_pairs(p: Array) -> Array:
    """Holm over the pairs of a symmetric matrix of p-values (M, M); the diagonal is 1."""
    adjusted, upper = np.eye(len(p)), np.triu_indices(len(p), 1)
    adjusted[upper] = holm(p[upper])
    adjusted.T[upper] = adjusted[upper]
    return adjusted


def rank_bounds(mean: ArrayLike, adjusted: Array, alpha: float = 0.05) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """`rank_low` = 1 + methods significantly better, `rank_high` = M - methods significantly worse, (M,).

    `mean` (M,), `adjusted` p-values (M, M); NaN is not significant.
    """
    mean = np.asarray(mean, dtype=np.float64)
    better = (adjusted < alpha) & (mean[None, :] > mean[:, None])
    return 1 + better.sum(1), len(mean) - better.sum(0)


def letters(mean: ArrayLike, adjusted: Array, alpha: float = 0.05) -> list[str]:
    """Compact letter display (M,): methods share a letter if and only if their adjusted p is not below alpha.

    Insert, absorb and sweep of Piepho 2004 (J. Comput. Graph. Stat. 13). `a` goes to the best method.
    """
    rank = np.argsort(np.argsort(-np.asarray(mean, dtype=np.float64), kind="stable"), kind="stable")
    groups = [frozenset(range(len(rank)))]
    for i, j in zip(*np.nonzero(np.triu(adjusted < alpha, 1)), strict=True):
        groups = _absorb(half for group in groups for half in _split(group, int(i), int(j)))
    groups = sorted(_absorb(_sweep(groups)), key=lambda group: sorted(rank[m] for m in group))
    names = list(zip(_alphabet(), groups, strict=False))
    return ["".join(name for name, group in names if m in group) for m in range(len(rank))]


def _split(group: Group, i: int, j: int) -> list[Group]:
    return [group - {i}, group - {j}] if i in group and j in group else [group]


def _absorb(groups: Iterable[Group]) -> list[Group]:
    """The groups that lie in no other one."""
    unique = list(dict.fromkeys(groups))
    return [g for g in unique if not any(g < other for other in unique)]


def _sweep(groups: list[Group]) -> list[Group]:
    """Groups without the members whose every tie in the group is shown by another group too."""
    groups = list(groups)
    for k in range(len(groups)):
        others = groups[:k] + groups[k + 1 :]
        for m in sorted(groups[k]):
            if all(any({m, n} <= other for other in others) for n in groups[k]):
                groups[k] = groups[k] - {m}
    return groups


def _alphabet() -> Iterator[str]:
    """a to z, A to Z, then the letters of other alphabets, one character each."""
    yield from string.ascii_letters
    yield from (chr(c) for c in range(0x3B1, 0x2FFF) if chr(c).isalpha())


def minimum_detectable_difference(
    robust: Sequence[NDArray[Any]], seed_variance: ArrayLike, seed_df: ArrayLike, power: float = 0.8
) -> float:
    """The true difference that the board's typical pair would show at 5% two-sided in 80% of repetitions.

    (t_.975 + t_.8) * se, both t with se's Satterthwaite df (Bloom 1995), unadjusted for the number of pairs.
    se^2 = 2 * median over methods of v_m / S_m + median over pairs of the image part; the seed part has the
    median df over methods. Methods of unknown variance are left out. NaN for fewer than two methods.
    """
    board = [as_outcomes(r) for r in robust]
    seed = np.asarray(seed_variance, dtype=np.float64) / [len(r) for r in board]
    if len(board) < 2 or np.isnan(seed).all():
        return float("nan")
    averages = _averages(board)
    image = np.median(_image_part(board, averages)[np.triu_indices(len(board), 1)])
    parts = np.array([2 * np.nanmedian(seed), image])
    typical = np.nanmedian(np.asarray(seed_df, dtype=np.float64))
    df = satterthwaite(parts, np.array([typical, averages.shape[1] - 1.0]))
    return float((student_t.ppf(0.975, df) + student_t.ppf(power, df)) * np.sqrt(parts.sum()))


def gap_closed(
    robust: Sequence[NDArray[Any]],
    base: int,
    teacher: NDArray[Any],
    seed_variance: ArrayLike,
    seed_df: ArrayLike,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Gap | None]:
    """(student - base) / (teacher - base) of every method of a board; `base` is the index of PGD-AT.

    Percentile interval by joint resampling: the images are drawn once for all methods and the `teacher`
    (1, N), one fixed network without a seed part. Three seeds are too few to draw from, so each method's mean
    is moved by a Student t draw of its `seed_df`, scaled by sqrt((v - var(c)/N) / S): var(c) comes with the
    images (see `image_variance`). All None unless teacher - base exceeds 2 points and its interval excludes
    0.
    """
    board = [as_outcomes(r) for r in robust]
    means = _averages([*board, as_outcomes(teacher)])
    draws = _resampled(means, resamples, np.random.default_rng([seed, 0]))
    draws[:, :-1] += _seed_draws(board, seed_variance, seed_df, resamples, np.random.default_rng([seed, 1]))
    centre, tails = means.mean(1), [(1 - level) / 2, (1 + level) / 2]
    room, rooms = centre[-1] - centre[base], draws[:, -1] - draws[:, base]
    if not (room > 0.02 and np.quantile(rooms, tails[0]) > 0):
        return [None] * len(board)
    ratios = (draws[:, :-1] - draws[:, [base]]) / rooms[:, None]
    values, (low, high) = (centre[:-1] - centre[base]) / room, np.quantile(ratios, tails, axis=0)
    return [Gap(float(v), float(a), float(b)) for v, a, b in zip(values, low, high, strict=True)]


def _resampled(means: Array, resamples: int, rng: np.random.Generator, chunk: int = 250) -> Array:
    """Means (resamples, M) of `means` (M, N) over images drawn with replacement: counts x a matrix product."""
    images, out = means.shape[1], []
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = rng.integers(0, images, (rows, images)) + images * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images)
        out.append(counts.astype(np.float64) @ means.T / images)
    return np.concatenate(out)


def _seed_draws(
    board: Sequence[Array],
    seed_variance: ArrayLike,
    seed_df: ArrayLike,
    resamples: int,
    rng: np.random.Generator,
) -> Array:
    own = np.array([interaction(r) / r.shape[1] for r in board])
    seeds = np.array([len(r) for r in board])
    scale = np.sqrt(np.maximum(np.asarray(seed_variance) - own, 0) / seeds)
    return rng.standard_t(np.asarray(seed_df), (resamples, len(board))) * scale
