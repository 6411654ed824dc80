"""Run recorded trials again without changing the records: judge their stored weights, or retrain them.

Everything runs as in `temper run`, but in a separate folder, `.work/again` of the local leaderboards. Interrupted
trials resume, unless the code has changed since.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench.errors import TemperError
from bench.execution.job import locked
from bench.execution.surroundings import surroundings
from bench.execution.trials import Runner
from bench.files import write_text
from bench.method import METHODS, make_method
from bench.ranking.collect import Entry, read_entry
from bench.ranking.reproduction import Check, compared, judged_again
from bench.ranking.rows import Board
from bench.records import (
    RunRecord,
    Trial,
    local_leaderboards,
    read_record,
    shipped_leaderboards,
    trial_folder,
    work_folder,
)
from bench.scenario import Scenario

What = Literal["evaluator", "training"]
WEIGHTS = ("best.safetensors", "last.safetensors")
AGAIN = Path(".work") / "again"  # below the local leaderboards


@dataclass(frozen=True)
class Found:
    """The result of running one trial again."""

    trial: Trial
    what: What
    check: Check


def chosen(board: Board, methods: Sequence[str] = (), seeds: int = 1, sample: int | None = None) -> list[Entry]:
    """The first `seeds` of the rows of these `methods` (default: all); at most `sample` rows, spread evenly from the
    best to the worst. Raises TemperError for a method without a row, and for a board without records.
    """
    there = {row[0].record.trial.method for row in board.rows}
    if missing := [method for method in methods if method not in there]:
        raise TemperError(f"no records of {missing[0]} on {board.setting}; there are records of {_list(sorted(there))}")
    rows = [row for row in board.rows if not methods or row[0].record.trial.method in methods]
    if not rows:
        raise TemperError(f"no records on {board.setting}: make some with `temper run {board.scenario.name}`")
    if sample is not None and sample < len(rows):
        rows = [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, sample).round().astype(int))]
    return [entry for row in rows for entry in row[:seeds]]


def check_again(
    board: Board, entries: Sequence[Entry], what: What, scratch: Path, device: str = "cpu", jobs: int = 1
) -> tuple[list[Found], list[str]]:
    """Judge the entries' stored weights again (`evaluator`), or retrain and judge them (`training`), and compare each
    with its record. Also returns failures, one line per trial; failed trials are not compared."""
    place = scratch / what
    again, problems = _run(board.scenario, entries, what, place, device, jobs)
    found = [
        Found(entry.record.trial, what, _compare(board, entry, again[entry.record.trial_id], what))
        for entry in entries
        if entry.record.trial_id in again
    ]
    return found, problems


def reproduce(
    record: RunRecord, folder: Path, board: Board, leaderboards: Path, device: str = "cpu"
) -> tuple[Check, Path]:
    """Run the trial of a record again and compare; also returns the folder of the second record.

    Raises TemperError if method, scenario, data or protocol differ from the record's, or if the trial fails.
    """
    fits(record, board.scenario)
    stored = read_entry(folder, board.scenario.data.split.test)
    scratch = leaderboards / AGAIN
    found, problems = check_again(board, [stored], "training", scratch, device)
    if problems:
        raise TemperError(problems[0])
    return found[0].check, trial_folder(scratch / "training", record.trial)


def fits(record: RunRecord, scenario: Scenario) -> None:
    """Raise TemperError if this scenario or the installed methods differ from the record's."""
    trial, verdict = record.trial, record.evaluation
    if problem := other_method(trial):
        raise TemperError(f"trial {record.trial_id}: {problem}")
    here = scenario.train_fingerprint()
    if trial.train_fingerprint != here:
        raise TemperError(
            f"trial {record.trial_id} was trained on another {scenario.name}, of fingerprint "
            f"{trial.train_fingerprint[:12]}; here it is {here[:12]}: data, teachers, student or optimiser differ. "
            "--scenario takes the scenario of the record as a file"
        )
    if verdict and verdict.protocol_fingerprint != scenario.protocol_fingerprint():
        raise TemperError(
            f"trial {record.trial_id} was judged by another protocol (fingerprint {verdict.protocol_fingerprint[:12]}, "
            f"here {scenario.protocol_fingerprint()[:12]}): `temper run` judges its weights again first"
        )


def other_method(trial: Trial) -> str:
    """How the installed method differs from the trial's; empty if it does not."""
    if trial.method not in METHODS:
        return f"method {trial.method!r} is not registered here; --file takes the file that it is in"
    version = METHODS[trial.method].info.version
    if version != trial.version:
        return f"{trial.method} is version {version!r} here, the record is of version {trial.version!r}"
    make_method(trial.method, trial.hyperparameters)
    return ""


def has_weights(entry: Entry) -> bool:
    """Whether a record's weights are stored with it."""
    return all((entry.folder / name).is_file() for name in WEIGHTS)


def find(record: str, leaderboards: Path | None = None) -> Path:
    """The folder of a record, given by its folder, its file or its trial id. Raises TemperError if there is none."""
    path = Path(record)
    if path.exists():
        return path if path.is_dir() else path.parent
    for root in (shipped_leaderboards(), local_leaderboards(leaderboards)):
        for file in root.glob(f"records/*/*/{path.name}/record.json"):
            return file.parent
    raise TemperError(f"there is no record {record!r}: give its folder, its record.json, or the trial's id")


def _run(
    scenario: Scenario, entries: Sequence[Entry], what: What, place: Path, device: str, jobs: int
) -> tuple[dict[str, Entry], list[str]]:
    """The second records of these entries by trial id, and failures."""
    here = surroundings(device)
    code = None if here.dirty else here.commit
    trials = [entry.record.trial for entry in entries]
    runner = Runner(scenario, place, device, jobs)
    runner.check([make_method(trial.method, trial.hyperparameters) for trial in trials])
    for entry in entries:
        _begin(entry, what, place, code)
    problems = runner.run(trials)
    again = {entry.record.trial_id: entry for entry in _finished(trials, place, scenario.data.split.test)}
    return again, problems


def _begin(entry: Entry, what: What, place: Path, code: str | None) -> None:
    """Remove an earlier run unless the same code can resume it; put weights to judge in place."""
    trial = entry.record.trial
    work, folder = work_folder(place, trial), trial_folder(place, trial)
    with locked(work):
        mark = work / "code"
        if code is None or not mark.exists() or mark.read_text() != code:
            shutil.rmtree(work)
    write_text(mark, code or "")
    shutil.rmtree(folder, ignore_errors=True)
    if what == "evaluator":
        shutil.copytree(entry.folder, folder, ignore=shutil.ignore_patterns("outcomes.parquet"))
        entry.record.model_copy(update={"evaluation": None}).save(folder)  # trained, and not judged yet


def _finished(trials: Sequence[Trial], place: Path, images: int) -> Iterator[Entry]:
    """The second records: judged, or failed in training."""
    for trial in trials:
        folder = trial_folder(place, trial)
        if (folder / "record.json").is_file():
            record = read_record(folder)
            if record.evaluation or record.status == "failed":
                yield read_entry(folder, images)


def _compare(board: Board, stored: Entry, again: Entry, what: What) -> Check:
    return judged_again(stored, again) if what == "evaluator" else compared(stored, again, board.rows)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "no method"
