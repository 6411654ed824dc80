"""Whether one row of a board beats another, by how much, and what it would take to decide: in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import TemperError, unknown
from bench.ranking.board import ranking
from bench.ranking.power import MOST, Needs, needs
from bench.ranking.rows import Board
from bench.ranking.statistics import Difference, holm_pairs, moderated_variance, paired_difference, pairwise
from bench.ranking.variance import Array
from bench.ranking.words import labels

ALPHA = 0.05


@dataclass(frozen=True)
class Explanation:
    """The comparison of two rows on the same test images; accuracies and differences are fractions.

    `difference` is the first row minus the second, as one comparison that was planned. `holm` is its p-value among all
    `pairs` of the board's ranked rows, by which the board calls rows tied; None where one of the two is not ranked.
    """

    setting: str
    names: tuple[str, str]
    robust: tuple[float, float]
    seeds: tuple[int, int]
    images: int
    difference: Difference
    holm: float | None
    pairs: int
    needs: Needs

    @property
    def winner(self) -> str | None:
        """Who beats the other in a planned comparison; None where that cannot be told."""
        return None if not self.difference.p < ALPHA else self.names[self.difference.mean < 0]

    @property
    def text(self) -> str:
        """Three sentences: the verdict, the verdict among all pairs, and what it would take to decide."""
        return "\n".join([self._verdict(), self._among_all(), self._what_would()])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"winner": self.winner, "text": self.text}

    def _verdict(self) -> str:
        first, second = self.names
        seen = ", ".join(
            f"{name} {_points(robust)} % robust over {seeds} seed{'s' * (seeds > 1)}"
            for name, robust, seeds in zip(self.names, self.robust, self.seeds, strict=True)
        )
        size = f"{first} minus {second}: {_points(self.difference.mean, '+')} points"
        if np.isnan(self.difference.p):
            return f"On {self.setting}: {seen}. {size}; too few seeds for an interval."
        size += f", 95% interval {_points(self.difference.low, '+')} to {_points(self.difference.high, '+')}"
        size += f", p = {self.difference.p:.2g}"
        if self.winner is None:
            return f"On {self.setting}, the difference between {first} and {second} is not significant: {seen}. {size}."
        loser = second if self.winner == first else first
        by = _points(abs(self.difference.mean))
        return f"On {self.setting}, {self.winner} beats {loser} by {by} points: {seen}. {size}."

    def _among_all(self) -> str:
        planned = "This holds for a single comparison planned in advance."
        if self.holm is None:
            return f"{planned} One of the two is not ranked, so it is not compared among all pairs."
        verdict = "different" if self.holm < ALPHA else "tied"
        return (
            f"{planned} Among all {self.pairs} pairs of the board, the two are {verdict} (Holm, p = {self.holm:.2g})."
        )

    def _what_would(self) -> str:
        if np.isnan(self.difference.p):
            return "Two seeds of each are the minimum."
        if self.winner is not None:
            return "More seeds would narrow the interval."
        seeds = _number(self.needs.seeds, MOST["seeds"], "seeds", f"of each on these {self.images} images")
        images = _number(self.needs.images, MOST["images"], "test images", "with these seeds")
        return f"80% power for this difference needs {seeds}, or {images}."


class Comparisons:
    """The pairs of a board; what they share is computed once."""

    def __init__(self, board: Board, ranked: pd.DataFrame | None = None) -> None:
        frame = ranking(board) if ranked is None else ranked
        self.board, self.robust = board, board.robust
        self.names = labels(frame)[: len(board.rows)]
        self.ranked = [row for row, status in enumerate(frame["status"].head(len(board.rows))) if status == "ranked"]
        means = [outcomes.mean(1) for outcomes in self.robust]
        self.variance, self.df = moderated_variance(means) if means else (np.empty(0), np.empty(0))

    @cached_property
    def holm(self) -> Array:
        """The p-values of all pairs of ranked rows, adjusted (Holm), in the order of `ranked`."""
        rows = self.ranked
        return holm_pairs(pairwise([self.robust[row] for row in rows], self.variance[rows], self.df[rows]).p)

    def explain(self, first: str, second: str) -> Explanation:
        """The comparison of two rows by their labels.

        Raises TemperError for a name that no row has, and for a row compared with itself.
        """
        pair = [row_named(self.names, first), row_named(self.names, second)]
        if pair[0] == pair[1]:
            raise TemperError(f"{first} cannot be compared with itself")
        one, other = (self.robust[row] for row in pair)
        return Explanation(
            setting=self.board.setting,
            names=(self.names[pair[0]], self.names[pair[1]]),
            robust=(float(one.mean()), float(other.mean())),
            seeds=(len(one), len(other)),
            images=one.shape[1],
            difference=paired_difference(one, other, self.variance[pair], self.df[pair]),
            holm=self._among_all(pair),
            pairs=len(self.ranked) * (len(self.ranked) - 1) // 2,
            needs=needs(one, other, self.variance[pair], self.df[pair]),
        )

    def _among_all(self, pair: list[int]) -> float | None:
        if not set(pair) <= set(self.ranked):
            return None
        return float(self.holm[self.ranked.index(pair[0]), self.ranked.index(pair[1])])


def explain(board: Board, first: str, second: str) -> Explanation:
    """The comparison of two rows of a board: see `Comparisons.explain`."""
    return Comparisons(board).explain(first, second)


def row_named(names: Sequence[str], name: str) -> int:
    """The row of that name. Raises TemperError, with the nearest names, where there is none."""
    if name not in names:
        raise unknown("row", name, names)
    return list(names).index(name)


def _points(fraction: float, sign: str = "") -> str:
    return f"{100 * fraction:{sign}.1f}"


def _number(needed: int | None, most: int, what: str, where: str) -> str:
    return f"no number of {what} (up to {most:,}) {where}" if needed is None else f"{needed:,} {what} {where}"
