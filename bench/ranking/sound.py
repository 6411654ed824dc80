"""What the records of a board must be beside one another: the seeds of a row are the first ones, and no two records are
of one network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from bench.protocol import unanswered
from bench.records import RunRecord


def seed_problem(row: Sequence[RunRecord]) -> str:
    """Why the seeds of a row's records are not 0 to n-1, each once; "" where they are."""
    seeds = sorted(record.trial.seed_index for record in row)
    if seeds == list(range(len(seeds))):
        return ""
    return f"the seeds of its row are {', '.join(map(str, seeds))}; they must be 0 to n-1, each once"


def copies(records: Iterable[RunRecord]) -> dict[str, str]:
    """Of records that have a file in common which no two students can have (weights, or the table of outcomes with its
    margins): what is shared, by trial id."""
    owners: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for record in records:
        for weights in record.weights.values():
            owners["weights", weights.sha256].add(record.trial_id)
        if table := record.files.get("outcomes.parquet"):
            owners["outcomes", table].add(record.trial_id)
    shared: dict[str, str] = {}
    for (what, _), trials in owners.items():
        for trial in trials if len(trials) > 1 else ():
            others = ", ".join(f"trial {each}" for each in sorted(trials - {trial}))
            shared.setdefault(trial, f"its {what} are those of {others}")
    return shared


def doubt(row: Sequence[RunRecord]) -> str:
    """Which diagnostics of a row's records call for a stronger attack that did not run; "" where all were answered."""
    for record in row:
        verdict = record.evaluation
        if verdict and (missing := unanswered(verdict.diagnostics, verdict.further)):
            attacks = ", ".join(missing)
            return (
                f"diagnostics of seed {record.trial.seed_index} call for stronger attacks that did not run: {attacks}"
            )
    return ""
