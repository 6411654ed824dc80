"""The training stage: from a job to weights, `training.json` and a learning curve; resumed where it was stopped."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bench.data import Split, load
from bench.errors import Diverged
from bench.execution.job import FAILURE, RESULTS, SURROUNDINGS, Job
from bench.execution.surroundings import surroundings
from bench.execution.worker import tell
from bench.files import write_text
from bench.method import make_method
from bench.networks import save_weights
from bench.records import CandidateRecord, TrainingRecord
from bench.teachers import load_teachers
from bench.training import checkpoint
from bench.training.loop import Trainer
from bench.training.schedule import learning_rate
from bench.training.selection import Judge

LINES = 100  # of the learning curve

AfterStep = Callable[[Trainer, Mapping[str, float]], None]
Watch = Callable[[Trainer, list[dict[str, Any]]], AfterStep]


def train(job: Job, folder: Path) -> None:
    """Train to the end of the budget, saving a checkpoint every `checkpoint_seconds` and when interrupted."""
    make_deterministic()
    write_text(folder / SURROUNDINGS, surroundings(job.device).model_dump_json())
    conduct(make_trainer(job), job, folder)


def conduct(trainer: Trainer, job: Job, folder: Path, watch: Watch | None = None) -> None:
    """Take a trainer to the end of its budget, from the checkpoint in `folder` if there is one.

    `watch` is given the trainer as it starts, and the lines of its learning curve; what it returns is called after each
    step too.
    """
    saved = folder / "checkpoint.safetensors"
    metrics: list[dict[str, Any]] = []
    if saved.exists():
        state = checkpoint.load(saved, job.device)
        trainer.restore(state["trainer"])
        metrics = state["metrics"]
    calls = [_Log(job, folder, trainer, metrics).after_step, *([watch(trainer, metrics)] if watch else [])]

    def after_step(trainer: Trainer, losses: Mapping[str, float]) -> None:
        for call in calls:
            call(trainer, losses)

    try:
        trainer.run(after_step)
    except Diverged as error:
        write_text(folder / FAILURE, f"{error}\n")
        return
    _finish(trainer, folder, metrics)
    saved.unlink(missing_ok=True)


def make_trainer(job: Job, splits: Mapping[str, Split] | None = None, judge: Judge | None = None) -> Trainer:
    """The trainer of a job, before its first step: on the scenario's own data, or on `splits` with a `judge`."""
    method = make_method(job.method, job.hyperparameters)
    return Trainer(
        job.scenario,
        method,
        splits or load(job.scenario.data, ("train", "validation")),
        load_teachers(job.scenario, method.needs),
        seed=job.seed,
        passes=job.passes,
        ruleset=job.ruleset,
        recipe=job.recipe,
        device=job.device,
        judge=judge,
    )


def make_deterministic() -> None:
    """One thread on the CPU, and algorithms that give the same bits every time."""
    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms, without a second of its imports
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product on a GPU


class _Log:
    """What happens after each step: progress to the watcher, lines of the curve, checkpoints."""

    def __init__(self, job: Job, folder: Path, trainer: Trainer, metrics: list[dict[str, Any]]) -> None:
        self.job, self.folder, self.trainer, self.metrics = job, folder, trainer, metrics
        self.saved_at = self.told_at = time.monotonic()
        self.board = _tensorboard(job, folder)
        self.interrupted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)

    def after_step(self, trainer: Trainer, losses: Mapping[str, float]) -> None:
        now = time.monotonic()
        if int(trainer.progress * LINES) >= len(self.metrics) or trainer.ended:
            self._add_line(losses)
        if now - self.told_at >= 0.25 or trainer.ended:
            tell(stage="train", done=1.0 if trainer.ended else trainer.progress)
            self.told_at = now
        if self.interrupted or now - self.saved_at >= self.job.checkpoint_seconds:
            self.save()
            self.saved_at = now
        if self.interrupted:
            raise KeyboardInterrupt

    def save(self) -> None:
        tree = {"trainer": self.trainer.state(), "metrics": self.metrics}
        checkpoint.save(self.folder / "checkpoint.safetensors", tree)
        _write_metrics(self.folder, self.metrics)

    def _interrupt(self, *_: object) -> None:
        """Wait for the end of the step: in the middle of one, the state is that of no step at all."""
        self.interrupted = True

    def _add_line(self, losses: Mapping[str, float]) -> None:
        trainer = self.trainer
        line = {
            "step": trainer.step_index,
            "progress": trainer.progress,
            "learning_rate": learning_rate(trainer.scenario.optimiser, trainer.progress),
            "passes": trainer.meter.passes / len(trainer.train),
            "losses": dict(losses),
            "metrics": {name: value for name, value in trainer.metrics().items() if math.isfinite(value)},
        }
        self.metrics.append(line)
        if self.board:
            for name, loss in losses.items():
                self.board.add_scalar(f"loss/{name}", loss, trainer.step_index)
            self.board.add_scalar("learning_rate", line["learning_rate"], trainer.step_index)


def _tensorboard(job: Job, folder: Path) -> Any:
    """A TensorBoard writer where one was asked for."""
    if job.tensorboard is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(job.tensorboard / folder.name))


def _write_metrics(folder: Path, metrics: list[dict[str, Any]]) -> None:
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in metrics))


def _finish(trainer: Trainer, folder: Path, metrics: list[dict[str, Any]]) -> None:
    """Leave weights, curve and, last of all, the result that says that the stage is done."""
    best = trainer.selection.best
    assert best is not None, "a trial that ended has offered a candidate"
    save_weights(folder / "best.safetensors", trainer.selection.best_weights)
    save_weights(folder / "last.safetensors", trainer.delivered.state_dict())
    _write_metrics(folder, metrics)
    examples = len(trainer.train)
    meter = trainer.meter.state()
    result = TrainingRecord(
        steps=trainer.step_index,
        passes=trainer.meter.passes / examples,
        allowed=trainer.budget.total / examples,
        counts=meter["counts"],
        prices=meter["prices"],
        seconds=trainer.seconds,
        device_seconds=trainer.device_seconds,
        peak_memory=_peak_memory(trainer.device),
        curve=[CandidateRecord(**asdict(candidate)) for candidate in trainer.selection.curve],
        best=CandidateRecord(**asdict(best)),
        collapsed=best.collapsed(trainer.scenario.data.classes),
    )
    write_text(folder / RESULTS["train"], result.model_dump_json())


def _peak_memory(device: str) -> int:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
