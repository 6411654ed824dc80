"""Weights of a file in a module of one's own architecture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench.errors import TemperError
from bench.networks.checkpoints.constants import normalisations
from bench.networks.checkpoints.filling import DOUBT, LEFT, doubts, filled, told
from bench.networks.checkpoints.fitting import Fit, difference, fit
from bench.networks.checkpoints.opening import File, open_checkpoint
from bench.networks.checkpoints.suggestion import facts
from bench.networks.checkpoints.trial import judged, must_be_finite, normalised
from bench.networks.normalise import behind


def load_into(module: nn.Module, path: Path, key: str = "") -> list[str]:
    """Load the weights of a file into a module, and say in sentences what was done.

    Names decide, after prefixes are taken off; else the order, where all layers agree in kind and shapes. `key` chooses
    among several state dicts. Raises TemperError where the file is no checkpoint or does not fit.
    """
    fitted, words = _loaded(module, path, key)
    words += _left_out(module, fitted)
    return [*words, LEFT if fitted.unknown else DOUBT] if fitted.doubtful else words


def load_own(
    module: nn.Module,
    path: Path,
    shape: tuple[int, ...],
    classes: int,
    *,
    key: str = "",
    examples: tuple[Tensor, Tensor] | None = None,
    constants: Mapping[str, Any] | None = None,
) -> tuple[nn.Module, list[str]]:
    """The module with the weights of a file, in eval mode, checked as `load_checkpoint` does; and what was done.

    In front of it comes a normalisation by the `constants` mean and std, else by those that stand in the file outside
    of the module. Raises TemperError where the file does not fit, or the module gives no finite logits.
    """
    fitted, words = _loaded(module, path, key)
    outer = fitted.normalisation if fitted.outside and not constants else None
    if outer:
        words.append(f"put the normalisation {outer.names[0]!r} of the file, {outer.numbers}, in front")
    elif not constants:
        words += _left_out(module, fitted)
    front = constants or (outer.options if outer else {})
    network = behind(module, shape[0], front)
    must_be_finite(network, shape, classes)
    accuracy, seen = None, list[str]()
    if examples:
        others = normalised(network.to(examples[0].device), 0 if front else shape[0])
        accuracy, seen = judged(network, examples, classes, others)
    words += [*seen, *doubts(path, fitted, accuracy, classes, len(examples[1]) if examples else 0)]
    return network.cpu(), words


def _loaded(module: nn.Module, path: Path, key: str) -> tuple[Fit, list[str]]:
    """Fill the module; what of the file it was filled with, and that in words."""
    file = open_checkpoint(path, key)
    expected = dict(module.state_dict())
    channels = facts(expected)[0] or 3
    fitted = fit(expected, file.states, channels, False, file.ordered) or _without_constants(expected, channels, file)
    if fitted is None:
        problem = difference(expected, file.states, channels, ours=False)
        raise TemperError(f"weights {path} do not fit {type(module).__name__}: {problem}")
    return fitted, [*told(file, fitted), *filled(module, fitted)]


def _left_out(module: nn.Module, fitted: Fit) -> list[str]:
    if fitted.normalisation is None:
        return []
    name = type(module).__name__
    return [
        f"WARNING: left out the normalisation {fitted.normalisation.names[0]!r}, for which {name} has no place: "
        f"if it does not normalise its inputs itself, give --normalise {fitted.normalisation.numbers}"
    ]


def _without_constants(expected: Mapping[str, Tensor], channels: int, file: File) -> Fit | None:
    """The fit of a module whose own buffers of a normalisation are not in the file: it keeps them."""
    constants = {name for each in normalisations(expected, channels) for name in each.names}
    core = {name: tensor for name, tensor in expected.items() if name not in constants}
    if not constants or not core:
        return None
    prefix = next(iter(core)).partition(".")[0] + "."
    prefix = prefix if all(name.startswith(prefix) for name in core) else ""
    inner = {name.removeprefix(prefix): tensor for name, tensor in core.items()}
    fitted = fit(inner, file.states, channels, False, file.ordered)
    if fitted is None:
        return None
    tensors = {prefix + name: tensor for name, tensor in fitted.tensors.items()}
    return fitted._replace(tensors=tensors, notes=(*fitted.notes, "the module keeps its own normalisation"))
