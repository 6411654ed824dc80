"""Whether a second run of a recorded trial says the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.ranking.collect import Entry
from bench.ranking.statistics import prediction_interval


def verdict(stored: Entry, again: Entry, row: Sequence[Entry], variance: float, df: float) -> str:
    """`bit for bit` (same weights, same outcomes), else whether `again` lies in the 95% prediction interval for one
    new run, given the stored runs of its `row` and the variance of one seed's accuracy with its degrees of freedom."""
    old, new = stored.record, again.record
    if old.weights == new.weights and old.evaluation and new.evaluation:
        if old.evaluation.outcomes == new.evaluation.outcomes:
            return "bit for bit"
        return "same weights, other outcomes"
    accuracies = np.array([entry.accuracy for entry in row])
    interval = prediction_interval(accuracies, variance, df)
    where = f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"
    if np.isnan(interval.low):
        return f"{100 * again.accuracy:.1f} %, stored {100 * stored.accuracy:.1f} %; one seed gives no interval"
    inside = interval.low <= again.accuracy <= interval.high
    return f"{100 * again.accuracy:.1f} %, {'inside' if inside else 'OUTSIDE'} {where}"


def reproduced(row: Sequence[Entry], reproductions: Mapping[str, Entry], variance: float, df: float) -> dict[int, str]:
    """The verdict on every trial of a row that was run again, by seed index."""
    return {
        entry.record.trial.seed_index: verdict(entry, reproductions[entry.record.trial_id], row, variance, df)
        for entry in row
        if entry.record.trial_id in reproductions
    }
