"""What is handed in to be judged: checked, moved to one device and to [0, 1], and left as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.errors import TemperError
from bench.evaluation.engine import deviations
from bench.hashing import digest, tensor_digest
from bench.losses import margin
from bench.protocol import EVALUATOR_VERSION, MISCLASSIFIED, ROBUST
from bench.threat import Threat


@dataclass(frozen=True)
class Judged:
    """A model and examples that fit together. Inputs lie in [0, 1], whatever the caller's bounds were."""

    model: nn.Module
    x: Tensor  # (N, ...)
    y: Tensor  # (N,)
    threat: Threat
    bounds: tuple[float, float]  # the caller's
    given: Tensor  # x as it was handed in
    classes: int
    predictions: Tensor  # int64 (N,), on the CPU
    margins: Tensor  # float32 (N,), clean, on the CPU
    deviations: tuple[str, ...]

    @property
    def outcome(self) -> Tensor:
        """The outcome (N,) before any attack."""
        return torch.where(self.predictions == self.y.cpu(), ROBUST, MISCLASSIFIED)

    def restored(self, adversarial: Tensor, index: Tensor) -> Tensor:
        """Adversarial examples (K, ...) of the inputs at `index` (K,) in the caller's bounds."""
        low, high = self.bounds
        untouched = (adversarial == self.x[index.to(self.x.device)].cpu()).flatten(1).all(1)
        untouched = untouched.view(-1, *(1,) * (adversarial.ndim - 1))
        scaled = adversarial if self.bounds == (0.0, 1.0) else adversarial * (high - low) + low
        return torch.where(untouched, self.given.detach().cpu()[index].to(scaled), scaled)

    def fingerprint(self, *protocol: object) -> str:
        """16 hex digits that change with weights, data, threat model and protocol."""
        identity = {
            "weights": tensor_digest(self.model.state_dict()),
            "architecture": repr(self.model),
            "data": tensor_digest({"x": self.x, "y": self.y}),
            "threat": self.threat.model_dump(mode="json"),
            "protocol": [str(part) for part in protocol],
            "evaluator": EVALUATOR_VERSION,
        }
        return digest(identity)[:16]


@contextmanager
def prepare(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, batch_size: int) -> Iterator[Judged]:
    """Check what was handed in and yield it, ready to be judged; model and random state are as before afterwards.

    Raises TemperError for a model or examples that make no sense.
    """
    low, high = threat.bounds
    if not len(x) or x.shape[:1] != y.shape or not x.is_floating_point():
        raise TemperError(f"need floats x (N, ...) and labels y (N,), got {tuple(x.shape)} and {tuple(y.shape)}")
    if not bool(((x >= low) & (x <= high)).all()):
        raise TemperError(f"inputs must lie in [{low:g}, {high:g}], got {x.min():.3g} to {x.max():.3g}")
    like = _home(model, x)
    inputs, labels, unit = x.detach().to(like), y.to(like.device), threat
    if threat.bounds != (0.0, 1.0):
        inputs, unit = (inputs - low) / (high - low), Threat(norm=threat.norm, eps=threat.eps / (high - low))
    with judging(model):
        judged = model if unit is threat else _Rescaled(model, low, high)
        logits = _clean_logits(judged, inputs, labels, batch_size)
        notes: tuple[str, ...] = ()
        if threat.eps > 0:
            notes = deviations(unit, tuple(x.shape[1:]), logits.shape[1])
            _differentiable(judged, inputs[:1])
        yield Judged(
            model=judged,
            x=inputs,
            y=labels,
            threat=unit,
            bounds=threat.bounds,
            given=x,
            classes=logits.shape[1],
            predictions=logits.argmax(1).cpu(),
            margins=-margin(logits, labels).float().cpu(),
            deviations=notes,
        )


@contextmanager
def judging(model: nn.Module) -> Iterator[None]:
    """Inside, `model` is in eval mode and its weights ask for no gradient; afterwards these, its buffers and the
    global random state are as before."""
    modes = {module: module.training for module in model.modules()}
    wanting = [parameter for parameter in model.parameters() if parameter.requires_grad]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    model.eval()
    for parameter in wanting:
        parameter.requires_grad_(False)
    try:
        with torch.random.fork_rng():
            yield
    finally:
        for parameter in wanting:
            parameter.requires_grad_(True)
        for module, training in modes.items():
            module.training = training
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


class _Rescaled(nn.Module):
    """A model of inputs in [low, high] as one of inputs in [0, 1]."""

    def __init__(self, model: nn.Module, low: float, high: float) -> None:
        super().__init__()
        self.model, self.low, self.high = model, low, high

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x * (self.high - self.low) + self.low)
        return logits


def _home(model: nn.Module, x: Tensor) -> Tensor:
    """A tensor of the device and type that the model computes with. Raises TemperError when there is not one."""
    places = {parameter.device for parameter in model.parameters()}
    if len(places) > 1 or any(place.type == "meta" for place in places):
        names = ", ".join(sorted(map(str, places)))
        raise TemperError(f"the model's weights must lie on one real device, they lie on {names}")
    return next((p for p in model.parameters() if p.is_floating_point()), x)


@torch.no_grad()
def _clean_logits(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> Tensor:
    """Logits (N, K) of clean inputs, after checks of what the model returns."""
    parts = []
    for part in x.split(batch_size):
        logits = model(part)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(part):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise TemperError(
                f"the model must return logits ({len(part)}, C) for {len(part)} examples, it returned {got}"
            )
        parts.append(logits)
    whole = torch.cat(parts)
    if not bool(whole.isfinite().all()):
        raise TemperError("the model's logits are not finite on clean inputs")
    if whole.shape[1] < 2 or y.min() < 0 or y.max() >= whole.shape[1]:
        raise TemperError(f"labels run from {y.min()} to {y.max()}, the model has {whole.shape[1]} classes")
    return whole


def _differentiable(model: nn.Module, x: Tensor) -> None:
    with torch.enable_grad():
        logits = model(x.clone().requires_grad_())
    if not logits.requires_grad:
        raise TemperError(
            "the model's logits carry no gradient to its input (a detach, a no_grad, or a whole-number step in its "
            "forward?); white-box attacks would prove nothing"
        )
