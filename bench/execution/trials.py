"""Trials from start to record: which are missing, run them, record what they left."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from bench.data import SOURCES
from bench.execution.job import FAILURE, RESULTS, SURROUNDINGS, Job, locked
from bench.execution.pool import Pool
from bench.files import copy, discard, write_bytes, write_text, writing
from bench.hashing import file_digest
from bench.method import METHODS, Method, MethodInfo
from bench.networks import build
from bench.records import (
    MARKS,
    WEIGHTS_LIMIT,
    EvaluationRecord,
    RunRecord,
    Surroundings,
    TrainingRecord,
    Trial,
    WeightsRecord,
    read_record,
    trial_folder,
    work_folder,
)
from bench.scenario import Scenario
from bench.stamp import STAMPED
from bench.training.loop import teacher_of
from bench.words import printable


class Entrant(Protocol):
    """A method that is no code of this process: a submission. Its trials run confined, and are audited."""

    @property
    def source(self) -> bytes:
        """Its file."""

    @property
    def info(self) -> MethodInfo:
        """What the file says of it."""

    @property
    def folder(self) -> Path:
        """Where its trials work: of this file alone."""

    def audited(self, record: RunRecord, work: Path) -> RunRecord:
        """The record of a trial with what was checked. Raises TemperError for one that is refused."""


@dataclass(frozen=True)
class Runner:
    """Runs trials of one scenario and records them under `leaderboards`."""

    scenario: Scenario
    leaderboards: Path
    device: str = "cpu"
    jobs: int = 1
    checkpoint_seconds: float = 30
    tensorboard: Path | None = None
    entrant: Entrant | None = None

    def check(self, methods: Sequence[Method]) -> None:
        """Raise TemperError for what would stop every trial: an unknown network or source, a missing teacher."""
        scenario = self.scenario
        SOURCES[scenario.data.source]
        build(scenario.student, scenario.data.shape, scenario.data.classes)
        for method in methods:
            for role in sorted(method.needs):
                teacher_of(role, method, scenario, scenario.teachers)

    def missing(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those that have no record here yet."""
        return [trial for trial in trials if not self._is_recorded(trial)]

    def outdated(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those that were judged by another protocol than the scenario's, and whose weights are here to judge again."""
        now = self.scenario.protocol_fingerprint()
        judged = [(trial, self._read(trial).evaluation) for trial in trials if self._is_recorded(trial)]
        return [t for t, verdict in judged if verdict and verdict.protocol_fingerprint != now and self._has_weights(t)]

    def failures(self, trials: Sequence[Trial]) -> list[str]:
        """The recorded trials that ended without a student, and why."""
        records = [self._read(trial) for trial in trials if self._is_recorded(trial)]
        return [f"{r.trial.method} seed {r.trial.seed_index}: {r.failure}" for r in records if r.status == "failed"]

    def run(self, trials: Sequence[Trial]) -> list[str]:
        """Train, evaluate and record; continues what was interrupted. Returns what went wrong, a line a trial.

        A trial that is recorded already is not trained again: its stored weights are judged again.
        """
        by_folder = {self._work(trial): trial for trial in trials}
        folders = []
        for folder, trial in by_folder.items():
            self._drop_outdated(folder)
            if self._is_recorded(trial):
                self._unpack(trial, folder)
            self._job(trial).write(folder)
            if self.entrant:
                write_bytes(folder / "method.py", self.entrant.source)
            folders.append((f"{trial.method} seed {trial.seed_index}", folder))
        return Pool(self.jobs).run(folders, lambda folder: self._record(by_folder[folder], folder))

    def tidy(self, trials: Sequence[Trial]) -> None:
        """Delete what is left of the work on those that are recorded: the end of it was interrupted."""
        outdated = {trial.id for trial in self.outdated(trials)}
        for trial in trials:
            if self._is_recorded(trial) and trial.id not in outdated:
                discard(self._work(trial))

    def _work(self, trial: Trial) -> Path:
        """Where a trial works: one of a submission beside its file, so that another file never goes on with it."""
        return self.entrant.folder / trial.id if self.entrant else work_folder(self.leaderboards, trial)

    def _is_recorded(self, trial: Trial) -> bool:
        return (trial_folder(self.leaderboards, trial) / "record.json").is_file()

    def _read(self, trial: Trial) -> RunRecord:
        return read_record(trial_folder(self.leaderboards, trial))

    def _has_weights(self, trial: Trial) -> bool:
        folder = trial_folder(self.leaderboards, trial)
        return all((folder / f"{name}.safetensors").is_file() for name in ("best", "last"))

    def _unpack(self, trial: Trial, work: Path) -> None:
        """Put a record back into the state of a trial that was trained and not judged yet."""
        record, folder = self._read(trial), trial_folder(self.leaderboards, trial)
        for name in ("best.safetensors", "last.safetensors", "metrics.jsonl"):
            copy(folder / name, work / name)
        write_text(work / SURROUNDINGS, record.surroundings.model_dump_json())
        if record.training:
            write_text(work / RESULTS["train"], record.training.model_dump_json())

    def _drop_outdated(self, work: Path) -> None:
        """Forget a verdict that was not recorded yet when the protocol changed."""
        file = work / RESULTS["evaluate"]
        if file.exists() and _verdict(work).protocol_fingerprint != self.scenario.protocol_fingerprint():
            file.unlink()

    def _marks(self, trial: Trial) -> dict[str, str]:
        """What a record that is judged again keeps: a withdrawn one stays withdrawn."""
        return self._read(trial).model_dump(include=set(MARKS)) if self._is_recorded(trial) else {}

    def _job(self, trial: Trial) -> Job:
        return Job(
            scenario=self.scenario.with_optimiser(trial.optimiser),
            method=trial.method,
            hyperparameters=trial.hyperparameters,
            seed=trial.seed,
            passes=self.scenario.passes(trial.budget),
            ruleset=trial.ruleset,
            recipe=trial.recipe,
            track=trial.track,
            confined=self.entrant is not None,
            device=self.device,
            checkpoint_seconds=self.checkpoint_seconds,
            tensorboard=self.tensorboard,
        )

    def _record(self, trial: Trial, work: Path) -> None:
        """Put a finished trial's files in their place."""
        with locked(work):
            info = self.entrant.info if self.entrant else METHODS[trial.method].info
            place, staging = trial_folder(self.leaderboards, trial), work / "record"
            shutil.rmtree(staging, ignore_errors=True)
            failed = (work / FAILURE).exists()
            record = RunRecord(
                trial_id=trial.id,
                trial=trial,
                family=info.family,
                reference=info.reference,
                tuned=bool(trial.optimiser),
                status="failed" if failed else "complete",
                failure=printable((work / FAILURE).read_text().strip()) if failed else "",
                training=None if failed else TrainingRecord.model_validate_json((work / RESULTS["train"]).read_text()),
                weights={} if failed else _keep_weights(work, staging),
                evaluation=None if failed else _verdict(work),
                surroundings=Surroundings.model_validate_json((work / SURROUNDINGS).read_text()),
                **self._marks(trial),
            )
            if self.entrant:
                record = self.entrant.audited(record, work)
            for name in () if failed else STAMPED:
                copy(work / name, staging / name)
            record.save(staging)
            with writing(place):
                _put(staging, place)
            discard(work)


def _verdict(work: Path) -> EvaluationRecord:
    return EvaluationRecord.model_validate_json((work / RESULTS["evaluate"]).read_text())


def _put(staging: Path, place: Path) -> None:
    """A new record appears whole. Where one is judged again its files are replaced, `record.json` last: after a kill
    meanwhile it still is the one of the earlier protocol, and the next run puts the same files there."""
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        staging.rename(place)
    else:
        for file in sorted(staging.iterdir(), key=lambda file: file.name == "record.json"):
            file.replace(place / file.name)


def _keep_weights(work: Path, staging: Path) -> dict[Literal["best", "last"], WeightsRecord]:
    """Hash both files of weights, and keep those that are small enough."""
    names: tuple[Literal["best", "last"], ...] = ("best", "last")
    weights = {}
    for name in names:
        file = work / f"{name}.safetensors"
        weights[name] = WeightsRecord(sha256=file_digest(file), bytes=file.stat().st_size)
        if file.stat().st_size <= WEIGHTS_LIMIT:
            copy(file, staging / file.name)
    return weights
