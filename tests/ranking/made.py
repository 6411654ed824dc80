"""Boards made of invented outcomes, whose every number a test can work out. Never shown as results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.evaluation.summary import outcome_hashes, summarise
from bench.method import METHODS
from bench.protocol import ATTACKS, ROBUST
from bench.ranking.collect import Entry, read_entry
from bench.ranking.rows import FIELDS, Board
from bench.records import CandidateRecord, EvaluationRecord, RunRecord, Surroundings, TrainingRecord, make_trial
from bench.scenario import Scenario, load_scenario

IMAGES = 60
HERE = Surroundings(commit=None, dirty=None, versions={}, device="cpu", machine="invented for a test", threads=1)


def scenario(name: str = "digits-linf", classes: int = 10, seeds: int = 2) -> Scenario:
    """The digits with few test images, under any name."""
    digits = load_scenario("digits-linf")
    split = digits.data.split.model_copy(update={"test": IMAGES})
    data = digits.data.model_copy(update={"split": split, "classes": classes})
    return digits.model_copy(update={"name": name, "data": data, "seeds": seeds})


def outcomes(robust: float, seed: int, classes: int = 10) -> pd.DataFrame:
    """Outcomes of which a share is robust; the rest fell to clean inputs or to some attack, at random."""
    rng = np.random.default_rng(seed)
    label = np.arange(IMAGES) % classes
    outcome = rng.integers(0, len(ATTACKS) + 1, IMAGES).astype(np.uint8)
    outcome[rng.permutation(IMAGES)[: round(robust * IMAGES)]] = ROBUST
    stands = outcome == ROBUST
    further = {name: stands | (rng.random(IMAGES) < 0.3) for name in ("fgsm", "pgd-20", "cw")}
    return pd.DataFrame({"label": label, "prediction": label, "outcome": outcome, **further, "beyond": stands})


def entry(
    root: Path,
    on: Scenario,
    method: str,
    seed: int,
    frame: pd.DataFrame | None,
    *,
    last: dict[str, float] | None = None,
    hyperparameters: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    **more: Any,
) -> Entry:
    """A record with these outcomes (failed without), written into a folder of `root` and read again."""
    instance = METHODS[method](**(hyperparameters or {}))
    trial = make_trial(on, instance, seed)
    folder = root / on.name / method / trial.id
    folder.mkdir(parents=True)
    verdict = None if frame is None else _verdict(on, frame, last or {"clean": 0.5, "pgd-20": 0.5})
    record = RunRecord(
        trial_id=trial.id,
        trial=trial,
        family=instance.info.family,
        reference=instance.info.reference,
        status="failed" if frame is None else "complete",
        training=_training(**(training or {})),
        evaluation=verdict,
        surroundings=HERE,
        **more,
    )
    record.save(folder)
    if frame is not None:
        frame.to_parquet(folder / "outcomes.parquet")
    return read_entry(folder, IMAGES)


def board(on: Scenario, *rows: list[Entry], **fields: str) -> Board:
    """A board of these rows, which must come best first, without a teacher."""
    return Board(on, FIELDS | fields, list(rows), [], {}, {}, [], None)


def rows(root: Path, on: Scenario, robust: dict[str, float], seeds: int = 2) -> list[list[Entry]]:
    """One row for each method with this robust accuracy (equal for all seeds), best first."""
    best_first = sorted(robust.items(), key=lambda item: -item[1])
    return [
        [entry(root, on, method, seed, outcomes(share, seed + 10 * rank)) for seed in range(seeds)]
        for rank, (method, share) in enumerate(best_first)
    ]


def _verdict(on: Scenario, frame: pd.DataFrame, last: dict[str, float]) -> EvaluationRecord:
    return EvaluationRecord(
        protocol_fingerprint=on.protocol_fingerprint(),
        **summarise(frame),
        last=last,
        outcomes=outcome_hashes(frame),
        diagnostics={},
        seconds=7.0,
    )


def _training(**changes: Any) -> TrainingRecord:
    candidate = CandidateRecord(step=1, progress=0.75, robust=0.5, clean=0.9, top_class=0.1)
    facts: dict[str, Any] = {
        "steps": 1,
        "passes": 10.0,
        "allowed": 10.0,
        "counts": {},
        "prices": {"student": 1.0},
        "seconds": 4.0,
        "device_seconds": 3.0,
        "peak_memory": 2_000_000,
        "curve": [candidate],
        "best": candidate,
        "collapsed": False,
    }
    return TrainingRecord(**(facts | changes))
