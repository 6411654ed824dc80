"""Methods against each other: paired differences, and the difference that a board could detect.

A board is a list of arrays `(S_m, N)` on the same N test images (see `variance`), with the moderated variance
(M,) and df (M,) of one seed's accuracy. Differences are fractions: 0.01 is one point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t

from bench.errors import TemperError
from bench.ranking.variance import Array, as_outcomes, interaction, satterthwaite


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
    averages = seed_averages(board)
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


def seed_averages(board: Sequence[Array]) -> Array:
    """Per image, the share of a method's seeds that is robust, (M, N). Raises TemperError for unequal N."""
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
    averages = seed_averages(board)
    image = np.median(_image_part(board, averages)[np.triu_indices(len(board), 1)])
    parts = np.array([2 * np.nanmedian(seed), image])
    typical = np.nanmedian(np.asarray(seed_df, dtype=np.float64))
    df = satterthwaite(parts, np.array([typical, averages.shape[1] - 1.0]))
    return float((student_t.ppf(0.975, df) + student_t.ppf(power, df)) * np.sqrt(parts.sum()))
