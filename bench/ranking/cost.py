"""What each method cost: passes and who made them, time, memory, and the robust accuracy that they bought."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.budget import Meter
from bench.ranking.board import beside
from bench.ranking.rows import Board, Guide
from bench.ranking.words import METHOD, RANK, ROBUST, Column, described, share
from bench.records import TrainingRecord

TEACHERS = ("teacher", "natural_teacher")  # as a method calls them; other names but the student's are its own networks
KINDS = {"forward": "forwards", "input": "input_backwards", "weights": "weight_backwards", "double": "double_backwards"}
FIELDS = ["robust", "passes", "teacher_share", "other_share", *KINDS.values(), "seconds", "device_seconds"]
FIELDS += ["peak_megabytes", "judging_seconds", "robust_per_kilopass"]


def cost(board: Board, ranked: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds; passes and calls are per training example, the teacher's row is what making it took. Of a
    checkpoint from elsewhere no cost is known: it has no row."""
    examples = board.scenario.data.split.train
    rows = [_row([entry.record.training for entry in row if entry.record.training], examples) for row in board.rows]
    rows += [] if board.teacher is None else [_teacher(board.teacher, ranked.attrs["teacher_cost"], examples)]
    judged = board.verdicts[: len(rows)]
    for row, robust, verdicts in zip(rows, ranked["robust"].head(len(rows)), judged, strict=True):
        row |= {"robust": robust, "judging_seconds": _mean([v.seconds for v in verdicts if v])}
        row["robust_per_kilopass"] = 1000 * robust / row["passes"] if row.get("passes") else None
    frame = beside(ranked, rows, FIELDS)
    shown = [RANK, METHOD, ROBUST, Column("passes", "passes", ".0f"), share("teacher", "teacher_share")]
    shown += [share("own networks", "other_share")]
    shown += [Column(name.replace("_", " "), name, ".0f") for name in KINDS.values() if frame[name].any()]
    shown += [Column("seconds", "seconds", ".0f"), Column("device s", "device_seconds", ".0f")]
    shown += [Column("peak MB", "peak_megabytes", ".0f"), Column("judging s", "judging_seconds", ".0f")]
    shown += [share("robust per 1000 passes", "robust_per_kilopass", best=True)]
    caption = [
        board.setting,
        "a pass is one forward of the student, counted per training example and priced by FLOPs",
        "teacher, own networks: their share of the passes",
        "forwards and backwards: calls of any network",
        f"seconds: of training and evaluation, on {_machines(board)}",
        "the teacher's row is the cost of its training, which no method pays",
        "means over seeds",
    ]
    return described(frame, f"Cost on {board.scenario.name}", caption, shown)


def _row(trained: Sequence[TrainingRecord], examples: int) -> dict[str, Any]:
    """The training of one row's trials, averaged."""
    passes = _mean([t.passes for t in trained])
    shares = {
        "teacher_share": _mean([_passes(t, TEACHERS, examples) / t.passes for t in trained if t.counts]),
        "other_share": _mean([_passes(t, _own(t), examples) / t.passes for t in trained if t.counts]),
    }
    return {"passes": passes} | shares | _calls(trained, examples) | _resources(trained)


def _teacher(teacher: Guide, r: float | None, examples: int) -> dict[str, Any]:
    """What making the teacher took; its passes, counted in its own forwards, in those of the student."""
    training = teacher.card.training
    passes = {"passes": training.passes * r if r else None}
    return passes | _calls([training], examples) | _resources([training])


def _calls(trained: Sequence[TrainingRecord], examples: int) -> dict[str, float | None]:
    """Calls of each kind, of all networks, per training example."""
    return {name: _mean([_count(t, kind) / examples for t in trained if t.counts]) for kind, name in KINDS.items()}


def _resources(trained: Sequence[TrainingRecord]) -> dict[str, float | None]:
    return {
        "seconds": _mean([t.seconds for t in trained]),
        "device_seconds": _mean([t.device_seconds for t in trained]),
        "peak_megabytes": _mean([t.peak_memory / 1e6 for t in trained]),
    }


def _passes(training: TrainingRecord, networks: Collection[str], examples: int) -> float:
    """What these networks' calls cost, by the meter's own prices, per training example."""
    counts = {key: n for key, n in training.counts.items() if key.rpartition("/")[0] in networks}
    meter = Meter(student_flops=1)
    meter.restore({"counts": counts, "prices": training.prices})
    return meter.passes / examples


def _own(training: TrainingRecord) -> set[str]:
    return {key.rpartition("/")[0] for key in training.counts} - {"student", *TEACHERS}


def _count(training: TrainingRecord, kind: str) -> int:
    return sum(n for key, n in training.counts.items() if key.endswith(f"/{kind}"))


def _machines(board: Board) -> str:
    """Where the trials trained; times of different machines are not comparable."""
    places = [entry.record.surroundings for row in board.rows for entry in row]
    names = sorted({f"{p.machine} ({p.device}, {p.threads} thread{'s' * (p.threads > 1)})" for p in places})
    return " and ".join(names) or "no machine"


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
