"""From folders to entries: every record of a scenario with its outcomes, shipped ones overlaid with local ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bench.checkpoints import CheckpointRecord, checkpoint_folders, read_checkpoint
from bench.errors import TemperError
from bench.foreign import read_table
from bench.learning_curve import read_curve_lines
from bench.protocol import MISCLASSIFIED, ROBUST, verdicts
from bench.records import RunRecord, leaderboards_read, read_record, record_folders
from bench.scenario import Scenario

WHOLE_NUMBERS = ("outcome", "label", "prediction")  # columns that every file of outcomes has; outcomes are bytes


@dataclass(frozen=True)
class Entry:
    """One record, and the outcome of each test example: uint8 (N,), nothing for a failed trial."""

    record: RunRecord
    folder: Path
    outcomes: np.ndarray | None

    @property
    def robust(self) -> np.ndarray | None:
        """Whether each test example is robust: bool (N,)."""
        return None if self.outcomes is None else self.outcomes == ROBUST

    @property
    def correct(self) -> np.ndarray | None:
        """Whether each test example is classified right, unchanged: bool (N,)."""
        return None if self.outcomes is None else self.outcomes != MISCLASSIFIED

    @property
    def accuracy(self) -> float:
        """Robust accuracy; a failed trial has 0."""
        robust = self.robust
        return 0.0 if robust is None else float(robust.mean())


@dataclass(frozen=True)
class CheckpointEntry:
    """A checkpoint that was trained elsewhere, and the outcome of each test example: uint8 (N,)."""

    record: CheckpointRecord
    folder: Path
    outcomes: np.ndarray

    @property
    def robust(self) -> np.ndarray:
        """Whether each test example is robust: bool (N,)."""
        return self.outcomes == ROBUST


@dataclass
class Collection:
    """The records of a scenario by trial id: those that count, those that are superseded or retracted, second records
    of a trial; by row, the confirming seeds of submissions; checkpoints from elsewhere by folder; and the files that
    are damaged."""

    entries: dict[str, Entry] = field(default_factory=dict)
    withdrawn: dict[str, Entry] = field(default_factory=dict)
    reproductions: dict[str, Entry] = field(default_factory=dict)
    confirming: dict[str, Entry] = field(default_factory=dict)
    checkpoints: dict[str, CheckpointEntry] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Put a record where it belongs; the first record of a trial decides whether the trial counts."""
        trial = entry.record.trial_id
        if trial in self.entries or trial in self.withdrawn:
            self.reproductions[trial] = entry
        elif entry.record.withdrawn:
            self.withdrawn[trial] = entry
        elif entry.record.submission and entry.record.submission.nonce:
            self.confirming[entry.record.trial.row] = entry
        else:
            self.entries[trial] = entry


def collect(scenario: Scenario, leaderboards: Path | None = None) -> Collection:
    """Read all records of a scenario. A local record of a shipped trial is a reproduction: shown, never averaged. A
    local checkpoint takes the place of a shipped one of its name."""
    found = Collection()
    for root in leaderboards_read(leaderboards):
        for entry in _entries(root, scenario, found.problems):
            found.add(entry)
        found.checkpoints |= {each.folder.name: each for each in _checkpoints(root, scenario, found.problems)}
    return found


def _entries(root: Path, scenario: Scenario, problems: list[str]) -> Iterator[Entry]:
    for folder in record_folders(root, scenario.name):
        try:
            yield read_entry(folder, scenario.data.split.test)
        except TemperError as error:
            problems.append(str(error))


def _checkpoints(root: Path, scenario: Scenario, problems: list[str]) -> Iterator[CheckpointEntry]:
    for folder in checkpoint_folders(root, scenario.name):
        try:
            record = read_checkpoint(folder)
            yield CheckpointEntry(record, folder, _outcomes(folder, scenario.data.split.test))
        except TemperError as error:
            problems.append(str(error))


def read_entry(folder: Path, images: int) -> Entry:
    """The record of a folder and its outcomes on so many images. Raises TemperError that names the damaged file."""
    record = read_record(folder)
    return Entry(record, folder, None if record.evaluation is None else _outcomes(folder, images))


def _outcomes(folder: Path, images: int) -> np.ndarray:
    outcomes = verdicts(read_outcomes(folder))
    if len(outcomes) != images:
        raise TemperError(f"{folder / 'outcomes.parquet'} has {len(outcomes)} rows, the test split {images}")
    return outcomes


def read_curve(folder: Path) -> pd.DataFrame:
    """The learning curve of a folder: losses, and what else the method measured, over the budget spent in percent.

    Empty where there is none, or where it cannot be read: it is attested, and nothing rests on it.
    """
    try:
        lines = read_curve_lines(folder / "metrics.jsonl")
    except TemperError:
        return pd.DataFrame()
    return pd.DataFrame([line.losses | line.metrics for line in lines], index=[100 * line.progress for line in lines])


def read_outcomes(folder: Path) -> pd.DataFrame:
    """The outcomes of a folder, one row a test example. Raises TemperError when the file is missing or damaged."""
    return read_outcome_file(folder / "outcomes.parquet")


def read_outcome_file(path: Path) -> pd.DataFrame:
    """A file of outcomes: label, prediction, outcome, and a bool column for each further attack."""
    try:
        frame = read_table(path)
    except TemperError:
        raise
    except Exception as error:  # of damaged bytes pandas and pyarrow raise this and that
        raise TemperError(f"cannot read {path}: {error}") from None
    for name in WHOLE_NUMBERS:
        if list(frame.columns).count(name) != 1 or frame[name].dtype.kind not in "iu":
            raise TemperError(f"{path} has no column of {name}s")
    if frame["outcome"].dtype != np.uint8:
        raise TemperError(f"{path} has no column of outcome bytes")
    return frame
