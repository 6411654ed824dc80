"""Checkpoints as people have them, made into one of our networks: read, chosen, fitted, checked, and told in words.

`bench.networks.load_weights` stays the strict reader of our own files, which records rest on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from bench.errors import TemperError
from bench.networks import build
from bench.networks.checkpoints.constants import said
from bench.networks.checkpoints.filling import doubts, filled, told
from bench.networks.checkpoints.fitting import Fit, difference, fit
from bench.networks.checkpoints.opening import File, open_checkpoint
from bench.networks.checkpoints.own import load_into, load_own
from bench.networks.checkpoints.suggestion import suggestion
from bench.networks.checkpoints.trial import judged, must_be_finite, normalised
from bench.networks.normalise import behind
from bench.scenario import NetworkSpec

__all__ = ["LoadedCheckpoint", "load_checkpoint", "load_into", "load_own"]

BEFORE = (
    "WARNING: its names say that a layer without weights stands before the network: if that normalises, "
    "give --normalise MEANS,STDS"
)
CONSTANTS = ("mean", "std")
VARIANTS: dict[str, tuple[dict[str, Any], str]] = {  # options to try when a network does not fit as it is, and why
    "preactresnet18": ({"norm": False}, "no batch norm before the last layer, as in pytorch-cifar"),
}
RIVALS: dict[str, tuple[dict[str, Any], str]] = {  # options that make another network of the very same tensors
    "preactresnet18": ({"activated": False}, "shortcuts from before batch norm, as in Wong et al. 2020"),
}


class LoadedCheckpoint(NamedTuple):
    """What became of a file."""

    network: nn.Module  # in eval mode, on the CPU
    spec: NetworkSpec  # what `build` makes it of: with the constants of a normalisation, and the variant that fits
    told: list[str]  # what was done, in sentences
    accuracy: float | None = None  # on some of the examples, where there were some


def load_checkpoint(
    path: Path,
    spec: NetworkSpec,
    shape: tuple[int, ...],
    classes: int,
    *,
    key: str = "",
    examples: tuple[Tensor, Tensor] | None = None,
) -> LoadedCheckpoint:
    """The network that `spec` names, for inputs (B, *shape) in [0, 1] and so many classes, with the weights of a file.

    Reads safetensors and what torch.save wrote, without running code of the file's. `key` chooses among several state
    dicts ("ema"). A normalisation in the file comes in front of the network, unless `spec` has its own (`mean`, `std`).
    `examples` (x (N, *shape), y (N,)) are for a look at the clean accuracy. Raises TemperError where the file is no
    checkpoint, does not fit, gives logits that are not finite, or was mapped by order alone and is at chance.
    """
    plain = _inner(spec, shape, classes)
    file = open_checkpoint(path, key)
    spec, inner, fitted, variant = _fitted(file, spec, plain, shape, classes)
    words = [*told(file, fitted), *variant, *filled(inner, fitted)]
    constants, used = _constants(spec, fitted)
    network = behind(inner, shape[0], constants)
    must_be_finite(network, shape, classes)
    rivals = _rivals(spec, inner, shape, classes, constants)
    accuracy, seen = _looked_at(network, rivals, shape, classes, examples, bool(constants))
    words += [*used, *seen, *doubts(file.path, fitted, accuracy, classes, len(examples[1]) if examples else 0)]
    spec = spec.model_copy(update={"options": {**spec.options, **constants}})
    return LoadedCheckpoint(network.cpu(), spec, words, accuracy)


def _fitted(
    file: File, spec: NetworkSpec, plain: nn.Module, shape: tuple[int, ...], classes: int
) -> tuple[NetworkSpec, nn.Module, Fit, list[str]]:
    """The network as asked for (`plain`), or a variant of it that fits, and what to say of that."""
    ours = ":" not in spec.network
    for variant, words in _variants(spec):
        inner = plain if variant is spec else _inner(variant, shape, classes)
        fitted = fit(inner.state_dict(), file.states, shape[0], ours, file.ordered)
        if fitted:
            return variant, inner, fitted, words
    problem = difference(plain.state_dict(), file.states, shape[0], ours)
    better = suggestion(file.states, shape, classes, file.ordered)
    remedy = better or "an architecture of your own goes with --model package.module:function"
    raise TemperError(f"weights {file.path} do not fit the network {spec.network!r}: {problem}; {remedy}")


def _variants(spec: NetworkSpec) -> Iterator[tuple[NetworkSpec, list[str]]]:
    yield spec, []
    options, why = VARIANTS.get(spec.network, ({}, ""))
    if options and not options.keys() & spec.options.keys():
        words = f"took {_given(options)}: the file has {why}"
        yield spec.model_copy(update={"options": {**spec.options, **options}}), [words]


def _rivals(
    spec: NetworkSpec, inner: nn.Module, shape: tuple[int, ...], classes: int, constants: Mapping[str, Any]
) -> list[tuple[str, nn.Module]]:
    """The other networks that the same tensors fit, with these weights, by the options that make them."""
    options, why = RIVALS.get(spec.network, ({}, ""))
    if not options or options.keys() & spec.options.keys():
        return []
    rival = _inner(spec.model_copy(update={"options": {**spec.options, **options}}), shape, classes)
    rival.load_state_dict(inner.state_dict())
    return [(f"{_given(options)} ({why})", behind(rival, shape[0], constants))]


def _looked_at(
    network: nn.Module,
    rivals: list[tuple[str, nn.Module]],
    shape: tuple[int, ...],
    classes: int,
    examples: tuple[Tensor, Tensor] | None,
    has_constants: bool,
) -> tuple[float | None, list[str]]:
    """The clean accuracy on some of the examples, if there are any, and what to say of it and of other readings."""
    if examples is None:
        return None, [f"NOTE: networks with {words} have the same names: look at the accuracy" for words, _ in rivals]
    device = examples[0].device
    channels = shape[0] if len(shape) == 3 and not has_constants else 0
    others = normalised(network.to(device), channels) + [(words, rival.to(device)) for words, rival in rivals]
    return judged(network, examples, classes, others)


def _constants(spec: NetworkSpec, fitted: Fit) -> tuple[dict[str, Any], list[str]]:
    """The constants of the normalisation in front: the caller's, else the file's; and what to say of these."""
    own = {name: spec.options[name] for name in CONSTANTS if name in spec.options}
    found = fitted.normalisation
    if found is None:
        return own, [] if own or not re.search(r"(^|\.)[1-9]\d*\.$", fitted.prefix) else [BEFORE]
    what = f"the normalisation {found.names[0]!r} of the file, {said(found.mean, found.std)}{found.note}"
    return own or found.options, [f"left out {what}: yours is used" if own else f"put {what}, in front"]


def _given(options: Mapping[str, Any]) -> str:
    """Options as they are typed."""
    return " ".join(f"--option {name}={str(value).lower()}" for name, value in options.items())


def _inner(spec: NetworkSpec, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network without a normalisation in front."""
    options = {name: value for name, value in spec.options.items() if name not in CONSTANTS}
    return build(spec.model_copy(update={"options": options}), shape, classes)
