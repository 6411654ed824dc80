"""Who is told apart on a board, from the p-values of its pairs: Holm, ranks and the letters of ties."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.ranking.variance import Array

Group = frozenset[int]


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
