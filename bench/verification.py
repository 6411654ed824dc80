"""`verify`: whether records say what their files say. Accuracies are recomputed, hashes and counts compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path

import numpy as np
import pandas as pd

from bench.errors import TemperError
from bench.evaluation.summary import outcome_hashes, summarise
from bench.hashing import file_digest
from bench.method import METHODS
from bench.ranking.collect import read_outcomes
from bench.records import WEIGHTS_LIMIT, RunRecord, SubmissionRecord, TrainingRecord, read_record
from bench.registry import file_of
from bench.scenario import Scenario, load_scenario, shipped_scenarios
from bench.submission.audits import AUDITED, confirming_seed, gap_audit
from bench.withdrawal import mark_problems

ATTESTED = "passes, seconds, memory and learning curves are attested by the machine that trained"
FILES = ("record.json", "outcomes.parquet", "metrics.jsonl", "best.safetensors", "last.safetensors")


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
    return root / "records" if (root / "records").is_dir() else root


def verify_records(root: Path) -> tuple[list[Path], list[str]]:
    """The folders of all records below `root` (a `leaderboards` folder, a folder of records, or one record), and all
    that is wrong with them and beside them."""
    below = records_folder(root)
    folders = [file.parent for file in sorted(below.rglob("record.json"))]
    problems = [problem for folder in folders for problem in verify_folder(folder)]
    strays = sorted(file for file in below.rglob("*") if file.is_file() and file.parent not in set(folders))
    return folders, problems + [f"{file}: belongs to no record" for file in strays]


def verify_folder(folder: Path) -> list[str]:
    """All that is wrong with the record in `folder`; empty when everything that can be recomputed agrees."""
    try:
        record = read_record(folder)
        problems = [
            *content_problems(record),
            *_place(record, folder),
            *_files(record, folder),
            *_weights(record, folder),
        ]
        problems += mark_problems(record, folder)
        if record.status == "complete":
            problems += _results(record, folder)
    except TemperError as error:
        problems = [str(error)]
    return [problem if str(folder) in problem else f"{folder}: {problem}" for problem in problems]


def content_problems(record: RunRecord) -> Iterator[str]:
    """What a record says that cannot be, without the files beside it: trial id, method, seed, selection, budget,
    accuracies."""
    trial = record.trial
    if trial.id != record.trial_id:
        yield f"trial_id is {record.trial_id}, its trial hashes to {trial.id}"
    if trial.method not in METHODS:
        yield f"method {trial.method!r} is not registered here"
    scenario = _scenario(record)
    current = scenario is not None and trial.train_fingerprint == scenario.train_fingerprint()
    about = record.submission
    if scenario and current and trial.seed != _seed(record, scenario):
        rule = f"the scenario's seed number {trial.seed_index}"
        yield f"seed {trial.seed} is not {'what its file and nonce give' if about and about.nonce else rule}"
    if about:
        yield from _submission(record, about, scenario)
    if record.training:
        yield from _selection(record, record.training)
    if record.status == "complete" and (record.evaluation is None or record.training is None):
        yield "a complete record needs training and evaluation"
    for name in ("clean", "robust"):
        accuracy = getattr(record.evaluation, name, 0.0)
        if not 0 <= accuracy <= 1:
            yield f"evaluation.{name} is {accuracy}, an accuracy lies between 0 and 1"


def _seed(record: RunRecord, scenario: Scenario) -> int:
    """The seed that a trial must have."""
    about, trial = record.submission, record.trial
    if about and about.nonce:
        return confirming_seed(trial.train_fingerprint, about.source, about.nonce)
    return scenario.seed(trial.seed_index)


def _submission(record: RunRecord, about: SubmissionRecord, scenario: Scenario | None) -> Iterator[str]:
    """Whether a submitted method is still the file that was judged, and its audits are what they must be."""
    if record.trial.method in METHODS:
        sha = file_digest(file_of(METHODS[record.trial.method]))
        if sha != about.source:
            yield f"was made by a method file of SHA-256 {about.source}; the registered one has {sha}"
    if record.status == "complete" and set(about.audits) != set(AUDITED):
        yield f"submission.audits are {', '.join(sorted(about.audits)) or 'none'}, they must be {', '.join(AUDITED)}"
    for name, audit in about.audits.items():
        if audit.verdict == "fail":
            yield f"submission.audits.{name} failed: {audit.words}"
    if scenario and "gap" in about.audits and about.audits["gap"] != gap_audit(record, scenario):
        yield f"submission.audits.gap is {about.audits['gap']}, the accuracies give {gap_audit(record, scenario)}"


def _selection(record: RunRecord, training: TrainingRecord) -> Iterator[str]:
    best = max(training.curve, key=lambda c: (c.robust, c.clean, c.step), default=training.best)
    if best != training.best:
        yield f"training.best is step {training.best.step}, the curve's best is step {best.step}"
    if training.passes > training.allowed and record.trial.ruleset == "compute":
        yield f"training spent {training.passes:.1f} passes, allowed were {training.allowed:.1f}"


def _place(record: RunRecord, folder: Path) -> Iterator[str]:
    place = ("records", record.trial.scenario, record.trial.method, record.trial_id)
    if tuple(folder.resolve().parts[-4:]) != place:
        yield f"lies in the wrong place, belongs in {'/'.join(place)}"


def _files(record: RunRecord, folder: Path) -> Iterator[str]:
    """Files that have no business there, and the learning curve."""
    allowed = FILES if record.status == "complete" else FILES[:1]
    for stray in sorted(path.name for path in folder.iterdir() if path.name not in allowed):
        yield f"{stray} does not belong to a {record.status} record"
    if record.status == "complete":
        try:
            for line in (folder / "metrics.jsonl").read_text().splitlines():
                json.loads(line)
        except (OSError, ValueError) as error:
            yield f"metrics.jsonl is missing or damaged: {error}"


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


def _results(record: RunRecord, folder: Path) -> Iterator[str]:
    """Accuracies and hashes, recomputed from the outcomes."""
    stored = record.evaluation
    if set(record.weights) != {"best", "last"}:
        yield "a complete record needs both hashes of weights"
    if stored is None:
        return
    frame = read_outcomes(folder)
    yield from _table_problems(frame, record)
    for name, sha in outcome_hashes(frame).items():
        if stored.outcomes.get(name) != sha:
            yield f"outcomes of {name} hash to {sha}, the record says {stored.outcomes.get(name)}"
    computed = summarise(frame)
    for field in ("clean", "robust", "attacks", "further", "proved", "worst_class"):
        if getattr(stored, field) != computed[field]:
            yield f"evaluation.{field} is {getattr(stored, field)}, the outcomes give {computed[field]}"


def _table_problems(frame: pd.DataFrame, record: RunRecord) -> Iterator[str]:
    """Whether the table of outcomes can be one of this scenario at all."""
    from bench.protocol import ATTACKS, MISCLASSIFIED, ROBUST

    outcome = frame["outcome"].to_numpy()
    strange = set(np.unique(outcome)) - {MISCLASSIFIED, ROBUST, *range(1, len(ATTACKS) + 1)}
    if strange:
        yield f"outcomes.parquet holds unknown outcomes {sorted(int(each) for each in strange)}"
    if not np.array_equal(frame["prediction"] == frame["label"], outcome != MISCLASSIFIED):
        yield "outcomes.parquet: predictions and outcomes disagree on what is misclassified"
    scenario = _scenario(record)
    if scenario and len(frame) != scenario.data.split.test:
        yield f"outcomes.parquet has {len(frame)} rows, the test split {scenario.data.split.test}"


def _scenario(record: RunRecord) -> Scenario | None:
    """The record's scenario where it ships."""
    name = record.trial.scenario
    return load_scenario(name) if name in shipped_scenarios() else None
