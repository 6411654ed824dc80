"""Trials and their records: validated JSON beside outcomes and weights.

<leaderboards>/records/<scenario>/<method>/<trial id>/
    record.json          this module's RunRecord
    outcomes.parquet     one row a test example
    best.safetensors     the selected weights, last.safetensors the last ones (up to 1 MB; larger ones by hash only)
    metrics.jsonl        the learning curve
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bench.errors import TemperError
from bench.files import MEGABYTE, SHIPPED, regular
from bench.hashing import digest
from bench.scenario import Line, Model, Recipe, Ruleset, Scenario, Sha256, Tier, Track, Values
from bench.stamp import write_stamped

WEIGHTS_LIMIT = 1_000_000  # bytes of a file of weights that is kept beside its record
CLOCKS: dict[str, Any] = {
    "training": {"seconds", "device_seconds", "peak_memory"},
    "evaluation": {"seconds"},
    "digest": True,
}
MARKS = ("superseded_by", "retracted")  # fields that are set after a record was made, and only by `bench.withdrawal`
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class Trial(Model):
    """One (scenario, method, hyper-parameters, recipe, ruleset, tier, seed)."""

    scenario: Line
    train_fingerprint: Sha256
    method: Line
    version: Line
    hyperparameters: Values
    optimiser: dict[Line, float] = {}  # tuned, instead of the scenario's
    recipe: Recipe = "plain"
    ruleset: Ruleset = "compute"
    budget: Tier = "s"
    track: Track = "main"
    seed_index: Count
    seed: Count

    @property
    def id(self) -> str:
        """The first 16 hex digits of the SHA-256 of all that decides the trial; the scenario's name does not."""
        return self._digest()

    @property
    def row(self) -> str:
        """The trial less its seed: what trials of one row share."""
        return self._digest("seed")

    def _digest(self, *left_out: str) -> str:
        untuned = () if self.optimiser else ("optimiser",)
        return digest(self.model_dump(mode="json", exclude={"scenario", "seed_index", *left_out, *untuned}))[:16]


class Surroundings(Model):
    """Where something was made."""

    commit: Line | None
    dirty: bool | None
    versions: dict[Line, Line]
    device: Line
    machine: Line
    threads: int
    precision: Line = "float32"


class CandidateRecord(Model):
    """A candidate of the selection, measured on validation."""

    step: Count
    progress: Fraction
    robust: Fraction
    clean: Fraction
    top_class: Fraction


class TrainingRecord(Model):
    """What training spent and which checkpoint it chose. Attested by the machine that trained."""

    steps: Count
    passes: Positive  # per training example
    allowed: Positive  # likewise
    counts: dict[Line, Count]  # examples by network and kind of call
    prices: dict[Line, float]  # passes of one forward of each network
    seconds: Positive
    device_seconds: Positive
    peak_memory: Count  # bytes
    curve: list[CandidateRecord]
    best: CandidateRecord
    collapsed: bool


class WeightsRecord(Model):
    """A file of weights by hash."""

    sha256: Sha256
    bytes: Count


class EvaluationRecord(Model):
    """The verdict on the test split. All accuracies can be recomputed from the outcomes."""

    protocol_fingerprint: Sha256
    clean: Fraction
    robust: Fraction
    attacks: dict[Line, Fraction]  # accuracy left after each attack of the protocol
    further: dict[Line, Fraction]  # accuracy under each attack beside it, `beyond` among them
    proved: Fraction | None = None  # no adversarial example exists; None where nothing was tried to prove
    worst_class: dict[Literal["label", "robust"], float] | None = None
    curve: list[tuple[float, Fraction]] = []  # eps, accuracy under a cheap attack; see `bench.evaluation.columns`
    deviations: list[str] = []  # from the published protocol, in words
    last: dict[str, Fraction]  # the last checkpoint: clean and under PGD-20
    outcomes: dict[Line, Sha256]  # SHA-256 of the outcome bytes of each attack set
    diagnostics: dict[str, Any]
    seconds: Positive
    surroundings: Surroundings | None = None  # where it was judged


class Audit(Model):
    """One thing that was checked of a submission from outside its process."""

    value: float
    threshold: float
    verdict: Literal["pass", "warn", "fail"]
    words: str


class SubmissionRecord(Model):
    """Of a trial whose method came as a file and ran confined: the file, whose it is, and what was checked."""

    source: Sha256  # of the method file
    authors: Line
    licence: Line
    audits: dict[Line, Audit] = {}
    nonce: Line = ""  # of a confirming trial: with the source, what its seed was drawn from


class RunRecord(Model):
    """The result of one trial."""

    schema_version: Literal[1] = 1
    trial_id: Line
    trial: Trial
    family: Line
    reference: Line
    tuned: bool = False
    status: Literal["complete", "failed"]
    failure: str = ""
    training: TrainingRecord | None = None
    weights: dict[Literal["best", "last"], WeightsRecord] = {}
    evaluation: EvaluationRecord | None = None
    surroundings: Surroundings
    submission: SubmissionRecord | None = None
    superseded_by: Line = ""  # trial id of the record that replaces this one
    retracted: str = ""  # why this record no longer counts
    files: dict[Line, Sha256] = {}  # of the files beside it that are no weights; see `bench.stamp`
    digest: Sha256 | None = None  # of all the rest; None in a record that was made before there were stamps

    @property
    def withdrawn(self) -> Literal["", "superseded", "retracted"]:
        """The status of a record that stays visible and enters no average and no rank; empty for one that counts."""
        if self.retracted:
            return "retracted"
        return "superseded" if self.superseded_by else ""

    def save(self, folder: Path) -> None:
        """Write `record.json` into `folder`, where its other files are already: stamped, and without empty marks."""
        empty = {name for name in (*MARKS, "submission") if not getattr(self, name)}
        write_stamped(folder, self.model_dump(mode="json", exclude=empty))

    def repeatable(self) -> dict[str, Any]:
        """What the same trial gives again, bit for bit, on the same CPU: all but clocks, memory and the digest."""
        return self.model_dump(mode="json", exclude=CLOCKS)


def read_record(path: Path) -> RunRecord:
    """The record in a file or folder. Raises TemperError that names the file and the field when it is not valid."""
    file = path / "record.json" if path.is_dir() else path
    try:
        return RunRecord.from_json(regular(file, MEGABYTE).read_bytes())
    except OSError as error:
        raise TemperError(f"cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise TemperError(f"{file} is not a valid record: {error}") from None


def trial_folder(leaderboards: Path, trial: Trial) -> Path:
    """Where the record of a trial lies."""
    return leaderboards / "records" / trial.scenario / trial.method / trial.id


def work_folder(leaderboards: Path, trial: Trial) -> Path:
    """Where a trial keeps its state until it is recorded."""
    return leaderboards / ".work" / f"{trial.scenario}-{trial.method}-{trial.id}"


def record_folders(leaderboards: Path, scenario: str | None = None) -> Iterator[Path]:
    """Every folder that should hold a record, in a fixed order."""
    yield from (file.parent for file in sorted(record_files(leaderboards, scenario)))


def record_files(leaderboards: Path, scenario: str | None = None) -> Iterator[Path]:
    """Every `record.json` that should be there, in no order."""
    return leaderboards.glob(f"records/{scenario or '*'}/*/*/record.json")


def local_leaderboards(chosen: Path | None = None) -> Path:
    """Where records are written: chosen, else `TEMPER_LEADERBOARDS`, else the nearest `leaderboards/` above the
    working directory, else a new one in it."""
    if chosen or os.environ.get("TEMPER_LEADERBOARDS"):
        return Path(chosen or os.environ["TEMPER_LEADERBOARDS"])
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "leaderboards").is_dir():
            return folder / "leaderboards"
    return here / "leaderboards"


def shipped_leaderboards() -> Path:
    """The records that came with this installation (or lie at `TEMPER_SHIPPED`): read, never written."""
    return Path(os.environ.get("TEMPER_SHIPPED") or SHIPPED / "leaderboards")


def leaderboards_read(chosen: Path | None = None) -> list[Path]:
    """The folders whose records count: what was shipped, and then what is local."""
    shipped, local = shipped_leaderboards(), local_leaderboards(chosen)
    return [shipped] if local.resolve() == shipped.resolve() else [shipped, local]


def has_records(scenario: str, chosen: Path | None = None) -> bool:
    """Whether there is any record of the scenario, shipped or local."""
    return any(next(record_files(root, scenario), None) for root in leaderboards_read(chosen))


def find_record(trial: Trial, leaderboards: Path) -> Path | None:
    """The folder of a trial's record, local before shipped; None when there is none."""
    for root in (leaderboards, shipped_leaderboards()):
        folder = trial_folder(root, trial)
        if (folder / "record.json").is_file():
            return folder
    return None


def make_trial(
    scenario: Scenario,
    method: Any,
    seed_index: int,
    *,
    ruleset: Ruleset = "compute",
    budget: Tier = "s",
    recipe: Recipe = "plain",
    optimiser: dict[str, float] | None = None,
) -> Trial:
    """The trial of a method (an instance, with its hyper-parameters) on a scenario."""
    return Trial(
        optimiser=optimiser or {},
        scenario=scenario.name,
        train_fingerprint=scenario.train_fingerprint(),
        method=method.info.name,
        version=method.info.version,
        hyperparameters=method.model_dump(mode="json"),
        recipe=recipe,
        ruleset=ruleset,
        budget=budget,
        track=method.info.track,
        seed_index=seed_index,
        seed=scenario.seed(seed_index),
    )
