"""`verify`: whether records say what their files say. Accuracies are recomputed, hashes and counts compared.

What a record only attests (`ATTESTED`) is held by its stamp (`bench.stamp`) and by what else it says
(`bench.consistency`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path

import pandas as pd

from bench.checkpoints import FILE as CHECKPOINT
from bench.checkpoints import FOLDER as CHECKPOINTS
from bench.consistency import answers, content_problems, curve_problems, shipped_scenario
from bench.errors import TemperError
from bench.evaluation.summary import outcome_hashes, summarise
from bench.hashing import file_digest
from bench.learning_curve import read_curve_lines
from bench.ranking.collect import read_outcomes
from bench.records import WEIGHTS_LIMIT, EvaluationRecord, RunRecord, read_record
from bench.row_checks import beside_others
from bench.scenario import Scenario
from bench.sign_checks import sign_problems
from bench.stamp import STAMPED, file_stamps, stamp_problems
from bench.table_checks import table_problems
from bench.withdrawal import mark_problems

ATTESTED = (
    "passes, seconds, memory, learning curves and what made a record are attested by whoever stamped it, and so are "
    "margins, distances and diagnostics as far as they contradict nothing; --reevaluate judges the weights again"
)
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
    problems += beside_others(folders)
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
    for problem in answers(curve_problems(read_curve_lines(file), record)):
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
    frame, scenario = read_outcomes(folder), shipped_scenario(record)
    teacher = scenario is not None and "robust" in scenario.teachers
    yield from outcome_problems(frame, stored, scenario, teacher=teacher)


def outcome_problems(
    frame: pd.DataFrame, stored: EvaluationRecord, scenario: Scenario | None, *, teacher: bool
) -> Iterator[str]:
    """What cannot be of an evaluation's table of outcomes, and what the evaluation says and the table does not give:
    hashes, accuracies, diagnostics (`transfer` among them where it was judged beside a teacher)."""
    contradictions = list(answers(table_problems(frame, scenario)))
    yield from contradictions
    if not contradictions:
        yield from answers(sign_problems(stored.diagnostics, frame, teacher=teacher))
    hashes = outcome_hashes(frame)
    for name in sorted({*hashes, *stored.outcomes}):
        if stored.outcomes.get(name) != hashes.get(name):
            yield f"outcomes of {name} hash to {hashes.get(name)}, the record says {stored.outcomes.get(name)}"
    computed = summarise(frame)
    for field in ("clean", "robust", "attacks", "further", "proved", "worst_class"):
        if getattr(stored, field) != computed[field]:
            yield f"evaluation.{field} is {getattr(stored, field)}, the outcomes give {computed[field]}"
