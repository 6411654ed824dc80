"""Whatever people call a model, as a module that can be judged: callables, wrappers, compiled or exported modules.

What is done to a model is said in notes; the caller's own object is never changed.
"""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import TemperError

WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")  # homes of such layers
FOR_EVER = sys.maxsize


@dataclass(frozen=True)
class Adapted:
    """A model as a module, and in words what was done to it. A quantised one has no gradient to its input."""

    module: nn.Module
    notes: tuple[str, ...] = ()
    quantised: bool = False


def adapt(model: Any, x: Tensor, dtype: torch.dtype | None) -> Adapted:
    """A module that maps inputs like x (N, ...) to logits, computing in `dtype` (None: as the model does).

    Raises TemperError for what is no model.
    """
    module, notes = _unwrapped(model)
    quantised = _is_quantised(module)
    if not quantised:
        module, said = _in_precision(module, x[:2], dtype)
        notes += said
    return Adapted(module, tuple(notes), quantised)


class Copying(nn.Module):
    """A model that writes into its input, given copies."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model(x.clone())


class Rescaled(nn.Module):
    """A model of inputs in [low, high] as one of inputs in [0, 1]."""

    def __init__(self, model: nn.Module, low: float, high: float) -> None:
        super().__init__()
        self.model, self.low, self.high = model, low, high

    def forward(self, x: Tensor) -> Any:
        return self.model(x * (self.high - self.low) + self.low)


class Batched(nn.Module):
    """A model that takes batches from `least` to `most` examples, as one that takes any: filled up with copies of the
    last example, or cut."""

    def __init__(self, model: nn.Module, least: int, most: int = FOR_EVER) -> None:
        super().__init__()
        self.model, self.least, self.most = model, least, most

    def forward(self, x: Tensor) -> Any:
        parts = [self._filled(part) for part in x.split(min(self.most, len(x)))]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _filled(self, x: Tensor) -> Any:
        missing = self.least - len(x)
        return (
            self.model(x)
            if missing <= 0
            else self.model(torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]))[: len(x)]
        )


class InPrecision(nn.Module):
    """A model that takes inputs of one precision, as one of inputs of any, whose logits are as precise as they are."""

    def __init__(self, model: nn.Module, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, x: Tensor) -> Any:
        logits = self.model(x if self.dtype is None else x.to(self.dtype))
        return logits if isinstance(logits, tuple | list | dict) else logits.to(x.dtype)


class Called(nn.Module):
    """A callable that is no module. Modules that it holds are its children, so that their mode can be set."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        for number, module in enumerate(_held(function)):
            self.add_module(str(number), module)

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def writes_into(module: nn.Module) -> bool:
    """Whether the module is known to write into its input."""
    return any(isinstance(each, Copying) for each in module.modules())


def is_called(module: nn.Module) -> bool:
    """Whether a part is a callable that is no module."""
    return any(isinstance(each, Called) for each in module.modules())


def _unwrapped(model: Any) -> tuple[nn.Module, list[str]]:
    """The module at the heart of a model, and what was taken off."""
    notes: list[str] = []
    while name := next((each.__name__ for each in type(model).__mro__ if each.__name__ in WRAPPERS), ""):
        model = getattr(model, WRAPPERS[name])
        notes.append(f"judged without its wrapper {name}: attacks ask in batches of all sizes")
    if type(model).__name__ == "ExportedProgram":
        return _exported(model), [*notes, "an exported program is judged in the mode that it was exported in"]
    if original := getattr(model, "_torchdynamo_orig_callable", None):
        model = original
        notes.append("judged as it is before torch.compile: attacks ask in batches of all sizes")
    if isinstance(model, nn.Module):
        return model, notes
    _is_callable(model)
    return Called(model), notes


def _is_callable(model: Any) -> None:
    """Raise TemperError for what cannot be called with a batch."""
    if isinstance(model, type):
        raise TemperError(f"the model is the class {model.__name__}: give an instance, {model.__name__}(...)")
    if isinstance(model, Mapping):
        raise TemperError("the model is a state dict: build its network and give that, or use `temper evaluate FILE`")
    if not callable(model):
        hint = "; for a file use `temper evaluate FILE`" if isinstance(model, str) else ""
        raise TemperError(f"a model maps a batch of inputs to logits, got {type(model).__name__}{hint}")


def _held(function: Any) -> Iterator[nn.Module]:
    """The modules that a callable holds: in its attributes, its closure, its arguments, or whose method it is."""
    bound = getattr(function, "__self__", None)
    holders = [function, bound] if bound is not None else [function]
    values: list[Any] = [bound]
    for holder in holders:
        values += vars(holder).values() if hasattr(holder, "__dict__") else ()
        if isinstance(holder, functools.partial):
            values += [holder.func, *holder.args, *holder.keywords.values()]
    for cell in getattr(function, "__closure__", None) or ():
        values.append(cell.cell_contents)
    if isinstance(code := getattr(function, "__code__", None), type(_held.__code__)):
        values += [function.__globals__[name] for name in code.co_names if name in function.__globals__]
    met: set[int] = set()
    for value in values:
        if isinstance(value, nn.Module) and id(value) not in met:
            met.add(id(value))
            yield value


def _exported(program: Any) -> nn.Module:
    """The module of a `torch.export.ExportedProgram`, for batches of any size."""
    first = program.graph_signature.user_inputs[0]
    size = next(node.meta["val"].shape[0] for node in program.graph.nodes if node.name == first)
    if isinstance(size, int):
        return Batched(program.module(), size, size)
    limits = program.range_constraints.get(size.node.expr)
    least, most = (int(limits.lower), limits.upper) if limits else (2, FOR_EVER)
    return Batched(program.module(), max(least, 2), int(most) if most < FOR_EVER else FOR_EVER)


def _is_quantised(module: nn.Module) -> bool:
    """Whether a part computes in whole numbers, as far as its layers, its script or its graph tell."""
    if any(type(each).__module__.startswith(QUANTISED) for each in module.modules()):
        return True
    for each in module.modules():
        if isinstance(each, torch.jit.ScriptModule) and "quantized::" in _script(each):
            return True
        if isinstance(each, torch.fx.GraphModule) and "quantize" in each.code:
            return True
    return False


def _script(module: torch.jit.ScriptModule) -> str:
    try:
        return str(module.inlined_graph)
    except (AttributeError, RuntimeError):
        return ""


def _in_precision(module: nn.Module, x: Tensor, dtype: torch.dtype | None) -> tuple[nn.Module, list[str]]:
    """The module computing in `dtype`, where its weights have another or cannot be differentiated: a copy, or where
    there can be none, the module as it is with inputs that it takes."""
    tensors = [t for t in chain(module.parameters(), module.buffers()) if t.is_floating_point()]
    own = {tensor.dtype for tensor in tensors}
    names = ", ".join(sorted(str(each).removeprefix("torch.") for each in own))
    if dtype is None and not own <= {torch.float32, torch.float64}:
        return InPrecision(module, tensors[0].dtype), [f"computes in {names}, as its weights do"]
    foreign = dtype is not None and not own <= {dtype}
    if not foreign and not any(tensor.is_inference() for tensor in tensors):
        return module, []
    if not isinstance(module, Called):
        try:
            with torch.no_grad():
                twin = _twin(module, dtype)
                twin(x.to(tensors[0].device, dtype or x.dtype))
        except Exception:
            pass
        else:
            return twin, [f"judged in {str(dtype).removeprefix('torch.')}: its weights are {names}"] if foreign else []
    if not foreign:
        return module, []
    return InPrecision(module, tensors[0].dtype), [f"computes in {names} itself, and is judged so"]


def _twin(module: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """A copy in eval mode whose tensors can be differentiated, in `dtype`."""
    twin = copy.deepcopy(module).eval()
    twin = twin if dtype is None else twin.to(dtype)
    for each in twin.modules():
        for name, weight in each.named_parameters(recurse=False):
            if weight.is_inference():
                setattr(each, name, nn.Parameter(weight.clone()))
        for name, buffer in each.named_buffers(recurse=False):
            if buffer.is_inference():
                setattr(each, name, buffer.clone())
    return twin
