"""Leaderboards: records to pandas, statistics, rendering."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.ranking.board import leaderboard

if TYPE_CHECKING:
    from torch import nn

__all__ = ["leaderboard", "load_student"]


def load_student(record: str | Path, which: str = "best", scenario: str | Path | None = None) -> nn.Module:
    """The student of a record (its folder or record.json) in eval mode, by its `best` or `last` weights.

    For a record of your own scenario, give the path of that scenario.

    Raises TemperError if the record is damaged, its scenario is unknown, or its weights are missing.
    """
    from bench.networks import build, load_weights
    from bench.records import read_record
    from bench.scenario import load_scenario

    path = Path(record)
    folder = path if path.is_dir() else path.parent
    made_on = load_scenario(scenario or read_record(path).trial.scenario)
    module = build(made_on.student, made_on.data.shape, made_on.data.classes)
    load_weights(module, folder / f"{which}.safetensors")
    return module.eval()
