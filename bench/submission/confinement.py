"""The trusted side of a confined training: it hands in the training split, judges every candidate on validation itself,
and takes nothing but tensors that fit the student. What the method's process says of steps and passes is attested."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field, ValidationError
from safetensors.torch import save_file
from torch import nn

from bench.data import Split, load
from bench.errors import Refused, TemperError
from bench.execution.job import FAILURE, RESULTS, SURROUNDINGS, Job
from bench.execution.surroundings import surroundings
from bench.execution.train import make_deterministic
from bench.execution.worker import tell
from bench.files import replacing, write_bytes, write_text
from bench.method import make_method
from bench.networks import build, load_weights, save_weights
from bench.records import CandidateRecord
from bench.registry import named_files
from bench.submission.audits import compute_audit
from bench.submission.confined import BESIDE, DATA, OFFER, SOURCE
from bench.submission.sandbox import GIB, GIVEN, Limits, Sandbox
from bench.submission.shown import search_path
from bench.submission.taken import STEPS, take, take_curve, take_result
from bench.teachers import weights_path
from bench.training import checkpoint
from bench.training.loop import Trainer
from bench.training.selection import Candidate, Selection, judge_on
from bench.words import printable

START = 15.0  # seconds of CPU time that starting and saving take on top
FACTOR = 4.0  # of the CPU time that PGD-AT needs for the same passes; the dearest honest method needs 3
PROBE = 1.0  # seconds of PGD-AT by which its speed is measured
OFFERS = 8  # times the candidates of a trial: with those of self-teachers, and what a resumed trial offers again
AUDITS = "audits.json"


def run_confined(stage: str, job: Job, folder: Path, desk: Desk | None = None) -> dict[str, Any]:
    """Run a stage of `bench.submission.confined` on the method file in `folder`; returns all that it told.

    Raises Refused where a limit or the contract was broken, with the process's own words for what failed in it.
    """
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    inside = _inside(job)
    inside.write(scratch)
    given = {SOURCE: folder / SOURCE, DATA: _training_split(job, folder)}
    given |= {name: weights_path(job.scenario, name) for name in job.scenario.teachers}
    given |= {f"{BESIDE}{number}.py": file for number, file in enumerate(_beside(folder))}
    listener = _Listener(desk)
    sandbox = Sandbox(scratch, given, desk.limits if desk else Limits(cpu_seconds=600, seconds=1800), _gpu(job))
    if desk:
        desk.sandbox = sandbox
    try:
        code, errors = sandbox.run(["-m", "bench.submission.confined", stage], listener)
    finally:
        if desk:
            desk.save()
    if not listener.ready:
        raise _cannot_start(errors)
    if listener.error:
        raise Refused(listener.error)
    if code:
        last = errors.strip().splitlines()[-1:] or ["nothing on standard error"]
        raise Refused(f"its process ended with exit code {code}: {last[0][:500]}")
    return listener.told


def train_confined(job: Job, folder: Path) -> None:
    """The training stage of a submission, from `folder`/method.py to weights, `training.json` and audits."""
    make_deterministic()
    write_text(folder / SURROUNDINGS, surroundings(job.device).model_dump_json())
    started = time.perf_counter()
    desk = Desk.open(job, folder)
    run_confined("train", job, folder, desk)
    scratch = folder / "scratch"
    if (scratch / FAILURE).is_file():
        write_text(folder / FAILURE, printable(take(scratch / FAILURE, 2000).decode(errors="replace")).strip() + "\n")
        return
    desk.finish(time.perf_counter() - started)


@dataclass
class _Listener:
    """Hears what the process prints: JSON lines with progress, an error, an offer, or results; the rest is noise."""

    desk: Desk | None
    error: str = ""
    ready: bool = False  # whether all that a stage needs was imported, before anything of the method ran

    def __post_init__(self) -> None:
        self.told: dict[str, Any] = {}

    def __call__(self, line: bytes) -> bytes | None:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(event, dict):
            return None
        if "ready" in event:
            self.ready = True
        elif "error" in event:
            self.error = printable(str(event["error"]))[:1000]
        elif "offer" in event and self.desk:
            return self.desk.judge(event)
        elif "done" in event and isinstance(event["done"], int | float):
            tell(stage="train", done=float(min(1, max(0, event["done"]))))
        else:
            self.told |= event
        return None


class _Offer(BaseModel):
    """A candidate as the process announces it."""

    offer: str = Field(max_length=100)
    step: int = Field(ge=0, le=STEPS)
    progress: float = Field(ge=0, le=1)


@dataclass
class Desk:
    """Where candidates are judged: it holds the validation split, and keeps the selection of a trial."""

    job: Job
    folder: Path
    network: nn.Module
    validation: Split
    selection: Selection
    expected: float  # seconds of CPU time that PGD-AT needs for the trial's passes
    before: tuple[float, int] = (0.0, 0)  # seconds of CPU time and bytes of memory that earlier runs used
    offers: int = 0
    sandbox: Sandbox | None = None

    @classmethod
    def open(cls, job: Job, folder: Path) -> Desk:
        """The desk of a trial, with what an earlier run of it has left."""
        scenario = job.scenario
        splits = load(scenario.data, ("train", "validation"))
        network = build(scenario.student, scenario.data.shape, scenario.data.classes).to(job.device).eval()
        expected = _expected(job, splits)
        selection = Selection(scenario.selection.thresholds())
        desk = cls(job, folder, network, splits["validation"].to(job.device), selection, expected)
        if desk._file.exists():
            kept = checkpoint.load(desk._file, job.device)
            selection.restore(kept["selection"])
            desk.before, desk.offers = (kept["spent"], kept["peak_memory"]), kept["offers"]
        return desk

    @property
    def spent(self) -> float:
        """Seconds of CPU time that the trial's processes used."""
        return self.before[0] + (self.sandbox.cpu_seconds if self.sandbox else 0.0)

    @property
    def peak_memory(self) -> int:
        """The most bytes of memory that they used."""
        return max(self.before[1], self.sandbox.peak_memory if self.sandbox else 0)

    @property
    def limits(self) -> Limits:
        """What the process may still use."""
        cpu = max(1.0, FACTOR * (START + self.expected) - self.spent)
        weights = sum(tensor.nbytes for tensor in self.network.state_dict().values())
        return Limits(cpu_seconds=cpu, seconds=600 + 4 * cpu, disk=GIB + 40 * weights)

    def judge(self, event: Mapping[str, Any]) -> bytes:
        """The verdict on the weights that lie in the scratch folder, as the line that the process waits for."""
        self.offers += 1
        if self.offers > OFFERS * (len(self.selection.thresholds) + 1):
            raise Refused(f"it asked for more than {self.offers - 1} verdicts on validation")
        try:
            offer = _Offer.model_validate(event, strict=True)
        except ValidationError:
            raise Refused("what it offers for validation is not a candidate") from None
        curve = self.selection.curve
        known = next((each for each in curve if each.step == offer.step), None)
        if known and not offer.offer:  # a resumed trial comes by again
            return _line(known)
        self._load(OFFER)
        candidate = judge_on(self.validation, self.job.scenario)(self.network, offer.step, offer.progress)
        if not offer.offer:
            if curve and offer.step < curve[-1].step:
                raise Refused(f"it offered step {offer.step} after step {curve[-1].step}")
            self.selection.offer(candidate, self.network)
            if len(curve) > len(self.selection.thresholds) + 1:
                raise Refused(f"it offered more than {len(self.selection.thresholds) + 1} candidates")
        self.save()
        return _line(candidate)

    def finish(self, seconds: float) -> None:
        """Leave the weights, the curve, the audits and, last of all, the result."""
        best = self.selection.best
        if best is None:
            raise Refused("it ended without offering a candidate")
        self._load("last.safetensors")
        save_weights(self.folder / "last.safetensors", self.network.state_dict())
        save_weights(self.folder / "best.safetensors", self.selection.best_weights)
        write_bytes(self.folder / "metrics.jsonl", take_curve(self._scratch / "metrics.jsonl"))
        told = take_result(self._scratch / RESULTS["train"], self.job.scenario.data.split.train)
        if told.passes > self.job.passes and self.job.ruleset == "compute":
            raise Refused(f"it says that it spent {told.passes:.1f} passes; allowed are {self.job.passes:.1f}")
        audit = compute_audit(self.spent, START + self.expected * told.passes / self.job.passes, FACTOR)
        result = told.model_copy(
            update={
                "steps": self.selection.curve[-1].step,
                "allowed": self.job.passes,
                "seconds": seconds,
                "device_seconds": self.spent,
                "peak_memory": self.peak_memory,
                "curve": [CandidateRecord(**asdict(candidate)) for candidate in self.selection.curve],
                "best": CandidateRecord(**asdict(best)),
                "collapsed": best.collapsed(self.job.scenario.data.classes),
            }
        )
        write_text(self.folder / AUDITS, json.dumps({"compute": audit.model_dump()}))
        write_text(self.folder / RESULTS["train"], result.model_dump_json())
        self._file.unlink(missing_ok=True)

    @property
    def _scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def _file(self) -> Path:
        return self.folder / "desk.safetensors"

    def save(self) -> None:
        """Keep what the trial has reached and used, for when it is resumed."""
        tree = {"selection": self.selection.state(), "spent": self.spent, "offers": self.offers}
        checkpoint.save(self._file, tree | {"peak_memory": self.peak_memory})

    def _load(self, name: str) -> None:
        """Weights from the scratch folder into the desk's network, by a copy that nobody can change meanwhile."""
        limit = 2 * sum(tensor.nbytes for tensor in self.network.state_dict().values()) + 100_000
        copy = self.folder / f"taken-{name}"
        write_bytes(copy, take(self._scratch / name, limit))
        try:
            load_weights(self.network, copy)
        except TemperError as error:
            raise Refused(str(error).replace(str(copy), name)) from None
        finally:
            copy.unlink()
        broken = [key for key, tensor in self.network.state_dict().items() if not tensor.isfinite().all()]
        if broken:
            raise Refused(f"tensor {broken[0]!r} of {name} is not finite")


def _beside(folder: Path) -> list[Path]:
    """The files of `--file`, which hold what the scenario uses; not the submission itself."""
    return [file for file in named_files() if file.read_bytes() != (folder / SOURCE).read_bytes()]


def _cannot_start(errors: str) -> TemperError:
    """The error of a sandbox in which Temper itself does not start, from what went to standard error."""
    lines = errors.strip().splitlines() or ["nothing on standard error"]
    files = [line.split('"')[1] for line in lines if line.lstrip().startswith('File "')]
    where = f", in {files[-1]}" if files else ""
    seen = ", ".join(map(str, search_path()))
    return TemperError(
        f"Temper cannot start in its sandbox (no fault of the method): {lines[-1][:500]}{where}; it looks in {seen}: "
        "install Temper and its packages into one environment, or name theirs in PYTHONPATH"
    )


def _line(candidate: Candidate) -> bytes:
    """A verdict as the process reads it."""
    return json.dumps(asdict(candidate)).encode() + b"\n"


def _inside(job: Job) -> Job:
    """The job as the sandbox sees it: data and teachers are files there, nothing is logged outside."""
    scenario = job.scenario
    teachers = {
        name: spec if spec.zoo else spec.model_copy(update={"weights": str(GIVEN / name)})
        for name, spec in scenario.teachers.items()
    }
    return job.model_copy(update={"scenario": scenario.model_copy(update={"teachers": teachers}), "tensorboard": None})


def _training_split(job: Job, folder: Path) -> Path:
    """The training split as a file; zeros in the data-free track, which sees nothing of the data but its shape."""
    file = folder / DATA
    if not file.exists():
        train = load(job.scenario.data, ("train",))["train"]
        with replacing(file) as temporary:
            x, y = train.x.contiguous(), train.y.contiguous()
            if job.track == "data-free":
                x, y = torch.zeros_like(x), torch.zeros_like(y)
            save_file({"x": x, "y": y}, temporary)
    return file


def _expected(job: Job, splits: Mapping[str, Split]) -> float:
    """Seconds of CPU time that PGD-AT needs here and now for the trial's passes; on a GPU nobody knows."""
    if _gpu(job):
        return float("inf")
    trainer = Trainer(job.scenario, make_method("pgd-at"), splits, {}, seed=0, passes=job.passes)
    trainer.step()
    started, before, used = time.process_time(), trainer.meter.passes, 0.0
    while not used or (used < PROBE and not trainer.ended):
        trainer.step()
        used = time.process_time() - started
    return used / (trainer.meter.passes - before) * job.passes * len(splits["train"])


def _gpu(job: Job) -> bool:
    return job.device.startswith("cuda")
