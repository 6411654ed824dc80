"""Records that no longer count: superseded by a better one, or retracted for a reason. They stay, and stay visible.

A mark, and the digest with it, is all that changes in `record.json`. Who sets one, and when, is in docs/policy.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.errors import TemperError
from bench.files import write_text
from bench.method import METHODS
from bench.records import MARKS, RunRecord, read_record
from bench.stamp import record_text, stamp_problems

COMPARABLE = ("scenario", "ruleset", "budget", "recipe", "track")  # in which rows of one board agree


class Found(NamedTuple):
    """A record and its folder."""

    record: RunRecord
    folder: Path


def retract(folders: Sequence[Path], reason: str) -> list[str]:
    """Retract the records in `folders` for a reason, and say so, a line a record.

    Raises TemperError, before anything is written, for an empty reason, and for a record that has another one already
    or was changed since it was saved: the new stamp would hide that.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise TemperError("a retraction needs a reason: say in a sentence what is wrong with the record")
    for folder in folders:
        _check_stamp(folder)
        before = read_record(folder).retracted
        if before not in ("", reason):
            raise TemperError(f"{folder} is retracted already: {before}")
    for folder in folders:
        _mark(folder, "retracted", reason)
    return [f"{folder}: retracted: {reason}" for folder in folders]


def supersede(folder: Path, by: str) -> list[str]:
    """Replace the row of the record in `folder` by the row of trial `by`, seed by seed; says so, a line a record.

    Raises TemperError, before anything is written, where the rows cannot be compared, the new one does not count
    itself, or lacks a seed of the old one (replacing only the low seeds is refused), and where an old record
    was changed since it was saved.
    """
    successor = next(_trials(folder, by), None)
    if successor is None:
        raise TemperError(f"no record here of trial {by!r} on that scenario: give the id of the trial that replaces it")
    old, new = _row(folder), _row(successor.folder)
    pairs = [(old[seed], _replacement(old[seed], new)) for seed in sorted(old) if not old[seed].record.retracted]
    for before, _ in pairs:
        _check_stamp(before.folder)
    for before, after in pairs:
        _mark(before.folder, "superseded_by", after.record.trial_id)
    return [f"{before.folder}: superseded by {after.record.trial_id}" for before, after in pairs]


def _replacement(old: Found, row: dict[int, Found]) -> Found:
    """The record of the new row for the seed of an old record."""
    seed, first = old.record.trial.seed_index, next(iter(row.values())).record.trial
    for field in COMPARABLE:
        ours, theirs = getattr(old.record.trial, field), getattr(first, field)
        if ours != theirs:
            raise TemperError(f"the new row has {field} {theirs!r}, the old one {ours!r}: they cannot be compared")
    if first.row == old.record.trial.row:
        raise TemperError(f"trial {old.record.trial_id} belongs to the row that should replace it")
    if seed not in row:
        raise TemperError(f"the new row has no seed {seed}, the old one has: run it first, rows are replaced whole")
    new = row[seed]
    if new.record.withdrawn:
        raise TemperError(f"trial {new.record.trial_id} is {new.record.withdrawn} itself")
    if old.record.superseded_by not in ("", new.record.trial_id):
        raise TemperError(f"{old.folder} is superseded already, by {old.record.superseded_by}")
    return new


def unmarked(text: str) -> list[str]:
    """What the text of a `record.json` was before one of its marks was set, or all of them; nothing without marks."""
    content = json.loads(text)
    present = [mark for mark in MARKS if mark in content]
    without = [{mark} for mark in present] + [set(present)] * (len(present) > 1)
    return [record_text({key: value for key, value in content.items() if key not in marks}) for marks in without]


def mark_problems(record: RunRecord, folder: Path) -> Iterator[str]:
    """What is wrong with the marks of a record, given the others beside it."""
    if record.retracted and not record.retracted.strip():
        yield "is retracted without a reason"
    if record.superseded_by:
        yield from _link_problems(record, folder)
    elif not record.withdrawn:
        yield from _missing_link(record, folder)


def _link_problems(record: RunRecord, folder: Path) -> Iterator[str]:
    chain = [record]
    while chain[-1].superseded_by:
        following = next(_trials(folder, chain[-1].superseded_by), None)
        if following is None:
            if len(chain) == 1:
                yield f"is superseded by {record.superseded_by}, which is not a record of this scenario here"
            break
        if following.record.trial_id in {each.trial_id for each in chain}:
            yield f"is superseded in a circle: {' -> '.join(each.trial_id for each in [*chain, following.record])}"
            break
        chain.append(following.record)
    if len(chain) > 1 and chain[1].trial.seed_index != record.trial.seed_index:
        yield f"is superseded by {record.superseded_by}, which is of another seed"
    for seed, other in _row(folder).items():
        if not other.record.withdrawn:
            yield f"is superseded, and seed {seed} of its row is not: rows are replaced whole"


def _missing_link(record: RunRecord, folder: Path) -> Iterator[str]:
    """A record that counts and is not of the version that is registered: a record of that version should have its
    place in the table."""
    trial = record.trial
    present = METHODS[trial.method].info.version if trial.method in METHODS else trial.version
    if trial.version == present:
        return
    successor = trial.model_copy(update={"version": present}).id
    if any(_trials(folder, successor)):
        yield f"is of version {trial.version}, and {successor} of {present}: link it with `temper supersede`"
    else:
        yield f"is of version {trial.version!r}, and the registered one is {present!r}: run that one, or retract this"


def _check_stamp(folder: Path) -> None:
    for problem in stamp_problems((folder / "record.json").read_bytes()):
        raise TemperError(f"{folder}: {problem}; fix that before marking it")


def _mark(folder: Path, mark: str, value: str) -> None:
    file = folder / "record.json"
    write_text(file, record_text(json.loads(file.read_text()) | {mark: value}))


def _trials(folder: Path, trial_id: str) -> Iterator[Found]:
    """The record of a trial on the scenario of the record in `folder`, where there is one."""
    scenario = folder.resolve().parent.parent
    if re.fullmatch("[0-9a-f]{16}", trial_id):
        yield from (Found(read_record(file), file.parent) for file in scenario.glob(f"*/{trial_id}/record.json"))


def _row(folder: Path) -> dict[int, Found]:
    """The records of the row of the one in `folder`, by seed."""
    row, method = read_record(folder).trial.row, folder.resolve().parent
    found = [Found(read_record(file), file.parent) for file in sorted(method.glob("*/record.json"))]
    return {each.record.trial.seed_index: each for each in found if each.record.trial.row == row}
