"""The desk of a confined training: it judges every candidate on the validation split, which only it holds, follows the
training's trail, and at its end writes what follows from that."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError
from torch import nn

from bench.data import Split, load
from bench.errors import Refused, TemperError
from bench.execution.job import RESULTS, Job
from bench.files import write_bytes, write_text
from bench.learning_curve import STEPS
from bench.method import make_method
from bench.networks import load_weights, save_weights
from bench.records import CandidateRecord
from bench.submission.audits import compute_audit, replay_audit, trail_audit
from bench.submission.confined import CHECKPOINT
from bench.submission.sandbox import GIB, Limits, Sandbox
from bench.submission.taken import TEXT, take_curve, take_result
from bench.submission.trail import POINTS, Trail, Window
from bench.training import checkpoint
from bench.training.loop import Trainer, initial_student
from bench.training.schedule import learning_rate
from bench.training.selection import Candidate, Selection, judge_on

START = 15.0  # seconds of CPU time that starting and saving take on top
FACTOR = 4.0  # of the CPU time that PGD-AT needs for the same passes; the dearest honest method needs 3
PROBE = 1.0  # seconds of PGD-AT by which its speed is measured
OFFERS = 8  # times the candidates of a trial: with those of self-teachers, and what a resumed trial offers again
AUDITS = "audits.json"
FILES = 5  # that are no weights
Told = TypeVar("Told", bound=BaseModel)


class Offer(BaseModel):
    """A candidate as the process announces it."""

    offer: str = Field(max_length=100)
    step: int = Field(ge=0, le=STEPS)
    progress: float = Field(ge=0, le=1)


class _State(BaseModel):
    """A point of a training as the process announces it."""

    point: int = Field(ge=1, le=STEPS)
    progress: float = Field(ge=0, le=1)


@dataclass
class Desk:
    """Where candidates are judged: it holds the validation split, and keeps selection and trail of a trial."""

    job: Job
    folder: Path
    network: nn.Module  # with the weights that were offered last
    validation: Split
    selection: Selection
    trail: Trail
    expected: float  # seconds of CPU time that PGD-AT needs for the trial's passes
    before: tuple[float, int] = (0.0, 0)  # seconds of CPU time and bytes of memory that earlier runs used
    offers: int = 0
    offered: str = ""  # SHA-256 of the weights that were offered last
    texts: dict[str, bytes] = field(default_factory=dict)  # by name
    sandbox: Sandbox | None = None

    @classmethod
    def open(cls, job: Job, folder: Path) -> Desk:
        """The desk of a trial, with what an earlier run of it has left."""
        scenario = job.scenario
        splits = load(scenario.data, ("train", "validation"))
        network = initial_student(scenario, job.seed)
        trail = Trail.of(folder, network)
        expected = _expected(job, splits)
        selection = Selection(scenario.selection.thresholds())
        network = network.to(job.device).eval()
        desk = cls(job, folder, network, splits["validation"].to(job.device), selection, trail, expected)
        if desk._file.exists():
            kept = checkpoint.load(desk._file, job.device)
            selection.restore(kept["selection"])
            trail.restore(kept["trail"])
            network.load_state_dict(kept["last"])
            desk.before = kept["spent"], kept["peak_memory"]
            desk.offers, desk.offered = kept["offers"], kept["offered"]
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
        return self.allowance(self.spent)

    def allowance(self, spent: float = 0.0) -> Limits:
        """What a process may use for the whole training, less the seconds of CPU time that are `spent`."""
        cpu = max(1.0, FACTOR * (START + self.expected) - spent)
        return Limits(cpu_seconds=cpu, seconds=600 + 4 * cpu, disk=self.most("point"))

    @property
    def checkpoint(self) -> Path:
        """The latest state of the training."""
        return self.folder / CHECKPOINT

    def most(self, kind: str) -> int:
        """Bytes that something handed over may have."""
        weights = sum(tensor.nbytes for tensor in self.network.state_dict().values())
        return {"offer": 2 * weights + 100_000, "file": TEXT}.get(kind, GIB + 40 * weights)

    def take(self, kind: str, event: Mapping[str, Any], content: bytes) -> bytes | None:
        """What the process waits for once it has handed something over, as a line; None where it does not wait."""
        if kind == "offer":
            return self.judge(event, content)
        if kind == "file":
            self.texts[str(event["file"])] = content
            if len(self.texts) > FILES:
                raise Refused(f"it handed over more than {FILES} files")
        else:
            if kind == "point":
                self._follow(event, content)
            write_bytes(self.checkpoint, content)
        return None

    def judge(self, event: Mapping[str, Any], content: bytes) -> bytes:
        """The verdict on weights, as the line that the process waits for."""
        self.offers += 1
        if self.offers > OFFERS * (len(self.selection.thresholds) + 1):
            raise Refused(f"it asked for more than {self.offers - 1} verdicts on validation")
        offer = valid(Offer, event, "what it offers for validation is not a candidate")
        curve = self.selection.curve
        known = next((each for each in curve if each.step == offer.step), None)
        if known and not offer.offer:  # a resumed trial comes by again
            return line_of(known)
        self._load(content)
        candidate = judge_on(self.validation, self.job.scenario)(self.network, offer.step, offer.progress)
        if not offer.offer:
            if curve and offer.step < curve[-1].step:
                raise Refused(f"it offered step {offer.step} after step {curve[-1].step}")
            self.offered = sha256(content).hexdigest()
            self.selection.offer(candidate, self.network)
            if len(curve) > len(self.selection.thresholds) + 1:
                raise Refused(f"it offered more than {len(self.selection.thresholds) + 1} candidates")
        self.save()
        return line_of(candidate)

    def _follow(self, event: Mapping[str, Any], content: bytes) -> None:
        """Take the state at a point of the training into the trail."""
        state = valid(_State, event, "what it hands over is no state of a training")
        if state.point == self.trail.step:  # a resumed trial comes by again
            return
        curve, best = self.selection.curve, self.selection.best
        if curve and self.trail.step < curve[-1].step != state.point:
            raise Refused(f"it offered a candidate at step {curve[-1].step} and handed over no state of it")
        offered = self.offered if curve and curve[-1].step == state.point else ""
        rate = partial(learning_rate, self.job.scenario.optimiser)
        is_best = best is not None and best.step == state.point
        most = POINTS + len(self.selection.thresholds) + 2
        if len(self.trail.speeds) >= most:
            raise Refused(f"it handed over more than {most} states")
        self.trail.add(content, state.point, state.progress, self.network, rate, offered, is_best)
        self.save()

    def finish(self, seconds: float, arrived: Mapping[Window, bool]) -> None:
        """Leave the weights, the curve, the audits and, last of all, the result. `arrived`: whether each window that
        was run again came to where it had come before."""
        best = self.selection.best
        if best is None:
            raise Refused("it ended without offering a candidate")
        for name, weights in (("last", self.network.state_dict()), ("best", self.selection.best_weights)):
            broken = [key for key, tensor in weights.items() if not tensor.isfinite().all()]
            if broken:
                raise Refused(f"tensor {broken[0]!r} of its {name} weights is not finite")
            save_weights(self.folder / f"{name}.safetensors", weights)
        missing = {"metrics.jsonl", RESULTS["train"]} - set(self.texts)
        if missing:
            raise Refused(f"it ended without handing over {min(missing)}")
        write_bytes(self.folder / "metrics.jsonl", take_curve(self.texts["metrics.jsonl"]))
        told = take_result(self.texts[RESULTS["train"]], self.job.scenario.data.split.train)
        if told.passes > self.job.passes and self.job.ruleset == "compute":
            raise Refused(f"it says that it spent {told.passes:.1f} passes; allowed are {self.job.passes:.1f}")
        if self.trail.step != self.selection.curve[-1].step:
            raise Refused(f"it ended after the state of step {self.trail.step}, which is no candidate")
        audits = {
            "compute": compute_audit(self.spent, START + self.expected * told.passes / self.job.passes, FACTOR),
            "replay": replay_audit(arrived, exact=not on_gpu(self.job)),
            "trail": trail_audit(self.trail.first, self.trail.speeds),
        }
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
        write_text(self.folder / AUDITS, json.dumps({name: audit.model_dump() for name, audit in audits.items()}))
        write_text(self.folder / RESULTS["train"], result.model_dump_json())
        for file in (self._file, self.checkpoint, *self.folder.glob("state-*.safetensors")):
            file.unlink(missing_ok=True)

    @property
    def _file(self) -> Path:
        return self.folder / "desk.safetensors"

    def save(self) -> None:
        """Keep what the trial has reached and used, for when it is resumed."""
        tree: dict[str, Any] = {"selection": self.selection.state(), "trail": self.trail.state()}
        tree |= {"last": self.network.state_dict(), "offered": self.offered, "offers": self.offers}
        checkpoint.save(self._file, tree | {"spent": self.spent, "peak_memory": self.peak_memory})

    def _load(self, content: bytes) -> None:
        """Weights that were offered, into the desk's network."""
        file = self.folder / "offered.safetensors"
        write_bytes(file, content)
        try:
            load_weights(self.network, file)
        except TemperError as error:
            raise Refused(str(error).replace(str(file), "that it offered")) from None
        finally:
            file.unlink()


def valid(model: type[Told], event: Mapping[str, Any], otherwise: str) -> Told:
    """An event as what it must be. Raises Refused."""
    try:
        return model.model_validate(dict(event), strict=True)
    except ValidationError:
        raise Refused(otherwise) from None


def line_of(candidate: Candidate) -> bytes:
    """A verdict as the process reads it."""
    return json.dumps(asdict(candidate)).encode() + b"\n"


def _expected(job: Job, splits: Mapping[str, Split]) -> float:
    """Seconds of CPU time that PGD-AT needs here and now for the trial's passes; on a GPU nobody knows."""
    if on_gpu(job):
        return float("inf")
    trainer = Trainer(job.scenario, make_method("pgd-at"), splits, {}, seed=0, passes=job.passes)
    trainer.step()
    started, before, used = time.process_time(), trainer.meter.passes, 0.0
    while not used or (used < PROBE and not trainer.ended):
        trainer.step()
        used = time.process_time() - started
    return used / (trainer.meter.passes - before) * job.passes * len(splits["train"])


def on_gpu(job: Job) -> bool:
    return job.device.startswith("cuda")
