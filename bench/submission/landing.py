"""Where a submission lands: its row on the board, and its confirming seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench.errors import TemperError
from bench.ranking.board import ranking
from bench.ranking.collect import Entry
from bench.ranking.rows import Board, read_board
from bench.ranking.statistics import moderated_variance, prediction_interval
from bench.records import Trial
from bench.scenario import Scenario

AROUND = 2  # rows above and below that are shown


@dataclass(frozen=True)
class Landing:
    """A submission's row among its neighbours, and its confirming seed."""

    rows: pd.DataFrame  # of the ranking, with its attrs
    place: int  # of the submission's row in them
    confirming: str  # in words; empty without one


def landing(scenario: Scenario, trial: Trial, leaderboards: Path) -> Landing:
    """Where the row of a trial stands. Raises TemperError when it has no record."""
    board = read_board(scenario, leaderboards, track=trial.track)
    place = next((k for k, row in enumerate(board.rows) if row[0].record.trial.row == trial.row), None)
    if place is None:
        raise TemperError(f"{trial.method} has no record on {scenario.name} under {leaderboards}")
    ranked = ranking(board)
    at = next(k for k, ids in enumerate(ranked["trials"]) if board.rows[place][0].record.trial_id in ids)
    low = max(0, at - AROUND)
    return Landing(ranked.iloc[low : at + AROUND + 1], at - low, confirmation(board, place))


def confirmation(board: Board, place: int) -> str:
    """Whether the confirming seed is inside the others' 95% prediction interval, in words; empty without one."""
    row = board.rows[place]
    again = board.confirming.get(row[0].record.trial.row)
    if again is None:
        return ""
    variance, df = moderated_variance([_accuracies(each) for each in board.rows])
    expected = prediction_interval(_accuracies(row), variance[place], df[place])
    if np.isnan(expected.low):
        return f"The confirming seed has {100 * again.accuracy:.1f} %. Too few seeds for a prediction interval."
    inside = "inside" if expected.low <= again.accuracy <= expected.high else "OUTSIDE"
    ends = f"{100 * expected.low:.1f} to {100 * expected.high:.1f} %"
    return (
        f"The confirming seed has {100 * again.accuracy:.1f} %: {inside} the others' 95% prediction interval, {ends}."
    )


def _accuracies(row: list[Entry]) -> np.ndarray:
    return np.array([entry.accuracy for entry in row])
