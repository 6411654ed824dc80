"""What runs inside the sandbox: `python -m bench.submission.confined describe|check|train`, in /scratch.

It shares its interpreter with the method, so that whoever hears what it says believes none of it. All that it hands
over goes through standard output, a JSON line an event: one that has `bytes` is followed by so many of them.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from bench.data import Split
from bench.errors import ContractError, TemperError
from bench.execution.job import FAILURE, RESULTS, Job
from bench.execution.train import conduct, make_deterministic, make_trainer
from bench.execution.worker import tell
from bench.method import METHODS
from bench.networks.weights import weights_bytes
from bench.registry import run_file
from bench.submission.sandbox import GIVEN
from bench.submission.trail import POINTS
from bench.testing import Subject, check_subject
from bench.training import checkpoint
from bench.training.loop import Trainer
from bench.training.selection import Candidate

SOURCE, DATA, JOB, CHECKPOINT = "method.py", "train.safetensors", "job.json", "checkpoint.safetensors"
BESIDE = "beside-"  # files that register what the scenario uses
TEXTS = ("metrics.jsonl", RESULTS["train"], FAILURE)  # what it leaves besides weights
WATCHED = {
    "torch.autograd",
    "torch.func",
    "torch.nn.functional",
    "torch.nn.modules.module",
    "torch.utils.flop_counter",
} | {
    *("torch.optim", "torch.optim.optimizer", "torch.optim.sgd", "torch._tensor", "time"),
}


def main(stage: str) -> int:
    """Run one stage; returns the exit code. Before it is ready, nothing of the method's has run."""
    tell(ready=True)
    try:
        job = Job.read(GIVEN)
        list(METHODS)
        for file in sorted(GIVEN.glob(f"{BESIDE}*.py")):
            run_file(file)
        before = harness_code()
        run_file(GIVEN / SOURCE)
        if stage == "describe":
            method = METHODS[job.method]
            tell(hyperparameters=method().model_dump(mode="json"), needs=sorted(method.needs))
        elif stage == "check":
            tell(passed=check_subject(Subject(job.method, job.hyperparameters, job.scenario, _splits())))
        else:
            _train(job)
        _unchanged(before, job.method)
    except TemperError as error:
        tell(error=str(error))
        return 2
    return 0


def hand_over(content: bytes, **event: object) -> None:
    """Tell of something, and send its bytes."""
    tell(**event, bytes=len(content))
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def ask(module: nn.Module, step: int, progress: float, whose: str = "") -> Candidate:
    """A candidate, judged by who holds the validation split; `whose`: of a self-teacher, its name."""
    hand_over(weights_bytes(module.state_dict()), offer=whose, step=step, progress=progress)
    return Candidate(**json.loads(sys.stdin.readline()))


class Points:
    """Hands over the state of a training after its first step, at every 80th of its way and with every candidate; and
    between those now and then, for when it is interrupted."""

    def __init__(self, trainer: Trainer, metrics: list[dict[str, Any]]) -> None:
        self.metrics = metrics
        self.reached, self.told_at = self._place(trainer), time.monotonic()

    def __call__(self, trainer: Trainer, losses: Mapping[str, float]) -> None:
        """After a step."""
        if (place := self._place(trainer)) != self.reached:
            self._send(trainer, point=trainer.step_index, progress=trainer.progress)
            self.reached = place
        elif time.monotonic() - self.told_at > Job.model_fields["checkpoint_seconds"].default:
            self._send(trainer, checkpoint=trainer.step_index)

    def _send(self, trainer: Trainer, **event: object) -> None:
        """The state, without clocks: the same bytes whenever it is reached."""
        state = {"trainer": trainer.state() | {"seconds": [0.0, 0.0]}, "metrics": self.metrics}
        hand_over(checkpoint.as_bytes(state), **event)
        self.told_at = time.monotonic()

    @staticmethod
    def _place(trainer: Trainer) -> tuple[bool, int, int]:
        return trainer.step_index > 0, int(trainer.progress * POINTS), len(trainer.selection.curve)


def _train(job: Job) -> None:
    """Train from the checkpoint that is given, if there is one."""
    make_deterministic()
    if (GIVEN / CHECKPOINT).exists():
        shutil.copyfile(GIVEN / CHECKPOINT, CHECKPOINT)
    conduct(make_trainer(job, _splits(), ask), job, Path(), Points)
    for file in filter(Path.exists, map(Path, TEXTS)):
        hand_over(file.read_bytes(), file=file.name)


def harness_code() -> dict[str, Any]:
    """Every function and class of the harness and of what PyTorch trains with, and every attribute of those classes."""
    for optimiser in {each for each in vars(torch.optim).values() if isinstance(each, type)}:
        with suppress(Exception):  # PyTorch wraps `step` of a class when the first one is made
            optimiser([torch.zeros(1, 1, requires_grad=True)])
    found: dict[str, Any] = {}
    for module in [each for name, each in sys.modules.items() if name.startswith("bench.") or name in WATCHED]:
        for key, value in vars(module).items():
            if callable(value):
                found[f"{module.__name__}.{key}"] = value
            if isinstance(value, type):
                found |= {f"{module.__name__}.{key}.{part}": each for part, each in vars(value).items()}
    return found


def _unchanged(before: Mapping[str, Any], method: str) -> None:
    """Raise ContractError where a function or class of the harness is another than `before`."""
    after = harness_code()
    changed = [name for name, value in before.items() if _code_of(value) and after.get(name) is not value]
    if changed:
        raise ContractError(f"method {method!r} breaks the contract: it replaced {changed[0]}")


def _code_of(value: Any) -> bool:
    return callable(value) or isinstance(value, property | classmethod | staticmethod)


def _splits() -> dict[str, Split]:
    """The training split, which also stands where the conformance suite wants a validation split."""
    tensors = load_file(GIVEN / DATA)
    train = Split(tensors["x"], tensors["y"].to(torch.int64))
    return {"train": train, "validation": train}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
