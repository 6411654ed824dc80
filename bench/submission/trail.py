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

POINTS = 80  # of a training, whose state is handed over
GAP = 8  # of them that one dear step may pass over


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
    first: float = 0.0  # how far the first step moved the weights, relative to their norm, over its learning rate
    speeds: list[float] = field(default_factory=list)  # of the windows after it: see `add`
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

        The speed is how far the weights moved since the last state, relative to their norm, over the learning rate and
        the progress between, of which no more counts than two points are apart. Raises Refused for a state that is
        none, where the first is not that of the first step, and where some are left out.
        """
        if not self.step and step != 1:
            raise Refused(f"the first state that it handed over is that of step {step}")
        if step > self.step + 1 and progress > self.progress + GAP / POINTS:
            raise Refused(f"it handed over no state between steps {self.step} and {step}")
        if step <= self.step or progress < self.progress:
            raise Refused(f"it handed over the state of step {step} after that of step {self.step}")
        write_bytes(self.file(step), content)
        weights = _student(self.file(step), network)
        moved = (weights - self.weights).norm() / self.weights.norm()
        if not self.step:
            self.first = float(moved) / rate(0.0)
        else:
            way = min(progress - self.progress, 2 / POINTS) * (rate(self.progress) + rate(progress)) / 2
            self.speeds.append(float(moved) / max(way, 1e-12))
            window = Window(self.step, step, sha256(content).hexdigest(), offered)
            if best:
                self.windows["best"] = window
            if randbelow(len(self.speeds)) == 0:
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
        told = {"step": self.step, "progress": self.progress, "first": self.first, "speeds": self.speeds}
        return told | {"windows": windows, "weights": self.weights}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a `state()`."""
        self.weights, self.step, self.progress = state["weights"].cpu(), state["step"], state["progress"]
        self.first, self.speeds = state["first"], state["speeds"]
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
