"""Whether one row of a board beats another, by how much, and what would decide it: in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

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
        """Three sentences: the verdict, what the board makes of it, and what would decide it."""
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
            return f"On {self.setting}: {seen}. {size}; so few seeds give no interval."
        size += f", 95% interval {_points(self.difference.low, '+')} to {_points(self.difference.high, '+')}"
        size += f", p = {self.difference.p:.2g}"
        if self.winner is None:
            return f"On {self.setting} it cannot be told whether {first} or {second} is better: {seen}. {size}."
        loser = second if self.winner == first else first
        by = _points(abs(self.difference.mean))
        return f"On {self.setting}, {self.winner} beats {loser} by {by} points: {seen}. {size}."

    def _among_all(self) -> str:
        planned = "This is the answer to one question that was asked before looking."
        if self.holm is None:
            return f"{planned} One of the two is not ranked, so the board does not compare them."
        verdict = "different" if self.holm < ALPHA else "tied"
        return f"{planned} Among all {self.pairs} pairs of the board the two are {verdict} (Holm, p = {self.holm:.2g})."

    def _what_would(self) -> str:
        if np.isnan(self.difference.p):
            return "At least two seeds of each are needed."
        if self.winner is not None:
            return "More seeds would narrow the interval."
        seeds = _number(self.needs.seeds, MOST["seeds"], "seeds", f"of each on these {self.images} images")
        images = _number(self.needs.images, MOST["images"], "test images", "with these seeds")
        return (
            f"Were the difference seen the true one, 80% of repetitions would show it with {seeds}, or with {images}."
        )


def explain(board: Board, first: str, second: str) -> Explanation:
    """The comparison of the rows called `first` and `second` on a board.

    Raises TemperError for a name that no row has, and for a row compared with itself.
    """
    frame = ranking(board).head(len(board.rows))
    names, robust = labels(frame), board.robust
    pair = [row_named(names, first), row_named(names, second)]
    if pair[0] == pair[1]:
        raise TemperError(f"{first} cannot be compared with itself")
    variance, df = moderated_variance([outcomes.mean(1) for outcomes in robust])
    ranked = [row for row, status in enumerate(frame["status"]) if status == "ranked"]
    one, other = (robust[row] for row in pair)
    return Explanation(
        setting=board.setting,
        names=(names[pair[0]], names[pair[1]]),
        robust=(float(one.mean()), float(other.mean())),
        seeds=(len(one), len(other)),
        images=one.shape[1],
        difference=paired_difference(one, other, variance[pair], df[pair]),
        holm=_holm(pair, ranked, robust, variance, df),
        pairs=len(ranked) * (len(ranked) - 1) // 2,
        needs=needs(one, other, variance[pair], df[pair]),
    )


def _holm(pair: list[int], ranked: list[int], robust: list[Array], variance: Array, df: Array) -> float | None:
    """The p-value of a pair among all pairs of ranked rows."""
    if not set(pair) <= set(ranked):
        return None
    adjusted = holm_pairs(pairwise([robust[row] for row in ranked], variance[ranked], df[ranked]).p)
    return float(adjusted[ranked.index(pair[0]), ranked.index(pair[1])])


def row_named(names: Sequence[str], name: str) -> int:
    """The row of that name. Raises TemperError, with the nearest names, where there is none."""
    if name not in names:
        raise unknown("row", name, names)
    return list(names).index(name)


def _points(fraction: float, sign: str = "") -> str:
    return f"{100 * fraction:{sign}.1f}"


def _number(needed: int | None, most: int, what: str, where: str) -> str:
    return f"no number of {what} (up to {most:,}) {where}" if needed is None else f"{needed:,} {what} {where}"
