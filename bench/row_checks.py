"""Whether records can stand beside each other: the seeds of a row are the first ones, and no student is there twice."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.consistency import shipped_scenario
from bench.errors import TemperError
from bench.ranking.sound import copies, seed_problem
from bench.records import RunRecord, read_record, record_files, shipped_leaderboards
from bench.submission.audits import gap_audit
from bench.withdrawal import COMPARABLE
from bench.words import counted

Records = Mapping[Path, RunRecord]  # by folder
Rows = Sequence[Sequence[Path]]


def beside_others(folders: list[Path]) -> Iterator[str]:
    """What cannot be of the records in `folders` beside all of their scenario, here and shipped."""
    placed = {folder.resolve(): folder for folder in folders if folder.resolve().parents[2].name == "records"}
    for leaderboards, scenario in sorted({(place.parents[3], place.parents[1].name) for place in placed}):
        records = _of_scenario(leaderboards, scenario)
        rows = _rows(records)
        for place, problem in [*_seeds(records, rows, placed), *_gaps(records, rows, placed), *_students(records)]:
            if place in placed:
                yield f"{placed[place]}: {problem}"


def _of_scenario(leaderboards: Path, scenario: str) -> Records:
    """The readable records of a scenario: those of `leaderboards`, and shipped ones of other trials."""
    found: dict[str, tuple[Path, RunRecord]] = {}
    for root in (leaderboards, shipped_leaderboards().resolve()):
        for file in sorted(record_files(root, scenario)):
            with contextlib.suppress(TemperError):  # told where the record itself is checked
                record = read_record(file)
                found.setdefault(record.trial_id, (file.parent.resolve(), record))
    return dict(found.values())


def _rows(records: Records) -> list[list[Path]]:
    """The folders of each row. A withdrawn record still has its place; a confirming trial is in no row."""
    rows: defaultdict[str, list[Path]] = defaultdict(list)
    for place, record in records.items():
        if not (record.submission and record.submission.nonce):
            rows[record.trial.row].append(place)
    return list(rows.values())


def _seeds(records: Records, rows: Rows, asked: Mapping[Path, Path]) -> Iterator[tuple[Path, str]]:
    """The rows whose seeds are not the first ones, each told of the first of its folders that is `asked` for."""
    for row in rows:
        problem = seed_problem([records[place] for place in row])
        here = [place for place in row if place in asked]
        if problem and here:
            yield here[0], problem


def _gaps(records: Records, rows: Rows, asked: Mapping[Path, Path]) -> Iterator[tuple[Path, str]]:
    """The rows of submissions that are better on test than honest ones are, all their seeds together."""
    for row in rows:
        submitted = [records[place] for place in row if records[place].submission]
        scenario = shipped_scenario(submitted[0]) if submitted else None
        here = [place for place in row if place in asked]
        if scenario and here:
            audit = gap_audit(submitted, scenario)
            if audit.verdict == "fail":
                yield here[0], f"{counted(len(submitted), 'seed')} together fail the audit of the gap: {audit.words}"


def _students(records: Records) -> Iterator[tuple[Path, str]]:
    """The records that count and share a student with another one of their board."""
    boards: defaultdict[tuple[str, ...], dict[Path, RunRecord]] = defaultdict(dict)
    for place, record in records.items():
        if not record.withdrawn:
            boards[tuple(getattr(record.trial, name) for name in COMPARABLE)][place] = record
    for board in boards.values():
        shared = copies(board.values())
        yield from ((place, shared[each.trial_id]) for place, each in board.items() if each.trial_id in shared)
