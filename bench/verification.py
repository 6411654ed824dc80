"""`verify`: whether records say what their files say. Accuracies are recomputed, hashes and counts compared.

What a record only attests (`ATTESTED`) is held by its stamp (`bench.stamp`) and by what else it says
(`bench.consistency`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path

import numpy as np
import pandas as pd

from bench.checkpoints import FILE as CHECKPOINT
from bench.checkpoints import FOLDER as CHECKPOINTS
from bench.consistency import answers, content_problems, curve_problems, shipped_scenario
from bench.errors import TemperError
from bench.evaluation.summary import outcome_hashes, summarise, unknown_columns
from bench.hashing import file_digest
from bench.protocol import ATTACKS, MISCLASSIFIED, ROBUST
from bench.ranking.collect import read_outcomes
from bench.records import WEIGHTS_LIMIT, EvaluationRecord, RunRecord, read_record
from bench.scenario import Scenario
from bench.stamp import STAMPED, file_stamps, stamp_problems
from bench.withdrawal import mark_problems
from bench.words import counted

ATTESTED = "passes, seconds, memory and learning curves are attested by the machine that trained (and stamped)"
FILES = ("record.json", *STAMPED, "best.safetensors", "last.safetensors")


@dataclass
class Findings:
    """What a check found: `problems`, which fail it, and what is only `told`. A line each."""

    problems: list[str] = dataclass_field(default_factory=list)
    told: list[str] = dataclass_field(default_factory=list)

    def __iadd__(self, other: Findings) -> Findings:
        self.problems += other.problems
        self.told += other.told
        return self


def records_folder(root: Path) -> Path:
    """The folder of records in a `leaderboards` folder, or `root` itself where it is one or lies in one."""
    return root / "records" if is_leaderboards(root) else root


def is_leaderboards(root: Path) -> bool:
    """Whether a folder is one of leaderboards, not one that lies in such."""
    return any((root / name).is_dir() for name in ("records", CHECKPOINTS, ".work"))


def verify_records(root: Path) -> tuple[list[Path], list[str]]:
    """The folders of all records below `root` (a `leaderboards` folder, a folder of records, or one record), and all
    that is wrong with them and beside them."""
    below = records_folder(root)
    folders = [file.parent for file in sorted(below.rglob("record.json"))]
    problems = [problem for folder in folders for problem in verify_folder(folder)]
    checked_elsewhere = {file.parent for file in below.rglob(CHECKPOINT)} if below == root else set()
    left = strays(below, {*folders, *checked_elsewhere})
    return folders, problems + [f"{path}: belongs to no record" for path in left]


def strays(below: Path, folders: set[Path]) -> list[Path]:
    """What lies below a folder and in none of these; a link is never followed."""
    found = [path for path in sorted(below.rglob("*")) if path.parent not in folders]
    return [path for path in found if path.is_symlink() or not path.is_dir()]


def verify_folder(folder: Path) -> list[str]:
    """All that is wrong with the record in `folder`; empty when everything that can be checked agrees."""
    try:
        record = read_record(folder)
    except TemperError as error:
        return [str(error)]
    checks = [content_problems(record), mark_problems(record, folder)]
    checks += [check(record, folder) for check in (_stamp, _place, _files, _stamped, _weights, _learning, _results)]
    problems = [problem for check in checks for problem in answers(check)]
    return [problem if str(folder) in problem else f"{folder}: {problem}" for problem in problems]


def _stamp(record: RunRecord, folder: Path) -> Iterator[str]:
    yield from stamp_problems((folder / "record.json").read_bytes())


def _place(record: RunRecord, folder: Path) -> Iterator[str]:
    place = ("records", record.trial.scenario, record.trial.method, record.trial_id)
    if tuple(folder.resolve().parts[-4:]) != place:
        yield f"lies in the wrong place, belongs in {'/'.join(place)}"


def _files(record: RunRecord, folder: Path) -> Iterator[str]:
    """What has no business there."""
    allowed = FILES if record.status == "complete" else FILES[:1]
    for path in sorted(folder.iterdir()):
        if path.name not in allowed:
            yield f"{path.name} does not belong to a {record.status} record"
        elif path.is_symlink() or not path.is_file():
            yield f"{path.name} is a link or a folder, and should be a file"


def _stamped(record: RunRecord, folder: Path) -> Iterator[str]:
    """The files that have their hash in the stamp, of a record that has one."""
    here = file_stamps(folder)
    for name in STAMPED if record.status == "complete" else ():
        if name not in here:
            yield f"{name} is missing"
    for name in sorted({*record.files, *here}) if record.digest else ():
        if name in here and here[name] != record.files.get(name):
            yield f"{name} has SHA-256 {here[name]}, the record says {record.files.get(name)}"
        elif name not in STAMPED or record.status == "failed":
            yield f"files: a {record.status} record has no {name}"


def _weights(record: RunRecord, folder: Path) -> Iterator[str]:
    """Every file of weights against its hash."""
    for name, weights in record.weights.items():
        file = folder / f"{name}.safetensors"
        if file.is_file():
            if file_digest(file) != weights.sha256:
                yield f"{file.name} has SHA-256 {file_digest(file)}, the record says {weights.sha256}"
            elif file.stat().st_size != weights.bytes:
                yield f"{file.name} has {file.stat().st_size} bytes, the record says {weights.bytes}"
        elif weights.bytes <= WEIGHTS_LIMIT:
            yield f"{file.name} is missing"


def _learning(record: RunRecord, folder: Path) -> Iterator[str]:
    """The learning curve."""
    file = folder / "metrics.jsonl"
    if not file.is_file():
        return
    try:
        lines = [json.loads(line) for line in file.read_text().splitlines()]
    except (ValueError, RecursionError) as error:
        yield f"metrics.jsonl is damaged: {error}"
    else:
        for problem in answers(curve_problems(lines, record)):
            yield problem if "metrics.jsonl" in problem else f"metrics.jsonl {problem}"


def _results(record: RunRecord, folder: Path) -> Iterator[str]:
    """Accuracies and hashes, recomputed from the outcomes."""
    stored = record.evaluation
    if record.status == "failed":
        return
    if set(record.weights) != {"best", "last"}:
        yield "a complete record needs both hashes of weights"
    if stored is None or not (folder / "outcomes.parquet").is_file():
        return
    frame = read_outcomes(folder)
    yield from table_problems(frame, shipped_scenario(record))
    yield from outcome_problems(frame, stored)


def outcome_problems(frame: pd.DataFrame, stored: EvaluationRecord) -> Iterator[str]:
    """What an evaluation says and its table of outcomes does not give: hashes and accuracies."""
    hashes = outcome_hashes(frame)
    for name in sorted({*hashes, *stored.outcomes}):
        if stored.outcomes.get(name) != hashes.get(name):
            yield f"outcomes of {name} hash to {hashes.get(name)}, the record says {stored.outcomes.get(name)}"
    computed = summarise(frame)
    for field in ("clean", "robust", "attacks", "further", "proved", "worst_class"):
        if getattr(stored, field) != computed[field]:
            yield f"evaluation.{field} is {getattr(stored, field)}, the outcomes give {computed[field]}"


def table_problems(frame: pd.DataFrame, scenario: Scenario | None) -> Iterator[str]:
    """Whether a table of outcomes can be one of this scenario at all; where that is not known, of any."""
    outcome = frame["outcome"].to_numpy()
    strange = set(np.unique(outcome)) - {MISCLASSIFIED, ROBUST, *range(1, len(ATTACKS) + 1)}
    if strange:
        yield f"outcomes.parquet holds unknown outcomes {sorted(int(each) for each in strange)}"
    if unknown := unknown_columns(frame):
        yield f"outcomes.parquet has columns that no evaluation writes: {', '.join(unknown)}"
    if not np.array_equal(frame["prediction"] == frame["label"], outcome != MISCLASSIFIED):
        yield "outcomes.parquet: predictions and outcomes disagree on what is misclassified"
    if scenario and len(frame) != scenario.data.split.test:
        yield f"outcomes.parquet has {counted(len(frame), 'row')}, the test split {scenario.data.split.test}"
