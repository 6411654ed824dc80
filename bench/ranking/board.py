"""The leaderboard of a scenario: rows from records, ranks from statistics, as a pandas table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.ranking.collect import CheckpointEntry, Entry
from bench.ranking.reproduction import reproduced
from bench.ranking.rows import Board, Guide, averaged, read_board
from bench.ranking.statistics import (
    gap_closed,
    holm_pairs,
    image_interval,
    letters,
    mean_interval,
    minimum_detectable_difference,
    moderated_variance,
    pairwise,
    rank_bounds,
)
from bench.ranking.words import CHECKPOINT, INTERVAL, METHOD, RANK, ROBUST, Column, described, share
from bench.records import EvaluationRecord
from bench.scenario import Recipe, Ruleset, Scenario, Tier, Track, load_scenario

BASELINE = "pgd-at"  # of which `gap closed` is measured
ELSEWHERE = "checkpoints: trained elsewhere, budget unknown, not ranked; their intervals are over images alone (Wilson)"

COLUMNS = [
    *("rank", "rank_low", "rank_high", "tie_group", "method", "version", "family", "ruleset", "budget", "recipe"),
    *("track", "seeds", "trials", "hyperparameters", "tuned", "clean", "robust", "robust_low", "robust_high"),
    *("gap_closed", "gap_closed_low", "gap_closed_high", "proved", "beyond", "fgsm", "pgd_20", "cw"),
    *("worst_class", "robust_sd", "last_pgd_20"),
    *("passes", "seconds", "collapsed", "failed", "reproduced", "status", "reference"),
    *("train_fingerprint", "protocol_fingerprint"),
]
SHOWN = [RANK, METHOD, Column("family", "family", aside=True), ROBUST, INTERVAL, Column("tie", "tie_group")]
SHOWN += [share("clean", "clean"), share("PGD-20", "pgd_20"), Column("gap closed %", "gap_closed", "z.0%")]
SHOWN += [Column("passes", "passes", ".0f"), Column("seeds", "seeds", aside=True), Column("notes", "notes")]
IDENTITY = ["rank", "tie_group", "method", "version", "hyperparameters", "tuned", "status"]  # of a row, in every table
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
    records made under the scenario's present fingerprints count. The teacher follows, unranked; then checkpoints that
    were trained elsewhere (`temper evaluate --add-row`): their status is `checkpoint`, their ruleset, budget, recipe
    and track are null, their intervals over images alone; then what is superseded or retracted (docs/policy.md).
    `frame.attrs`: `minimum_detectable_difference`, `teacher_cost` (r), `problems` (damaged files, rows that
    are not ranked although they have the seeds).

    >>> import bench
    >>> board = bench.leaderboard("digits-linf")
    >>> best = board.iloc[0]
    >>> int(best["rank"]), bool(best["robust_low"] < best["robust"] < best["robust_high"])
    (1, True)
    """
    scenario = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
    return ranking(read_board(scenario, leaderboards, ruleset=ruleset, budget=budget, recipe=recipe, track=track))


def ranking(board: Board) -> pd.DataFrame:
    """The ranked table of a board: see `leaderboard`."""
    robust = board.robust
    spread = Spread(*moderated_variance([outcomes.mean(1) for outcomes in robust])) if robust else Spread.none()
    doubts = board.doubts
    table = [_summary(board, entries, spread.of(k), doubts[k]) for k, entries in enumerate(board.rows)]
    doubtful = [f"{row['method']} is not ranked: {doubt}" for row, doubt in zip(table, doubts, strict=True) if doubt]
    _rank(table, robust, spread)
    _close_gaps(table, robust, spread, board.teacher)
    ranked = _ranked(table)
    detectable = minimum_detectable_difference([robust[k] for k in ranked], *spread.of(ranked))
    table += [] if board.teacher is None else [_teacher(board, board.teacher)]
    table += [_checkpoint(entry) for entry in board.checkpoints]
    table += [_withdrawn(board, entries) for entries in board.withdrawn]
    frame = pd.DataFrame(table, columns=COLUMNS).astype(dict.fromkeys(COUNTS, "Int64"))
    cost = _teacher_cost(board)
    return described(
        frame,
        f"Robust accuracy on {board.scenario.name}",
        _caption(board, detectable, cost),
        SHOWN,
        **board.fields,
        scenario=board.scenario.name,
        minimum_detectable_difference=detectable,
        teacher_cost=cost,
        problems=[*board.problems, *doubtful],
    )


def beside(ranked: pd.DataFrame, rows: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> pd.DataFrame:
    """The first so many rows of a ranking, each with other `fields` beside what identifies it."""
    frame = ranked[IDENTITY].head(len(rows)).join(pd.DataFrame(list(rows), columns=list(fields)))
    frame.attrs = dict(ranked.attrs)
    return frame


def _caption(board: Board, detectable: float, teacher_cost: float | None) -> list[str]:
    """What must stand beside the ranked table."""
    parts = [board.setting]
    parts.append("intervals: 95% over seeds and images, unadjusted; methods that share a letter are tied (Holm, 5%)")
    if teacher_cost:
        parts.append(f"the teacher's forward costs r = {teacher_cost:.2f} passes")
    if not np.isnan(detectable):
        parts.append(f"minimum detectable difference {100 * detectable:.1f} points")
    if board.checkpoints:
        parts.append(ELSEWHERE)
    return parts


def _summary(board: Board, entries: Sequence[Entry], spread: tuple[Any, Any], doubt: str = "") -> dict[str, Any]:
    """All columns of a row that need no other row; one in `doubt` is not ranked."""
    records = [entry.record for entry in entries]
    first = records[0]
    trained = [r.training for r in records if r.training]
    failed = sum(r.status == "failed" for r in records)
    enough = len(records) >= board.scenario.seeds and not doubt
    return {
        "method": first.trial.method,
        "version": first.trial.version,
        "family": first.family,
        **board.fields,
        "seeds": [r.trial.seed_index for r in records],
        "trials": [r.trial_id for r in records],
        "hyperparameters": first.trial.hyperparameters,
        "tuned": first.tuned,
        "robust": float(np.mean([entry.accuracy for entry in entries])),
        **_accuracies([r.evaluation for r in records]),
        "robust_sd": float(np.std([e.accuracy for e in entries], ddof=1)) if len(entries) > 1 else None,
        "passes": float(np.mean([t.passes for t in trained])) if trained else None,
        "seconds": float(np.mean([t.seconds for t in trained])) if trained else None,
        "collapsed": sum(t.collapsed for t in trained),
        "failed": failed,
        "reproduced": reproduced(entries, board.reproductions, *spread),
        "status": "failed" if failed == len(records) else "ranked" if enough else "provisional",
        "reference": first.reference,
        "train_fingerprint": first.trial.train_fingerprint,
        "protocol_fingerprint": board.scenario.protocol_fingerprint(),
    }


def _accuracies(verdicts: Sequence[EvaluationRecord | None]) -> dict[str, float | None]:
    """Every accuracy of a row but the ranked one, its mean over seeds."""
    return {
        "clean": averaged(verdicts, lambda v: v.clean),
        "proved": averaged(verdicts, lambda v: v.proved),
        "beyond": averaged(verdicts, lambda v: v.further.get("beyond")),
        "worst_class": averaged(verdicts, lambda v: v.worst_class["robust"] if v.worst_class else None),
        "fgsm": averaged(verdicts, lambda v: v.further.get("fgsm")),
        "pgd_20": averaged(verdicts, lambda v: v.further.get("pgd-20")),
        "cw": averaged(verdicts, lambda v: v.further.get("cw")),
        "last_pgd_20": averaged(verdicts, lambda v: v.last.get("pgd-20")),
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


def _close_gaps(table: list[dict[str, Any]], robust: list[np.ndarray], spread: Spread, teacher: Guide | None) -> None:
    """Fill `gap_closed` where the board has its baseline and the teacher is clearly above it."""
    base = next((k for k, row in enumerate(table) if row["method"] == BASELINE), None)
    if base is None or teacher is None:
        return
    for row, gap in zip(table, gap_closed(robust, base, teacher.robust[None], *spread), strict=True):
        if gap is not None:
            row |= {"gap_closed": gap.value, "gap_closed_low": _known(gap.low), "gap_closed_high": _known(gap.high)}


def _teacher(board: Board, teacher: Guide) -> dict[str, Any]:
    """The teacher as an unranked row."""
    card = teacher.card
    return {
        **board.fields,
        "method": f"teacher: {card.recipe.method}",
        "version": card.sha256[:8],
        "family": "teacher",
        "seeds": [],
        "trials": [],
        "hyperparameters": card.recipe.fields,
        "tuned": False,
        "robust": card.evaluation.robust,
        **_accuracies([card.evaluation]),
        "last_pgd_20": None,  # it has one checkpoint
        "status": "unranked",
        "train_fingerprint": board.scenario.train_fingerprint(),
        "protocol_fingerprint": card.evaluation.protocol_fingerprint,
    }


def _checkpoint(entry: CheckpointEntry) -> dict[str, Any]:
    """A checkpoint from elsewhere as an unranked row: one network, of which no seed and no budget is known."""
    record, interval = entry.record, image_interval(entry.robust)
    return {
        "method": record.name,
        "version": record.version,
        "family": CHECKPOINT,
        "seeds": [],
        "trials": [],
        "hyperparameters": {},
        "tuned": False,
        "robust": record.evaluation.robust,
        "robust_low": interval.low,
        "robust_high": interval.high,
        **_accuracies([record.evaluation]),
        "last_pgd_20": None,
        "status": CHECKPOINT,
        "reference": record.source,
        "train_fingerprint": record.train_fingerprint,
        "protocol_fingerprint": record.evaluation.protocol_fingerprint,
    }


def _withdrawn(board: Board, entries: Sequence[Entry]) -> dict[str, Any]:
    """A row that is superseded or retracted."""
    return _summary(board, entries, (np.nan, np.nan)) | {"status": entries[0].record.withdrawn}


def _teacher_cost(board: Board) -> float | None:
    """r, the teacher's passes per forward, as metered in the trials that used it."""
    trained = [entry.record.training for row in board.rows for entry in row]
    return next((t.prices["teacher"] for t in trained if t and "teacher" in t.prices), None)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
