"""A submission on its way: the frozen file, what its process told of it, and the trials that judge it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_hex
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.data import load
from bench.errors import Problem, Refused, TemperError
from bench.evaluation import evaluate
from bench.execution.job import FAILURE, RESULTS, Job
from bench.execution.judge import load_network
from bench.execution.pool import Pool
from bench.execution.trials import Runner
from bench.files import MEGABYTE, discard, regular, write_bytes, write_text
from bench.method import METHODS, MethodInfo
from bench.records import (
    Audit,
    RunRecord,
    SubmissionRecord,
    TrainingRecord,
    Trial,
    make_trial,
    read_record,
    record_folders,
    trial_folder,
)
from bench.registry import file_of
from bench.scenario import Scenario
from bench.submission.audits import confirming_seed, gap_audit, on_training, seen_audit
from bench.submission.confinement import run_confined
from bench.submission.desk import AUDITS
from bench.submission.source import Source, read_submission
from bench.testing import CHECKS
from bench.training.loop import ROLES
from bench.words import counted

FIELDS = 10_000  # characters of all hyper-parameters
PART, IMAGES = 0.1, 64  # of a rehearsal: share of the budget, and validation images that AutoAttack sees


class Rehearsal(BaseModel):
    """What a rehearsal found; accuracies are fractions."""

    validation: float
    robust: float
    images: int


class Told(BaseModel):
    """What a method's own process says of it when it is asked."""

    hyperparameters: dict[str, Any] = {}
    needs: set[str] = set()


@dataclass(frozen=True)
class Entry:
    """A method file, frozen: nothing of it runs in this process."""

    read: Source
    scenario: Scenario
    folder: Path  # of what is kept between two calls
    device: str = "cpu"
    told: Told = field(default_factory=Told)

    @classmethod
    def freeze(cls, file_or_name: str, scenario: Scenario, leaderboards: Path, device: str = "cpu") -> Entry:
        """Read a file, or that of an installed method, and put it aside. Raises Refused with all that is wrong."""
        file = Path(file_or_name)
        if not file.is_file() and file_or_name in METHODS:
            file = file_of(METHODS[file_or_name])
        try:
            read = read_submission((file if file.is_dir() else regular(file, MEGABYTE)).read_bytes())
        except OSError as error:
            words = f"cannot read {file_or_name}: {error.strerror}; give a file, or the name of an installed method"
            raise TemperError(words) from None
        if read.problems:
            raise Refused("\n".join([f"{file_or_name} is not ready:", *(f"- {each}" for each in read.problems)]))
        folder = leaderboards / ".work" / f"submission-{scenario.name}-{read.sha256[:16]}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_bytes(folder / "method.py", read.content)
        drawn = _drawn(read, scenario, leaderboards)
        if drawn:
            write_text(folder / "nonce", drawn)
        return cls(read, scenario, folder, device)

    @property
    def source(self) -> bytes:
        """The file."""
        return self.read.content

    @property
    def info(self) -> MethodInfo:
        """What the file says of the method."""
        assert self.read.info is not None, "a file without problems has one"
        return self.read.info

    def checked(self) -> tuple[Entry, list[str]]:
        """Ask the method what it is, and run the conformance suite on it, confined: itself, and what it passed."""
        job = self._job(1.0)
        with self._forgotten_when_refused():
            said = self._told(run_confined("describe", job, self.folder))
            for role in sorted(said.needs):
                if ROLES.get(role) not in self.scenario.teachers:
                    raise Refused(f"it needs a {role.replace('_', ' ')}, and {self.scenario.name} has none")
            checks = [check.__name__ for check in CHECKS]
            if run_confined("check", job, self.folder).get("passed") != checks:
                raise Refused("its process ended without running the conformance suite")
        return replace(self, told=said), checks

    def rehearse(self) -> Rehearsal:
        """Train a part of the budget on the first seed, judge a few validation images; nothing is recorded."""
        work = self.folder / "rehearsal"
        shutil.rmtree(work, ignore_errors=True)
        job = self._job(PART)
        job.write(work)
        write_bytes(work / "method.py", self.source)
        if problems := Pool(1, ("train",)).run([(f"{self.info.name}, rehearsal", work)], lambda folder: None):
            raise fault(problems)
        if (work / FAILURE).exists():
            raise Refused((work / FAILURE).read_text().strip())
        training = TrainingRecord.model_validate_json((work / RESULTS["train"]).read_text())
        network = load_network(self.scenario, work / "best.safetensors")
        images = load(self.scenario.data, ("validation",))["validation"]
        few = slice(0, IMAGES)
        verdict = evaluate(network, images.inputs(few), images.y[few], threat=self.scenario.threat, diagnose=False)
        shutil.rmtree(work)
        return Rehearsal(
            validation=training.best.robust,
            robust=verdict.robust_accuracy,
            images=len(images.y[few]),
        )

    def run(self, leaderboards: Path, jobs: int) -> None:
        """Train, judge and record what is not recorded yet; the confirming seed comes last, when the others stand.

        Raises Refused where a trial is, or all together are: then nothing of what was recorded here stays. Raises
        TemperError for what else went wrong, a line a trial.
        """
        runner = Runner(self.scenario, leaderboards, self.device, jobs, entrant=self)
        trials, last = self.trials(), self.confirming()
        missing = runner.missing([*trials, last])
        try:
            with self._forgotten_when_refused():
                for some in (trials, [last]):
                    if problems := runner.run(runner.missing(some)):
                        raise fault(problems)
                self._audit_together([read_record(trial_folder(leaderboards, each)) for each in (*trials, last)])
        except Refused:
            for trial in missing:
                discard(trial_folder(leaderboards, trial))
            raise

    def trials(self) -> list[Trial]:
        """One of each seed of the scenario."""
        return [make_trial(self.scenario, self._method, index) for index in range(self.scenario.seeds)]

    def confirming(self) -> Trial:
        """The trial of one more seed, which nobody knew when the file was written."""
        trial = make_trial(self.scenario, self._method, self.scenario.seeds)
        return trial.model_copy(update={"seed": confirming_seed(trial.train_fingerprint, self.read.sha256, self.nonce)})

    @property
    def nonce(self) -> str:
        """What the confirming seed is drawn from, besides the file: drawn once, after the file was frozen."""
        file = self.folder / "nonce"
        if not file.exists():
            write_text(file, token_hex(16))
        return file.read_text()

    def audited(self, record: RunRecord, work: Path) -> RunRecord:
        """The record with its audits. Raises Refused where one fails."""
        audits = {name: Audit.model_validate(each) for name, each in _audits(work).items()}
        if record.status == "complete":
            audits["gap"] = gap_audit([record], self.scenario)
            audits["seen"] = self._seen(work)
        failed = [f"{name}: {audit.words}" for name, audit in audits.items() if audit.verdict == "fail"]
        if failed:
            raise Refused("refused by its audits: " + "; ".join(failed))
        nonce = self.nonce if record.trial.seed_index == self.scenario.seeds else ""
        about = SubmissionRecord(
            source=self.read.sha256,
            authors=self.info.authors,
            licence=self.info.licence,
            audits=audits,
            nonce=nonce,
        )
        return record.model_copy(update={"submission": about})

    def _seen(self, work: Path) -> Audit:
        """Whether a student knows the test images as well as those that it was trained on."""
        if self.info.track == "data-free":
            return Audit(value=0.0, threshold=0.0, verdict="pass", words="a data-free method sees no training image")
        network = load_network(self.scenario, work / "best.safetensors")
        pair = on_training(network, self.scenario, load(self.scenario.data, ("train", "test")))
        return seen_audit([pair], self.scenario)

    def _audit_together(self, records: Sequence[RunRecord]) -> None:
        """Raise Refused where the seeds of the row together are better on test than honest ones are."""
        audit = gap_audit(records, self.scenario)
        if audit.verdict == "fail":
            raise Refused(f"refused by its audits, {counted(len(records), 'seed')} together: gap: {audit.words}")

    @contextmanager
    def _forgotten_when_refused(self) -> Iterator[None]:
        """Inside, a refusal removes all that is kept: another file of this name begins anew."""
        try:
            yield
        except Refused:
            self.forget()
            raise

    def forget(self) -> None:
        """Remove what was kept between calls."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _job(self, part: float) -> Job:
        """The first trial, with a part of its budget."""
        return Job(
            scenario=self.scenario,
            method=self.info.name,
            hyperparameters=self.told.hyperparameters,
            seed=self.scenario.seed(0),
            passes=part * self.scenario.passes("s"),
            track=self.info.track,
            confined=True,
            device=self.device,
        )

    def _told(self, told: Mapping[str, Any]) -> Told:
        try:
            said = Told.model_validate(told)
            size = len(json.dumps(said.hyperparameters, allow_nan=False, ensure_ascii=False).encode())
        except (ValidationError, ValueError, RecursionError):
            raise Refused("its process does not say what its hyper-parameters are, and what it needs") from None
        if size > FIELDS:
            raise Refused(f"its hyper-parameters take {size:,} bytes; at most {FIELDS:,}")
        return said

    @property
    def _method(self) -> _Described:
        return _Described(self.info, self.told.hyperparameters)


@dataclass(frozen=True)
class _Described:
    """A method as `make_trial` wants it."""

    info: MethodInfo
    hyperparameters: dict[str, Any]

    def model_dump(self, mode: str) -> dict[str, Any]:
        """The hyper-parameters."""
        return self.hyperparameters


def fault(problems: list[str]) -> TemperError:
    """The error for what went wrong in trials: a refusal, unless nothing of it was the submission's fault."""
    refused = any(isinstance(each, Problem) and each.refused for each in problems)
    return (Refused if refused else TemperError)("\n".join(problems))


def _drawn(read: Source, scenario: Scenario, leaderboards: Path) -> str:
    """The nonce of the confirming seed that is recorded for this very file already; "" where none is."""
    for folder in record_folders(leaderboards, scenario.name):
        about = read_record(folder).submission if folder.parent.name in read.names else None
        if about and about.nonce and about.source == read.sha256:
            return about.nonce
    return ""


def _audits(work: Path) -> dict[str, Any]:
    file = work / AUDITS
    return json.loads(file.read_text()) if file.is_file() else {}
