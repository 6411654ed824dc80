"""Statistics of a leaderboard, pure functions on arrays: `variance` (one method), `comparison` (more)."""

from bench.ranking.comparison import (
    Difference,
    Gap,
    Pairs,
    gap_closed,
    holm,
    holm_pairs,
    letters,
    minimum_detectable_difference,
    paired_difference,
    pairwise,
    rank_bounds,
)
from bench.ranking.variance import Interval, mean_interval, moderated_variance, prediction_interval

__all__ = [
    "Difference",
    "Gap",
    "Interval",
    "Pairs",
    "gap_closed",
    "holm",
    "holm_pairs",
    "letters",
    "mean_interval",
    "minimum_detectable_difference",
    "moderated_variance",
    "paired_difference",
    "pairwise",
    "prediction_interval",
    "rank_bounds",
]
