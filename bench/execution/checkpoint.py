"""A checkpoint that somebody has, for the boards of a scenario: judged by the whole protocol, as students are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from bench.checkpoints import CheckpointRecord, check_new_row
from bench.data import Split
from bench.errors import TemperError
from bench.evaluation import Progress
from bench.evaluation.summary import outcome_hashes, summarise
from bench.execution.judge import outcomes_of
from bench.execution.surroundings import surroundings
from bench.hashing import file_digest
from bench.records import EvaluationRecord, WeightsRecord
from bench.scenario import NetworkSpec, Scenario
from bench.teachers import load_teacher


@dataclass(frozen=True)
class Newcomer:
    """What is known of a checkpoint before it is read: what its row is called, where it is from, its file, and the
    network, or else the `model` (module:function) that makes one."""

    name: str
    source: str
    weights: Path
    network: NetworkSpec
    model: str = ""


def check_whole(changed: Mapping[str, bool]) -> None:
    """Raise TemperError where an option, by its name, changes what is judged or how: a row is of the whole protocol."""
    names = [name for name, given in changed.items() if given]
    if names:
        raise TemperError(
            "a row is judged by the scenario's own protocol on its whole test split, as all others are: "
            f"leave out {', '.join(names)}, or --add-row"
        )


def prepare_row(about: Newcomer, scenario: Scenario, leaderboards: Path) -> dict[str, Any]:
    """The fields of a checkpoint's record that need no verdict. Raises TemperError where it could not be put on the
    boards: so nobody waits for a verdict that is refused."""
    if not about.weights.is_file():
        raise TemperError(f"no weights at {about.weights}")
    sha256 = file_digest(about.weights)
    check_new_row(leaderboards, scenario.name, about.name, about.source, sha256)
    return {
        "name": about.name,
        "source": about.source,
        "scenario": scenario.name,
        "train_fingerprint": scenario.train_fingerprint(),
        "network": about.model or about.network.network,
        "options": {} if about.model else about.network.options,
        "weights": WeightsRecord(sha256=sha256, bytes=about.weights.stat().st_size),
        "told": [],
    }


def judge_row(
    prepared: Mapping[str, Any],
    model: nn.Module,
    test: Split,
    scenario: Scenario,
    device: str,
    report: Progress,
    *,
    folder: Path | None = None,
) -> tuple[CheckpointRecord, pd.DataFrame]:
    """The record with its verdict, and the outcomes, a row a test example: with the columns that students' have."""
    started = time.perf_counter()
    teacher, told = robust_teacher(scenario, device)
    found = outcomes_of(model, test, scenario, report, folder=folder, teacher=teacher)
    verdict = EvaluationRecord(
        **summarise(found.frame),
        **found.told,
        protocol_fingerprint=scenario.protocol_fingerprint(),
        last={},
        outcomes=outcome_hashes(found.frame),
        seconds=time.perf_counter() - started,
        surroundings=surroundings(device),
    )
    report(1.0)
    fields = dict(prepared) | {"told": [*prepared["told"], *told], "evaluation": verdict}
    return CheckpointRecord(**fields), found.frame


def robust_teacher(scenario: Scenario, device: str) -> tuple[nn.Module | None, list[str]]:
    """The scenario's robust teacher, for the diagnostic that wants one; without it, a sentence that says so."""
    if "robust" not in scenario.teachers:
        return None, []
    try:
        return load_teacher(scenario, "robust").to(device), []
    except TemperError:
        return None, ["The diagnostic `transfer` was left out, since the scenario's teacher was not there."]
