"""The records of one board: rows of trials that differ in their seed alone, the teacher they learnt from, and
checkpoints from elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import TemperError
from bench.protocol import ROBUST, verdicts
from bench.ranking.collect import CheckpointEntry, Collection, Entry, collect, read_outcome_file
from bench.ranking.sound import copies, doubt, seed_problem
from bench.records import EvaluationRecord, Trial
from bench.scenario import Scenario

if TYPE_CHECKING:
    from bench.teachers.making import TeacherCard

FIELDS = {"ruleset": "compute", "budget": "s", "recipe": "plain", "track": "main"}  # of a board, at their defaults
TEACHER = "robust"  # of the scenario's teachers, the one whose row is shown


@dataclass(frozen=True)
class Guide:
    """The teacher, judged by the board's protocol: its card, and whether each test example is robust, bool (N,)."""

    card: TeacherCard
    robust: np.ndarray


@dataclass(frozen=True)
class Board:
    """What a scenario's records say under one setting of FIELDS: all that any of its tables is made from."""

    scenario: Scenario
    fields: Mapping[str, str]
    rows: list[list[Entry]]  # the most robust row first, each by seed
    withdrawn: list[list[Entry]]  # likewise: superseded or retracted records, shown and not counted
    reproductions: Mapping[str, Entry]  # by trial id
    confirming: Mapping[str, Entry]  # by row: the seed that was drawn when the method was submitted, in no average
    problems: list[str]  # damaged files
    teacher: Guide | None
    checkpoints: list[CheckpointEntry] = field(default_factory=list)  # the most robust first; on all boards alike

    @property
    def shows(self) -> bool:
        """Whether there is anything that counts, or a checkpoint from elsewhere."""
        return bool(self.rows or self.checkpoints)

    @property
    def robust(self) -> list[np.ndarray]:
        """Robust or not, bool (seeds, images) a row; a failed trial is robust nowhere."""
        return [np.stack([self._true_of(entry.robust) for entry in row]) for row in self.rows]

    @property
    def correct(self) -> list[np.ndarray]:
        """Classified right or not, bool (seeds, images) a row; a failed trial is right nowhere."""
        return [np.stack([self._true_of(entry.correct) for entry in row]) for row in self.rows]

    @property
    def doubts(self) -> list[str]:
        """Why each row is not ranked, however many seeds it has; "" where nothing is the matter."""
        rows = [[entry.record for entry in row] for row in self.rows]
        shared = copies(record for row in rows for record in row)
        copied = [next((shared[r.trial_id] for r in row if r.trial_id in shared), "") for row in rows]
        return [seed_problem(row) or words or doubt(row) for row, words in zip(rows, copied, strict=True)]

    def _true_of(self, examples: np.ndarray | None) -> np.ndarray:
        return np.zeros(self.scenario.data.split.test, bool) if examples is None else examples

    @property
    def verdicts(self) -> list[list[EvaluationRecord | None]]:
        """The evaluations of each row, None for a failed trial; then the teacher's where it was judged, and those of
        the checkpoints."""
        own = [[entry.record.evaluation for entry in row] for row in self.rows]
        own += [] if self.teacher is None else [[self.teacher.card.evaluation]]
        return own + [[entry.record.evaluation] for entry in self.checkpoints]

    @property
    def stem(self) -> str:
        """What the board's files are called: the scenario, and whatever of the setting is not the default."""
        return self.named(self.scenario.name)

    def named(self, start: str) -> str:
        """`start`, and whatever of the setting is not the default."""
        return "-".join([start, *(value for key, value in self.fields.items() if value != FIELDS[key])])

    @property
    def setting(self) -> str:
        """The board in words."""
        ruleset, budget, recipe, track = (self.fields[name] for name in FIELDS)
        words = f"{self.scenario.name}, ruleset {ruleset}, budget {budget}, recipe {recipe}"
        return words if track == FIELDS["track"] else f"{words}, track {track}"


def averaged(
    verdicts: Sequence[EvaluationRecord | None], pick: Callable[[EvaluationRecord], float | None]
) -> float | None:
    """The mean over seeds of an accuracy: 0 for a failed trial, and those left out where it was not measured."""
    values = [0.0 if verdict is None else pick(verdict) for verdict in verdicts]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def read_board(scenario: Scenario, leaderboards: Path | None = None, **fields: str) -> Board:
    """The board of a scenario under these FIELDS; those not given have their defaults. It may have no rows."""
    return board_of(scenario, collect(scenario, leaderboards), **fields)


def read_boards(scenario: Scenario, leaderboards: Path | None = None) -> Iterator[Board]:
    """Every board of a scenario that shows anything; the records are read once."""
    found = collect(scenario, leaderboards)
    for setting in settings(found):
        board = board_of(scenario, found, **setting)
        if board.shows:
            yield board


def settings(found: Collection) -> list[dict[str, str]]:
    """The settings, values of FIELDS, under which there are records; the default first. Checkpoints from elsewhere
    have no setting: alone, they make the default one."""
    trials = [entry.record.trial for each in (found.entries, found.withdrawn) for entry in each.values()]
    default = tuple(FIELDS.values())
    known = {_key(trial) for trial in trials} or ({default} if found.checkpoints else set())
    keys = sorted(known, key=lambda key: (key != default, key))
    return [dict(zip(FIELDS, key, strict=True)) for key in keys]


def _key(trial: Trial) -> tuple[str, ...]:
    return tuple(getattr(trial, name) for name in FIELDS)


def board_of(scenario: Scenario, found: Collection, **fields: str) -> Board:
    """`read_board` of records that are read already.

    Of a checkpoint from elsewhere neither ruleset nor budget is known: like the teacher, it is on every board of its
    scenario.
    """
    setting = FIELDS | fields
    rows, withdrawn = (_rows(scenario, [*each.values()], setting) for each in (found.entries, found.withdrawn))
    others = _checkpoints(scenario, [*found.checkpoints.values()])
    guide = _guide(scenario) if rows or others else None
    return Board(
        scenario, setting, rows, withdrawn, found.reproductions, found.confirming, found.problems, guide, others
    )


def _checkpoints(scenario: Scenario, found: list[CheckpointEntry]) -> list[CheckpointEntry]:
    """The checkpoints that were judged under the present fingerprints, the most robust first."""
    if not found:
        return []
    present = scenario.train_fingerprint(), scenario.protocol_fingerprint()
    current = [entry for entry in found if entry.record.current(*present)]
    return sorted(current, key=lambda entry: (-entry.robust.mean(), entry.record.name))


def _rows(scenario: Scenario, found: list[Entry], fields: Mapping[str, str]) -> list[list[Entry]]:
    """The entries of the present fingerprints, grouped into rows, the most robust row first and seeds in order."""
    if not found:
        return []
    train, protocol = scenario.train_fingerprint(), scenario.protocol_fingerprint()
    rows: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in found:
        trial, verdict = entry.record.trial, entry.record.evaluation
        current = trial.train_fingerprint == train and (not verdict or verdict.protocol_fingerprint == protocol)
        if current and _key(trial) == tuple(fields[name] for name in FIELDS):
            rows[trial.row, entry.record.withdrawn].append(entry)
    ordered = [sorted(entries, key=lambda e: e.record.trial.seed_index) for entries in rows.values()]
    return sorted(ordered, key=lambda entries: (-np.mean([e.accuracy for e in entries]), entries[0].record.trial.row))


def _guide(scenario: Scenario) -> Guide | None:
    """The teacher; None where it was not judged by this protocol."""
    from bench.teachers import weights_path
    from bench.teachers.making import read_card

    try:
        card = read_card(scenario, TEACHER)
        outcomes = read_outcome_file(weights_path(scenario, TEACHER).with_suffix(".parquet"))
    except TemperError:
        return None
    if card.evaluation.protocol_fingerprint != scenario.protocol_fingerprint():
        return None
    return Guide(card, verdicts(outcomes) == ROBUST)
