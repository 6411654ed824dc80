"""Whether a second run of a recorded trial says the same: exactly on the same class of machine, closely elsewhere.

Elsewhere sums are rounded otherwise. Then at least 99% of the robust verdicts on the same weights must be equal, and
the robust accuracy of a student that was trained again must lie in the 95% prediction interval, as a new seed's would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.protocol import ATTACKS, outcome_name
from bench.ranking.collect import Entry, read_outcomes
from bench.ranking.statistics import moderated_variance, prediction_interval
from bench.records import Surroundings

AGREEMENT = 0.99  # of robust verdicts on the same weights, on another class of machine


@dataclass(frozen=True)
class Check:
    """Whether a second run agrees with the record, in words, and what changed, a line an example and attack."""

    holds: bool
    words: str
    changes: list[str] = field(default_factory=list)


def same_class(one: Surroundings | None, other: Surroundings | None) -> bool:
    """Whether the same code must give the same bits in both places: one processor with its vector instructions, one
    device, one PyTorch. A record that names no instructions (`AMD EPYC` for `AMD EPYC, AVX2`) is of no known class."""
    if one is None or other is None or ", " not in one.machine:
        return False
    return _class(one) == _class(other)


def _class(where: Surroundings) -> tuple[str | None, ...]:
    return where.machine, where.device, where.versions.get("torch")


def judged_again(stored: Entry, again: Entry) -> Check:
    """The evaluator on the stored weights of a record: equal outcomes on the same class of machine, of the score and of
    the attacks beside it; elsewhere 99% of the robust verdicts."""
    old, new = stored.record.evaluation, again.record.evaluation
    if old is None or new is None or stored.robust is None or again.robust is None:
        return Check(old is new, "no student to judge" if old is new else "only one of the two was judged")
    if all(new.outcomes.get(name) == sha for name, sha in old.outcomes.items()):
        return Check(True, "outcomes exactly equal")
    changes = changed(stored, again)
    equal = stored.robust == again.robust
    words = f"{equal.sum()} of {len(equal)} robust verdicts equal"
    if same_class(old.surroundings, new.surroundings):
        return Check(False, f"{words}, with {len(changes)} changes on the same class of machine", changes)
    return Check(bool(equal.mean() >= AGREEMENT), f"{words} on another class of machine", changes)


def trained_again(stored: Entry, again: Entry, row: Sequence[Entry], variance: float, df: float) -> Check:
    """A trial that was run again: equal weights on the same class of machine; elsewhere a robust accuracy in the 95%
    prediction interval of the stored runs of its `row`, from the variance of one seed's accuracy and its df."""
    old, new = stored.record, again.record
    if old.status == new.status == "failed":
        return Check(True, f"failed again: {new.failure}")
    if old.weights == new.weights:
        judged = judged_again(stored, again)
        equal = judged.words == "outcomes exactly equal"
        return Check(judged.holds, "bit for bit" if equal else f"same weights; {judged.words}", judged.changes)
    interval = prediction_interval(np.array([entry.accuracy for entry in row]), variance, df)
    inside = bool(interval.low <= again.accuracy <= interval.high)
    bounds = f"the 95% prediction interval, {100 * interval.low:.1f} to {100 * interval.high:.1f} %"
    where = f"{'inside' if inside else 'OUTSIDE'} {bounds}"
    unknown = np.isnan(interval.low)
    words = f"{100 * again.accuracy:.1f} %, {'too few seeds for a prediction interval' if unknown else where}"
    known = same_class(old.surroundings, new.surroundings)
    words = f"other weights on the same class of machine; {words}" if known else words
    return Check(inside and not known, words, changed(stored, again))


def compared(stored: Entry, again: Entry, rows: Sequence[Sequence[Entry]]) -> Check:
    """`trained_again` for a trial of a board of these `rows`, over which the variance of a seed is moderated."""
    place = next((k for k, row in enumerate(rows) if row[0].record.trial.row == stored.record.trial.row), None)
    rows, place = ([*rows, [stored]], len(rows)) if place is None else (rows, place)
    variance, df = moderated_variance([np.array([entry.accuracy for entry in row]) for row in rows])
    return trained_again(stored, again, rows[place], variance[place], df[place])


def reproduced(row: Sequence[Entry], reproductions: Mapping[str, Entry], variance: float, df: float) -> dict[int, str]:
    """The verdict in words on every trial of a row that was run again, by seed index."""
    return {
        entry.record.trial.seed_index: trained_again(
            entry, reproductions[entry.record.trial_id], row, variance, df
        ).words
        for entry in row
        if entry.record.trial_id in reproductions
    }


def changed(stored: Entry, again: Entry) -> list[str]:
    """Every example and attack of the record with another verdict in the second run, in words."""
    if stored.record.evaluation is None or again.record.evaluation is None:
        return []
    old, new = read_outcomes(stored.folder), read_outcomes(again.folder)
    lines = outcome_changes(old["outcome"].to_numpy(), new["outcome"].to_numpy())
    for name in stored.record.evaluation.outcomes:
        if name in old and name in new:
            lines += _changes_beside(name, old[name].to_numpy(), new[name].to_numpy())
    return lines


def _changes_beside(attack: str, old: np.ndarray, new: np.ndarray) -> list[str]:
    """The examples with another verdict under an attack beside the score, bool (N,) each."""
    words = {True: "right", False: "wrong"}
    return [
        f"test example {index}: was {words[bool(old[index])]} under {attack}, now {words[bool(new[index])]}"
        for index in np.flatnonzero(old != new)
    ]


def outcome_changes(old: np.ndarray, new: np.ndarray, attacks: Sequence[str] = ATTACKS) -> list[str]:
    """The examples whose outcome (uint8 (N,) each) is another, in words."""
    return [
        f"test example {index}: was {_state(int(old[index]), attacks)}, now {_state(int(new[index]), attacks)}"
        for index in np.flatnonzero(old != new)
    ]


def _state(outcome: int, attacks: Sequence[str]) -> str:
    name = outcome_name(outcome, attacks)
    return f"broken by {name}" if name in attacks else name
