"""The leaderboard of a scenario: rows from records, ranks from statistics, as a pandas table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.errors import TemperError
from bench.protocol import ROBUST
from bench.ranking.collect import Collection, Entry, collect, read_outcome_file
from bench.ranking.reproduction import reproduced
from bench.ranking.statistics import (
    gap_closed,
    holm_pairs,
    letters,
    mean_interval,
    minimum_detectable_difference,
    moderated_variance,
    pairwise,
    rank_bounds,
)
from bench.scenario import Recipe, Ruleset, Scenario, Tier, Track, load_scenario

BASELINE = "pgd-at"  # of which `gap closed` is measured
TEACHER = "robust"

COLUMNS = [
    *("rank", "rank_low", "rank_high", "tie_group", "method", "version", "family", "ruleset", "budget", "recipe"),
    *("track", "seeds", "trials", "hyperparameters", "tuned", "clean", "robust", "robust_low", "robust_high"),
    *("gap_closed", "gap_closed_low", "gap_closed_high", "proved", "beyond", "fgsm", "pgd_20", "cw"),
    *("worst_class", "robust_sd", "last_pgd_20"),
    *("passes", "seconds", "collapsed", "failed", "reproduced", "status", "reference"),
    *("train_fingerprint", "protocol_fingerprint"),
]
COUNTS = ["rank", "rank_low", "rank_high", "collapsed", "failed"]


class Spread(NamedTuple):
    """How much one seed's accuracy varies, by row: variances and their degrees of freedom, pooled over the board."""

    variance: np.ndarray
    df: np.ndarray

    @classmethod
    def none(cls) -> Spread:
        """Of an empty board."""
        return cls(np.empty(0), np.empty(0))

    def of(self, rows: int | list[int]) -> tuple[Any, Any]:
        """Variance and degrees of freedom of some rows."""
        return self.variance[rows], self.df[rows]


def leaderboard(
    scenario: str | Path | Scenario,
    *,
    ruleset: Ruleset = "compute",
    budget: Tier = "s",
    recipe: Recipe = "plain",
    track: Track = "main",
    leaderboards: Path | None = None,
) -> pd.DataFrame:
    """The ranked table of a scenario, best first: one row for each method (and setting of its hyper-parameters).

    Accuracies are fractions in [0, 1]; the intervals of `robust` are 95% over seeds and images, unadjusted. Only
    records made under the scenario's present fingerprints count. The teacher is the last, unranked row.
    `frame.attrs`: `minimum_detectable_difference`, `teacher_cost` (r), `problems` (damaged files).
    """
    scenario = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
    found = collect(scenario, leaderboards)
    wanted: dict[str, Any] = {"ruleset": ruleset, "budget": budget, "recipe": recipe, "track": track}
    rows = _rows(scenario, found, wanted) if found.entries else []
    robust = [_outcomes(entries, scenario.data.split.test) for entries in rows]
    spread = Spread(*moderated_variance([outcomes.mean(1) for outcomes in robust])) if rows else Spread.none()
    table = [_summary(scenario, entries, found, spread.of(k)) for k, entries in enumerate(rows)]
    teacher = _teacher(scenario, wanted) if rows else None
    _rank(table, robust, spread)
    _close_gaps(table, robust, spread, None if teacher is None else teacher[1])
    ranked = _ranked(table)
    detectable = minimum_detectable_difference([robust[k] for k in ranked], *spread.of(ranked))
    if teacher is not None:
        table.append(teacher[0])
    frame = pd.DataFrame(table, columns=COLUMNS).astype(dict.fromkeys(COUNTS, "Int64"))
    frame.attrs |= {
        **wanted,
        "scenario": scenario.name,
        "minimum_detectable_difference": detectable,
        "teacher_cost": _teacher_cost(rows),
        "problems": found.problems,
    }
    return frame


def _rows(scenario: Scenario, found: Collection, wanted: Mapping[str, str]) -> list[list[Entry]]:
    """The entries that count, grouped into rows, the most robust row first and seeds in order."""
    train, protocol = scenario.train_fingerprint(), scenario.protocol_fingerprint()
    rows: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in found.entries.values():
        trial, verdict = entry.record.trial, entry.record.evaluation
        current = trial.train_fingerprint == train and (not verdict or verdict.protocol_fingerprint == protocol)
        if current and all(getattr(trial, name) == value for name, value in wanted.items()):
            rows[trial.row].append(entry)
    ordered = [sorted(entries, key=lambda e: e.record.trial.seed_index) for entries in rows.values()]
    return sorted(ordered, key=lambda entries: (-np.mean([e.accuracy for e in entries]), entries[0].record.trial.row))


def _outcomes(entries: Sequence[Entry], images: int) -> np.ndarray:
    """Robust or not, bool (seeds, images); a failed trial is robust nowhere."""
    return np.stack([np.zeros(images, bool) if e.robust is None else e.robust for e in entries])


def _summary(
    scenario: Scenario, entries: Sequence[Entry], found: Collection, spread: tuple[Any, Any]
) -> dict[str, Any]:
    """All columns of a row that need no other row."""
    records = [entry.record for entry in entries]
    first = records[0]
    judged = [r.evaluation for r in records if r.evaluation]
    trained = [r.training for r in records if r.training]
    failed = sum(r.status == "failed" for r in records)
    enough = len(records) >= scenario.seeds
    return {
        "method": first.trial.method,
        "version": first.trial.version,
        "family": first.family,
        "ruleset": first.trial.ruleset,
        "budget": first.trial.budget,
        "recipe": first.trial.recipe,
        "track": first.trial.track,
        "seeds": [r.trial.seed_index for r in records],
        "trials": [r.trial_id for r in records],
        "hyperparameters": first.trial.hyperparameters,
        "tuned": first.tuned,
        "clean": sum(v.clean for v in judged) / len(records),
        "robust": float(np.mean([entry.accuracy for entry in entries])),
        "proved": _mean(v.proved for v in judged),
        "beyond": _mean(v.further.get("beyond") for v in judged),
        "worst_class": _mean(v.worst_class["robust"] if v.worst_class else None for v in judged),
        "fgsm": _mean(v.further.get("fgsm") for v in judged),
        "pgd_20": _mean(v.further.get("pgd-20") for v in judged),
        "cw": _mean(v.further.get("cw") for v in judged),
        "last_pgd_20": _mean(v.last.get("pgd-20") for v in judged),
        "robust_sd": float(np.std([e.accuracy for e in entries], ddof=1)) if len(entries) > 1 else None,
        "passes": _mean(t.passes for t in trained),
        "seconds": _mean(t.seconds for t in trained),
        "collapsed": sum(t.collapsed for t in trained),
        "failed": failed,
        "reproduced": reproduced(entries, found.reproductions, *spread),
        "status": "failed" if failed == len(records) else "ranked" if enough else "provisional",
        "reference": first.reference,
        "train_fingerprint": first.trial.train_fingerprint,
        "protocol_fingerprint": scenario.protocol_fingerprint(),
    }


def _rank(table: list[dict[str, Any]], robust: list[np.ndarray], spread: Spread) -> None:
    """Fill intervals, ranks and tie groups into `table`, in place."""
    for k, (row, outcomes) in enumerate(zip(table, robust, strict=True)):
        interval = mean_interval(outcomes, *spread.of(k))
        row |= {"robust_low": _known(interval.low), "robust_high": _known(interval.high)}
    ranked = _ranked(table)
    if not ranked:
        return
    means = np.array([table[k]["robust"] for k in ranked])
    adjusted = holm_pairs(pairwise([robust[k] for k in ranked], *spread.of(ranked)).p)
    low, high = rank_bounds(means, adjusted)
    for rank, (k, best, worst, tie) in enumerate(zip(ranked, low, high, letters(means, adjusted), strict=True), 1):
        table[k] |= {"rank": rank, "rank_low": int(best), "rank_high": int(worst), "tie_group": tie}


def _ranked(table: list[dict[str, Any]]) -> list[int]:
    return [k for k, row in enumerate(table) if row["status"] == "ranked"]


def _close_gaps(
    table: list[dict[str, Any]], robust: list[np.ndarray], spread: Spread, teacher: np.ndarray | None
) -> None:
    """Fill `gap_closed` where the board has its baseline and the teacher is clearly above it."""
    base = next((k for k, row in enumerate(table) if row["method"] == BASELINE), None)
    if base is None or teacher is None:
        return
    for row, gap in zip(table, gap_closed(robust, base, teacher[None], *spread), strict=True):
        if gap is not None:
            row |= {"gap_closed": gap.value, "gap_closed_low": _known(gap.low), "gap_closed_high": _known(gap.high)}


def _teacher(scenario: Scenario, wanted: Mapping[str, str]) -> tuple[dict[str, Any], np.ndarray] | None:
    """The teacher as an unranked row, and its robust examples; None where it was not judged by this protocol."""
    from bench.teachers import weights_path
    from bench.teachers.making import read_card

    try:
        card = read_card(scenario, TEACHER)
        outcomes = read_outcome_file(weights_path(scenario, TEACHER).with_suffix(".parquet"))
    except TemperError:
        return None
    verdict = card.evaluation
    if verdict.protocol_fingerprint != scenario.protocol_fingerprint():
        return None
    row: dict[str, Any] = {
        **wanted,
        "method": f"teacher: {card.recipe.method}",
        "version": card.sha256[:8],
        "family": "teacher",
        "seeds": [],
        "trials": [],
        "hyperparameters": card.recipe.fields,
        "tuned": False,
        "clean": verdict.clean,
        "robust": verdict.robust,
        "proved": verdict.proved,
        "beyond": verdict.further.get("beyond"),
        "worst_class": verdict.worst_class["robust"] if verdict.worst_class else None,
        "fgsm": verdict.further.get("fgsm"),
        "pgd_20": verdict.further.get("pgd-20"),
        "cw": verdict.further.get("cw"),
        "status": "unranked",
        "train_fingerprint": scenario.train_fingerprint(),
        "protocol_fingerprint": verdict.protocol_fingerprint,
    }
    return row, (outcomes["outcome"] == ROBUST).to_numpy()


def _teacher_cost(rows: Sequence[Sequence[Entry]]) -> float | None:
    """r, the teacher's passes per forward, as metered in the trials that used it."""
    for entries in rows:
        for entry in entries:
            if entry.record.training and "teacher" in entry.record.training.prices:
                return entry.record.training.prices["teacher"]
    return None


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
