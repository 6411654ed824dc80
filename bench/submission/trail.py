"""The trail of a confined training: the states that it handed over on its way, how fast its weights moved between them,
and the windows of it that are run a second time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from secrets import randbelow
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import Refused, TemperError
from bench.files import write_bytes
from bench.training import checkpoint


@dataclass(frozen=True)
class Window:
    """A part of a training between two states that follow each other."""

    start: int  # step
    end: int
    state: str  # SHA-256 of the state at the end
    weights: str = ""  # SHA-256 of the weights that were offered there; "" where none were


@dataclass
class Trail:
    """What is kept of the states, in `folder`: the last one, and where the windows that are run again begin.

    Those are the one that led to the weights of record, and one that is drawn while the training does not know of it.
    """

    folder: Path
    weights: Tensor  # (P,): the student's at the last state; before the first, those that the seed gives
    step: int = 0
    progress: float = 0.0
    speeds: list[float] = field(default_factory=list)  # see `add`
    windows: dict[str, Window] = field(default_factory=dict)  # "best" and "drawn"

    @classmethod
    def of(cls, folder: Path, student: nn.Module) -> Trail:
        """Of a training that begins with this student."""
        return cls(folder, torch.cat([each.detach().flatten().cpu() for each in student.parameters()]))

    def add(
        self,
        content: bytes,
        step: int,
        progress: float,
        network: nn.Module,
        rate: Callable[[float], float],
        offered: str,
        best: bool,
    ) -> None:
        """A state that was handed over after `step` steps, of a training with this student and learning `rate` at a
        progress; with the SHA-256 of weights that were `offered` there, which are the `best` so far or not.

        The speed is how far the weights moved from the last state, relative to their norm, over the sum of the learning
        rates of the steps between. Raises Refused for a state that is none.
        """
        if step <= self.step or progress < self.progress:
            raise Refused(f"it handed over the state of step {step} after that of step {self.step}")
        write_bytes(self.file(step), content)
        weights = _student(self.file(step), network)
        moved = (weights - self.weights).norm() / self.weights.norm()
        steps, way = step - self.step, progress - self.progress
        rates = sum(rate(self.progress + way * k / steps) for k in range(steps))
        self.speeds.append(float(moved) / max(rates, 1e-12))
        if self.step:
            window = Window(self.step, step, sha256(content).hexdigest(), offered)
            if best:
                self.windows["best"] = window
            if randbelow(len(self.speeds) - 1) == 0:
                self.windows["drawn"] = window
        self.weights, self.step, self.progress = weights, step, progress
        needed = {step, *(window.start for window in self.windows.values())}
        for file in self.folder.glob("state-*.safetensors"):
            if file not in map(self.file, needed):
                file.unlink()

    def file(self, step: int) -> Path:
        """Where the state after so many steps lies."""
        return self.folder / f"state-{step}.safetensors"

    def state(self) -> dict[str, Any]:
        """Everything, for when the training is resumed."""
        windows = {name: asdict(window) for name, window in self.windows.items()}
        told = {"step": self.step, "progress": self.progress, "speeds": self.speeds, "windows": windows}
        return told | {"weights": self.weights}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a `state()`."""
        self.weights, self.step, self.progress = state["weights"].cpu(), state["step"], state["progress"]
        self.speeds = state["speeds"]
        self.windows = {name: Window(**window) for name, window in state["windows"].items()}


def _student(file: Path, network: nn.Module) -> Tensor:
    """The weights (P,) of the student in a state, which are as many as those of `network`. They may be no numbers: a
    training that has diverged says so after its next step."""
    try:
        kept = checkpoint.load(file)["trainer"]["networks"]["student"]
        shapes = {name: tensor.shape for name, tensor in network.named_parameters()}
        return torch.cat([kept[name].reshape(shape).flatten().float() for name, shape in shapes.items()])
    except (TemperError, LookupError, TypeError, AttributeError, RuntimeError, RecursionError):
        raise Refused("the state that it handed over holds no student") from None
