"""Checkpoints with invented outcomes. Never shown as results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bench.checkpoints import CheckpointRecord, save_checkpoint
from bench.evaluation.summary import outcome_hashes, summarise
from bench.records import EvaluationRecord, Surroundings, WeightsRecord
from bench.scenario import Scenario

HERE = Surroundings(
    commit="c" * 40, dirty=True, versions={"torch": "2"}, device="cpu", machine="invented for a test", threads=1
)
SIGNS = {
    "square_gain": {"value": 0.2, "threshold": 0.01, "verdict": "warn", "words": "Square alone breaks 12 of 60."},
    "side_effects": {"value": 0.0, "threshold": 0.0, "verdict": "pass", "words": "A pass changes nothing."},
}


def record(on: Scenario, name: str, frame: pd.DataFrame, weights: str = "a", **more: Any) -> CheckpointRecord:
    """A record with these outcomes."""
    verdict = EvaluationRecord(
        protocol_fingerprint=on.protocol_fingerprint(),
        **summarise(frame),
        last={},
        outcomes=outcome_hashes(frame),
        diagnostics=SIGNS,
        seconds=7.0,
        surroundings=HERE,
    )
    fields: dict[str, Any] = {
        "name": name,
        "scenario": on.name,
        "train_fingerprint": on.train_fingerprint(),
        "network": "cnn",
        "options": {"widths": [8, 8]},
        "weights": WeightsRecord(sha256=weights * 64, bytes=1234),
        "evaluation": verdict,
    }
    return CheckpointRecord(**fields | more)


def put(root: Path, on: Scenario, name: str, frame: pd.DataFrame, **more: Any) -> Path:
    """A checkpoint with these outcomes, put below the folder of leaderboards `root`."""
    return save_checkpoint(record(on, name, frame, **more), frame, root)
