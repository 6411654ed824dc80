"""The tensors of a checkpoint put into a module, and what was done in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.errors import TemperError
from bench.networks.checkpoints.fitting import Fit
from bench.networks.checkpoints.opening import File
from bench.networks.checkpoints.trial import EXAMPLES, at_chance

DOUBT = "WARNING: nothing but order and shapes speaks for this: look at the clean accuracy"
LEFT = "WARNING: something unknown was left out, so this may be a part of the network only: look at the clean accuracy"


def filled(module: nn.Module, fitted: Fit) -> list[str]:
    """Load the tensors into the module, each in its dtype, and say which had others.

    Raises TemperError for tensors without values of their own, and for whole numbers where the module has others.
    """
    changed: dict[torch.dtype, torch.dtype] = {}
    state = {}
    for name, own in module.state_dict().items():
        given = fitted.tensors.get(name, own)
        _loadable(name, given, own)
        if given.dtype != own.dtype:
            changed[given.dtype] = own.dtype
        state[name] = given.to(own.dtype)
    module.load_state_dict(state)
    return [f"turned {_dtype(old)} into {_dtype(new)}" for old, new in changed.items()]


def told(file: File, fitted: Fit) -> list[str]:
    """What was read, how it was mapped, and what else there is."""
    under = f" under {fitted.where!r}" if fitted.where else ""
    prefix = f", without the prefix {fitted.prefix!r}" if fitted.prefix else ""
    words = [f"read {len(fitted.tensors)} tensors{under}{prefix}", f"mapped {fitted.how}", *fitted.notes]
    others = [state.where for state in file.states if state.where != fitted.where] + file.others
    names = _listed([where for where in others if where])
    return [*words, f"there is also {names}: --key takes another"] if names else words


def doubts(path: Path, fitted: Fit, accuracy: float | None, classes: int, count: int) -> list[str]:
    """A warning where nothing tells whether a doubtful map is right; `accuracy` is that on some of `count` examples.

    Raises TemperError where it is at chance.
    """
    if not fitted.doubtful:
        return []
    if accuracy is None:
        return [LEFT if fitted.unknown else DOUBT]
    if at_chance(accuracy, classes, min(count, EXAMPLES)):
        left = f", and {fitted.notes[-1]}" if fitted.unknown else ""
        raise TemperError(
            f"weights {path} are mapped {fitted.how}{left}, but only {100 * accuracy:.1f} % of the clean examples are "
            "right, about chance: give --normalise if its inputs were normalised, or --model with its own network"
        )
    return []


def _loadable(name: str, given: Tensor, own: Tensor) -> None:
    if given.is_meta or given.is_quantized or given.layout != torch.strided:
        kind = "no values" if given.is_meta else "quantised values" if given.is_quantized else f"{given.layout} values"
        raise TemperError(
            f"{name!r} has {kind} in the file: write plain tensors, with torch.save(model.state_dict(), ...)"
        )
    if own.is_floating_point() and not given.is_floating_point():
        raise TemperError(
            f"{name!r} holds {_dtype(given.dtype)} where the network has {_dtype(own.dtype)}: "
            "weights in whole or complex numbers are not read; write them in floating point"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
