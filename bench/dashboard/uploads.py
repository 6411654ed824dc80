"""A record, dropped as JSON on the Submit page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bench.dashboard.frames import methods
from bench.dashboard.view import View
from bench.ranking.collect import Entry
from bench.ranking.statistics import prediction_interval
from bench.records import RunRecord
from bench.scenario import Scenario

LIMIT = 1  # megabytes of an upload


def read_upload(content: bytes) -> tuple[RunRecord | None, list[str]]:
    """The record in a `record.json`; None where it is no record, with all that is wrong with it."""
    try:
        return RunRecord.model_validate_json(content), []
    except ValidationError as error:
        return None, [_problem(each) for each in error.errors(include_url=False, include_input=False)]


def misplaced(record: RunRecord, scenario: Scenario) -> str:
    """Why a record cannot be ranked with the current rows of its scenario; "" if it can."""
    if not scenario.pinned:
        return f"The data of {scenario.name} are not pinned, so its rank here is unknown."
    if record.trial.train_fingerprint != scenario.train_fingerprint():
        return "It was made with another version of the scenario and is not compared with the current rows."
    if record.evaluation and record.evaluation.protocol_fingerprint != scenario.protocol_fingerprint():
        return "It was evaluated with another protocol and is not compared with the current rows."
    return f"It is {record.withdrawn} and no longer counts." if record.withdrawn else ""


def landing(record: RunRecord, view: View) -> str:
    """Where a record would stand on its board, in words."""
    robust = record.evaluation.robust if record.evaluation else 0.0
    entries = next((row for row in view.board.rows if row[0].record.trial.row == record.trial.row), [])
    known = next((entry for entry in entries if entry.record.trial_id == record.trial_id), None)
    if known is not None:
        words = f"This trial is already recorded, at {100 * known.accuracy:.1f} %; a second run, at"
        return f"{words} {100 * robust:.1f} %, is shown but never averaged. {_expected(robust, entries, view)}"
    mean = float(np.mean([robust, *(entry.accuracy for entry in entries)]))
    others = methods(view.ranked)
    others = others[(others["status"] == "ranked") & ~others["trials"].map(lambda ids: _shares(ids, entries))]
    above, below = int((others["robust"] > mean).sum()), int((others["robust"] <= mean).sum())
    place = f"below {above} and above {below} of the other ranked rows, by mean"
    if not entries:
        return f"{100 * robust:.1f} %: a new provisional row, {place}."
    seeds = len(entries) + 1
    return f"With {100 * robust:.1f} %, the row's mean over {seeds} seeds is {100 * mean:.1f} %: {place}. " + _expected(
        robust, entries, view
    )


def _shares(ids: Sequence[str], entries: Sequence[Entry]) -> bool:
    return any(entry.record.trial_id in ids for entry in entries)


def _expected(robust: float, entries: Sequence[Entry], view: View) -> str:
    """Whether another run is inside the prediction interval of a row's stored seeds."""
    place = next(k for k, row in enumerate(view.board.rows) if row is entries)
    comparisons = view.comparisons
    stored = np.array([entry.accuracy for entry in entries])
    expected = prediction_interval(stored, comparisons.variance[place], comparisons.df[place])
    if np.isnan(expected.low):
        return "Too few seeds for a prediction interval."
    inside = "inside" if expected.low <= robust <= expected.high else "OUTSIDE"
    ends = f"{100 * expected.low:.1f} to {100 * expected.high:.1f} %"
    return f"It is {inside} the stored seeds' 95% prediction interval, {ends}."


def _problem(error: ErrorDetails) -> str:
    where = ".".join(map(str, error["loc"]))
    return f"{where or 'the file'}: {error['msg']}"
