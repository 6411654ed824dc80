"""The tables of a board, each a pure function of its records: `TABLES`.

A table is a frame (accuracies are fractions in [0, 1]) with `title`, `caption` and the shown `columns` in its attrs;
`bench.ranking.render` puts it into every format. Its rows are those of the ranking, in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import unknown
from bench.protocol import ATTACKS, FURTHER
from bench.ranking.board import beside, ranking
from bench.ranking.collect import Entry, read_outcomes
from bench.ranking.cost import cost
from bench.ranking.published import published, sources
from bench.ranking.rows import Board, averaged
from bench.ranking.words import METHOD, RANK, ROBUST, Column, described, points, share
from bench.records import EvaluationRecord

Verdicts = Sequence[EvaluationRecord | None]
MOST_CLASSES = 20  # that a reader is shown one by one


def build(board: Board, name: str) -> pd.DataFrame:
    """The table of that name. Raises TemperError for one that is not known."""
    if name not in TABLES:
        raise unknown("table", name, TABLES)
    return TABLES[name](board, ranking(board))


def build_all(board: Board) -> dict[str, pd.DataFrame]:
    """Every table of a board by name; its rows are ranked once."""
    ranked = ranking(board)
    return {name: table(board, ranked) for name, table in TABLES.items()}


def attacks(board: Board, ranked: pd.DataFrame) -> pd.DataFrame:
    """What each attack leaves: `after_...` those of AutoAttack in their order, then the others by name."""
    further = _further(board.verdicts)
    picks: dict[str, Callable[[EvaluationRecord], float | None]] = {"clean": lambda verdict: verdict.clean}
    picks |= {f"after {name}": partial(_left, name) for name in ATTACKS}
    picks |= {name: partial(_under, name) for name in further} | {"proved": lambda verdict: verdict.proved}
    rows = [{_field(name): averaged(each, pick) for name, pick in picks.items()} for each in board.verdicts]
    frame = beside(ranked, rows, [_field(name) for name in picks])
    shown = [RANK, METHOD, *(share(name, _field(name), best=True) for name in picks)]
    caption = [
        board.setting,
        "accuracy left after each attack of AutoAttack in its order, after the last of which it is the robust accuracy",
        "the others: accuracy under each attack alone; beyond: after further attacks on AutoAttack's survivors",
        "proved: no adversarial example exists",
        "means over seeds",
    ]
    return described(frame, f"Accuracy under each attack on {board.scenario.name}", caption, shown)


def classes(board: Board, ranked: pd.DataFrame) -> pd.DataFrame:
    """Robust accuracy of each class, averaged over seeds; the worst of them and its label."""
    labels, names = _labels(board), [f"class_{label}" for label in range(board.scenario.data.classes)]
    robust = board.robust + ([] if board.teacher is None else [board.teacher.robust[None]])
    robust += [entry.robust[None] for entry in board.checkpoints]
    pairs = zip(robust, ranked["worst_class"].head(len(robust)), strict=True)
    rows = [_by_class(outcomes, labels, names) | {"worst_of_seed": worst} for outcomes, worst in pairs]
    frame = beside(ranked, rows, ["robust", "worst", "worst_label", "worst_of_seed", *names])
    frame = frame.astype({"worst_label": "Int64"})
    shown = [RANK, METHOD, ROBUST, share("worst", "worst", best=True), Column("worst class", "worst_label", ".0f")]
    shown += [share("worst of a seed", "worst_of_seed", best=True)]
    shown += (
        [Column(f"{label}", name, "z.1%") for label, name in enumerate(names)] if len(names) <= MOST_CLASSES else []
    )
    caption = [
        board.setting,
        "by label: robust accuracy of the test images of that class in percent, averaged over seeds",
        "worst: the lowest of these",
        "worst of a seed: the lowest class of each student, averaged (lower by chance)",
    ]
    return described(frame, f"Robust accuracy of each class on {board.scenario.name}", caption, shown)


def checkpoints(board: Board, ranked: pd.DataFrame) -> pd.DataFrame:
    """The selected checkpoint against the last one: clean and PGD-20 accuracy of both, and the drop."""
    rows = [_drop([entry.record.evaluation for entry in row]) | _chosen(row) for row in board.rows]
    fields = ["clean", "last_clean", "pgd_20", "last_pgd_20", "drop", "drop_low", "drop_high", "chosen_at"]
    frame = beside(ranked, rows, fields)
    shown = [RANK, METHOD, share("best: clean", "clean"), share("last: clean", "last_clean")]
    shown += [share("best: PGD-20", "pgd_20", best=True), share("last: PGD-20", "last_pgd_20", best=True)]
    shown += [points("drop", "drop"), points("least", "drop_low"), points("most", "drop_high")]
    shown += [share("chosen at", "chosen_at")]
    caption = [
        board.setting,
        "best: the checkpoint selected on validation, which is evaluated",
        "drop: PGD-20 accuracy lost from best to last (robust overfitting), in points; least, most: over seeds",
        "chosen at: the share of the budget spent at the best checkpoint",
        "means over seeds",
    ]
    return described(frame, f"Best against last checkpoint on {board.scenario.name}", caption, shown)


TABLES: dict[str, Callable[[Board, pd.DataFrame], pd.DataFrame]] = {
    "ranking": lambda board, ranked: ranked,
    "attacks": attacks,
    "classes": classes,
    "checkpoints": checkpoints,
    "cost": cost,
    "published": published,
    "sources": sources,
}


def _field(name: str) -> str:
    return name.replace("-", "_").replace(" ", "_")


def _left(name: str, verdict: EvaluationRecord) -> float | None:
    return verdict.attacks.get(name)


def _under(name: str, verdict: EvaluationRecord) -> float | None:
    return verdict.further.get(name)


def _further(table: Sequence[Verdicts]) -> list[str]:
    """The attacks beside AutoAttack that any trial met, those of the protocol first."""
    met = {name for verdicts in table for verdict in verdicts if verdict for name in verdict.further}
    first = [name for name in (*FURTHER, "beyond") if name in met]
    return first + sorted(met - set(first))


def _labels(board: Board) -> np.ndarray:
    """The label of each test image; -1 where nothing of the board was judged."""
    judged = [entry.folder for row in board.rows for entry in row if entry.robust is not None]
    judged += [entry.folder for entry in board.checkpoints]
    if not judged:
        return np.full(board.scenario.data.split.test, -1)
    return read_outcomes(judged[0])["label"].to_numpy()


def _by_class(robust: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """The accuracies of one row from its outcomes, bool (seeds, images)."""
    by_class = pd.Series(robust.mean(0)).groupby(labels).mean().reindex(range(len(names)))
    known = by_class.dropna()
    worst = {} if known.empty else {"worst": known.min(), "worst_label": known.idxmin()}
    return {"robust": float(robust.mean())} | worst | dict(zip(names, by_class, strict=True))


def _drop(verdicts: Verdicts) -> dict[str, float | None]:
    pairs = [(v.further.get("pgd-20"), v.last.get("pgd-20")) for v in verdicts if v]
    drops = [best - last for best, last in pairs if best is not None and last is not None]
    spread = {"drop": float(np.mean(drops)), "drop_low": min(drops), "drop_high": max(drops)} if drops else {}
    return {
        "clean": averaged(verdicts, lambda v: v.clean),
        "last_clean": averaged(verdicts, lambda v: v.last.get("clean")),
        "pgd_20": averaged(verdicts, lambda v: v.further.get("pgd-20")),
        "last_pgd_20": averaged(verdicts, lambda v: v.last.get("pgd-20")),
        **spread,
    }


def _chosen(row: Sequence[Entry]) -> dict[str, float | None]:
    progress = [entry.record.training.best.progress for entry in row if entry.record.training]
    return {"chosen_at": float(np.mean(progress)) if progress else None}
