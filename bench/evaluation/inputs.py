"""What is handed in to be judged: checked, moved to one device and to [0, 1], and left as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import TemperError
from bench.evaluation.models import Batched, Copying, InPrecision, Rescaled, adapt, is_called
from bench.hashing import digest, tensor_digest
from bench.protocol import EVALUATOR_VERSION, MISCLASSIFIED, ROBUST
from bench.task import NO_ANSWER, lead, predicted
from bench.threat import Threat
from bench.words import counted

ROUNDING = 1e-6  # how far outside the bounds (of width 1) an input may lie, to be clipped

Examples = Tensor | np.ndarray | list[Any]  # or whatever else NumPy makes an array of


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
    predictions: Tensor  # int64 (N,), on the CPU; -1 where the logits are not finite
    margins: Tensor  # float32 (N,), clean, on the CPU; -inf where the logits are not finite
    notes: tuple[str, ...]  # in words, what was done to the model and to the examples
    gradient: str  # why there is no gradient to the input; empty where there is one
    quantised: bool

    @property
    def outcome(self) -> Tensor:
        """The outcome (N,) before any attack."""
        return torch.where(self.right.cpu(), ROBUST, MISCLASSIFIED)

    @property
    def right(self) -> Tensor:
        """Which examples are classified right without attack, bool (N,), on the device of the inputs."""
        return self.predictions.to(self.y.device) == self.y

    @property
    def scale(self) -> float:
        """How long in the caller's units is what has length 1 here."""
        return self.bounds[1] - self.bounds[0]

    def like(self, model: nn.Module) -> nn.Module:
        """Another model of the caller's inputs, as one of these."""
        return model if self.bounds == (0.0, 1.0) else Rescaled(model, *self.bounds)

    def restored(self, adversarial: Tensor, index: Tensor) -> Tensor:
        """Adversarial examples (K, ...) of the inputs at `index` (K,) in the caller's bounds."""
        untouched = (adversarial == self.x[index.to(self.x.device)].cpu()).flatten(1).all(1)
        untouched = untouched.view(-1, *(1,) * (adversarial.ndim - 1))
        scaled = adversarial if self.bounds == (0.0, 1.0) else adversarial * self.scale + self.bounds[0]
        return torch.where(untouched, self.given.detach().cpu()[index].to(scaled), scaled)

    def fingerprint(self, *protocol: object) -> str:
        """16 hex digits that change with weights, data, threat model and protocol."""
        state = {name: value for name, value in self.model.state_dict().items() if isinstance(value, Tensor)}
        identity = {
            "weights": tensor_digest(state),
            "architecture": repr(self.model),
            "data": tensor_digest({"x": self.x, "y": self.y}),
            "threat": self.threat.model_dump(mode="json"),
            "protocol": [str(part) for part in protocol],
            "evaluator": EVALUATOR_VERSION,
        }
        if is_called(self.model) or not state:  # what a callable computes is in none of its tensors
            identity["answers"] = tensor_digest({"margins": self.margins})
        return digest(identity)[:16]


@contextmanager
def prepare(
    model: Any, x: Examples, y: Examples, threat: Threat, batch_size: int, dtype: torch.dtype | None = None
) -> Iterator[Judged]:
    """Check what was handed in and yield it, ready to be judged; model and random state are as before afterwards.

    The model computes in `dtype`, or as it does for None. Raises TemperError for a model or examples that make no
    sense.
    """
    low, high = threat.bounds
    with torch.inference_mode(False):
        given, labels = _examples(x, y)
        inside, notes = _clipped(given, threat)
        adapted = adapt(model, inside, dtype)
        like = _home(adapted.module, inside, dtype)
        inputs, labels, unit = inside.detach().to(like), labels.to(like.device), threat
        if threat.bounds != (0.0, 1.0):
            inputs, unit = (inputs - low) / (high - low), Threat(norm=threat.norm, eps=threat.eps / (high - low))
        with judging(adapted.module):
            module = adapted.module if unit is threat else Rescaled(adapted.module, low, high)
            module, logits, said = _tried(module, inputs, batch_size)
            _fits(logits, labels)
            yield Judged(
                model=module,
                x=inputs,
                y=labels,
                threat=unit,
                bounds=threat.bounds,
                given=inside,
                classes=logits.shape[1],
                predictions=predicted(logits).cpu(),
                margins=lead(logits, labels).float().cpu(),
                notes=(*adapted.notes, *notes, *said),
                gradient=_no_gradient(module, inputs[:1]) if threat.eps > 0 else "",
                quantised=adapted.quantised,
            )


@contextmanager
def judging(model: nn.Module) -> Iterator[None]:
    """Inside, `model` is in eval mode and its weights ask for no gradient; afterwards these, its buffers and the
    global random state are as before."""
    modes = {module: module.training for module in model.modules() if hasattr(module, "training")}
    wanting = [parameter for parameter in model.parameters() if parameter.requires_grad]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    _to_eval(model)
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


def _to_eval(model: nn.Module) -> None:
    """Eval mode, but for exported parts, which have the one that they were exported in."""
    try:
        model.eval()
    except NotImplementedError:
        for module in model.children():
            _to_eval(module)


def _examples(x: Examples, y: Examples) -> tuple[Tensor, Tensor]:
    """x as floats (N, ...), y as int64 (N,), each as a tensor. Raises TemperError for what is neither."""
    inputs, labels = _tensor(x, "x"), _tensor(y, "y")
    if not len(inputs) or inputs.shape[:1] != labels.shape or not inputs.is_floating_point():
        hint = {torch.uint8: " of bytes: divide them by 255"}.get(inputs.dtype, f" of {inputs.dtype}")
        hint = "" if inputs.is_floating_point() else hint
        hint += "; labels are one number each, not one-hot: y.argmax(1)" if labels.ndim == 2 else ""
        hint += "; need inputs and labels in equal number" if labels.ndim == 1 and len(labels) != len(inputs) else ""
        got = f"{tuple(inputs.shape)} and {tuple(labels.shape)}{hint}"
        raise TemperError(f"need floats x (N, ...) and labels y (N,), got {got}")
    if labels.is_floating_point() or labels.is_complex():
        raise TemperError(f"labels are whole numbers, got {labels.dtype}: use y.long() if that is what they are")
    return inputs, labels.long()


def _tensor(values: Examples, name: str) -> Tensor:
    """A tensor that autograd takes, on the device where the values are."""
    if isinstance(values, Tensor):
        return values.clone() if values.is_inference() else values
    try:
        array = np.asarray(values)
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    except (TypeError, ValueError) as error:
        raise TemperError(f"{name} is no array of numbers ({type(values).__name__}: {error})") from None


def _clipped(x: Tensor, threat: Threat) -> tuple[Tensor, list[str]]:
    """Inputs inside the bounds. Raises TemperError for those that lie outside by more than rounding."""
    low, high = threat.bounds
    if bool(((x >= low) & (x <= high)).all()):
        return x, []
    room = ROUNDING * max(1.0, high - low)
    if not bool(((x >= low - room) & (x <= high + room)).all()):
        hint = "; inputs with other bounds: threat=bench.Threat(norm=..., eps=..., bounds=(low, high))"
        raise TemperError(f"inputs must lie in [{low:g}, {high:g}], got {x.min():.3g} to {x.max():.3g}{hint}")
    outside = int(((x < low) | (x > high)).sum())
    return x.clamp(low, high), [f"clipped {counted(outside, 'number')} of x, outside [{low:g}, {high:g}] by rounding"]


def _home(module: nn.Module, x: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A tensor of the device and type of the inputs. Raises TemperError when the model is not on one device."""
    places = {tensor.device for tensor in chain(module.parameters(), module.buffers())}
    if len(places) > 1 or any(place.type == "meta" for place in places):
        names = ", ".join(sorted(map(str, places)))
        raise TemperError(f"the model's weights must lie on one real device, they lie on {names}")
    own = next((p.dtype for p in module.parameters() if p.is_floating_point()), x.dtype)
    precise = torch.promote_types(own, torch.float32)  # half precision is no good for attacks
    return torch.empty(0, device=next(iter(places), x.device), dtype=dtype or precise)


def _tried(module: nn.Module, x: Tensor, batch_size: int) -> tuple[nn.Module, Tensor, list[str]]:
    """The module, wrapped where it writes into its input, cannot take one example alone, or has logits of another
    type; its logits (N, K) on clean inputs; and what was done."""
    notes = []
    logits, wrote = _clean_logits(module, x, batch_size)
    if wrote:
        module = Copying(module)
        logits, _ = _clean_logits(module, x, batch_size)
        notes.append("the model writes into its input: it is given copies")
    if logits.dtype != x.dtype:
        notes.append(f"its logits are {str(logits.dtype).removeprefix('torch.')}")
        module, logits = InPrecision(module, None), logits.to(x.dtype)
    if len(x) > 1 and not _takes_one(module, x):
        module = Batched(module, 2)
        notes.append("the model fails on one example alone: it is given two")
    return module, logits, notes


@torch.no_grad()
def _clean_logits(module: nn.Module, x: Tensor, batch_size: int) -> tuple[Tensor, bool]:
    """Logits (N, K) of clean inputs, after checks of what the model returns, and whether it wrote into its input."""
    parts, wrote = [], False
    for part in x.split(batch_size):
        handed = part.clone()
        logits = _answer(module, handed)
        wrote = wrote or not torch.equal(handed, part)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(part):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise TemperError(
                f"the model must return logits ({len(part)}, C) for {len(part)} examples, it returned {got}"
            )
        parts.append(logits)
    return torch.cat(parts), wrote


def _answer(module: nn.Module, x: Tensor) -> Any:
    """What the model says to a batch. Raises TemperError where it fails, with its own reason on one line."""
    try:
        return module(x)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or ["no reason given"]
        reason = lines[-1 if "TorchScript" in lines[0] else 0]
        raise TemperError(f"the model fails on a batch {tuple(x.shape)}: {type(error).__name__}: {reason}") from error


@torch.no_grad()
def _takes_one(module: nn.Module, x: Tensor) -> bool:
    """Whether the model answers one example alone as it answers batches."""
    try:
        logits = module(x[:1].clone())
    except Exception:
        return False
    return bool(logits.ndim == 2 and len(logits) == 1)


def _fits(logits: Tensor, y: Tensor) -> None:
    """Raise TemperError where no answer is finite, or a label has no logit."""
    if bool((predicted(logits) == NO_ANSWER).all()):
        raise TemperError("the model's logits are not finite on clean inputs")
    if logits.shape[1] < 2 or y.min() < 0 or y.max() >= logits.shape[1]:
        raise TemperError(f"labels run from {y.min()} to {y.max()}, the model has {logits.shape[1]} classes")


def _no_gradient(module: nn.Module, x: Tensor) -> str:
    """Why the model's logits have no gradient to its input; empty where they have one."""
    try:
        with torch.enable_grad():
            point = x.clone().requires_grad_()
            logits = module(point)
            if logits.requires_grad and torch.autograd.grad(logits.sum(), point, allow_unused=True)[0] is not None:
                return ""
    except Exception as error:
        return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    return "a detach, a no_grad, or a whole-number step in its forward?"
