"""What runs inside the sandbox: `python -m bench.submission.confined describe|check|train`, in /scratch.

It shares its interpreter with the method, so that whoever reads what it prints and writes believes none of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from bench.data import Split
from bench.errors import ContractError, TemperError
from bench.execution.job import Job
from bench.execution.train import conduct, make_deterministic, make_trainer
from bench.execution.worker import tell
from bench.method import METHODS
from bench.networks import save_weights
from bench.registry import run_file
from bench.submission.sandbox import GIVEN
from bench.testing import Subject, check_subject
from bench.training.selection import Candidate

SOURCE, DATA, OFFER = "method.py", "train.safetensors", "offer.safetensors"
BESIDE = "beside-"  # files that register what the scenario uses
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
        job = Job.read(Path())
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
            make_deterministic()
            conduct(make_trainer(job, _splits(), ask), job, Path())
        _unchanged(before, job.method)
    except TemperError as error:
        tell(error=str(error))
        return 2
    return 0


def ask(module: nn.Module, step: int, progress: float, whose: str = "") -> Candidate:
    """A candidate, judged by who holds the validation split; `whose`: of a self-teacher, its name."""
    save_weights(Path(OFFER), module.state_dict())
    tell(offer=whose, step=step, progress=progress)
    return Candidate(**json.loads(sys.stdin.readline()))


def harness_code() -> dict[str, Any]:
    """Every function and class of the harness and of what PyTorch trains with, and every attribute of those classes."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])  # PyTorch wraps `step` when the first one is made
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
