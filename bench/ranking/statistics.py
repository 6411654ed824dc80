"""Statistics of a leaderboard, pure functions on arrays; what they estimate is in docs/statistics.md.

`variance`: one method. `comparison`, `ranks`, `gap`: the methods of a board. `mcnemar`: two students. `fronts`: rows by
several measures at once. `profiles`: one method over several scenarios.
"""

from bench.ranking.comparison import Difference, Pairs, minimum_detectable_difference, paired_difference, pairwise
from bench.ranking.fronts import front
from bench.ranking.gap import Gap, gap_closed
from bench.ranking.mcnemar import McNemar, mcnemar
from bench.ranking.profiles import interquartile_mean, performance_profile, resampling_interval
from bench.ranking.ranks import holm, holm_pairs, letters, rank_bounds
from bench.ranking.variance import (
    Interval,
    image_interval,
    mean_interval,
    moderated_variance,
    prediction_interval,
)

__all__ = [
    "Difference",
    "Gap",
    "Interval",
    "McNemar",
    "Pairs",
    "front",
    "gap_closed",
    "holm",
    "holm_pairs",
    "image_interval",
    "interquartile_mean",
    "letters",
    "mcnemar",
    "mean_interval",
    "minimum_detectable_difference",
    "moderated_variance",
    "paired_difference",
    "pairwise",
    "performance_profile",
    "prediction_interval",
    "rank_bounds",
    "resampling_interval",
]
