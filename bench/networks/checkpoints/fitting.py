"""Which tensor of a checkpoint is which of a network: by exact names, by a customary layout, else by order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor

from bench.networks.checkpoints.constants import Normalisation, normalisations
from bench.networks.checkpoints.layouts import LAYOUTS, UNUSED, look_alike, renamed
from bench.networks.checkpoints.states import COUNTERS, State, joined, parts, rank, unwrapped


class Fit(NamedTuple):
    """A network's tensors out of a checkpoint, and how they were found."""

    tensors: dict[str, Tensor]  # under the network's names
    where: str  # the key of the state dict
    prefix: str  # before the names
    how: str  # in words
    normalisation: Normalisation | None
    notes: tuple[str, ...]  # what was left out or filled in
    by_order: bool = False  # nothing but order and shapes speaks for it
    unknown: bool = False  # tensors are left over that are neither another network's nor known to be of no use
    outside: bool = False  # the normalisation stands outside of the prefix

    @property
    def doubtful(self) -> bool:
        """Whether only an accuracy can tell that it is right."""
        return self.by_order or self.unknown


class Part(NamedTuple):
    """Tensors that may be a network's, and what else stands in the same state dict."""

    where: str
    prefix: str
    tensors: dict[str, Tensor]
    rest: dict[str, Tensor]
    near: dict[str, Tensor]  # what stands beside that state dict


def fit(expected: Mapping[str, Tensor], found: Sequence[State], channels: int, ours: bool, ordered: bool) -> Fit | None:
    """The likeliest part of the checkpoint that is the network whose state dict is `expected`; None where none is.

    Names decide before order, and a network before its average or its teacher. `ours` says that customary layouts
    may be tried; `ordered`, that the tensors stand in the order of the model.
    """
    needed = {name: tensor for name, tensor in expected.items() if not COUNTERS.search(name)}
    candidates = [part for state in found for part in _parts(state, len(needed) - 1)]
    for aside in (0, 1):
        likely = [part for part in candidates if rank(f"{part.where}.{part.prefix}")[0] == aside]
        for part in likely:
            for how, named in _namings(part.tensors, ours):
                fitted = _by_name(needed, part, named, how, channels)
                if fitted:
                    return fitted
        for part in likely:
            fitted = _by_order(needed, part, channels, ours, ordered)
            if fitted:
                return fitted
    return None


def difference(expected: Mapping[str, Tensor], found: Sequence[State], channels: int, ours: bool) -> str:
    """The first thing in which the part of the checkpoint that is nearest to the network differs from it."""
    needed = {name: tensor for name, tensor in expected.items() if not COUNTERS.search(name)}
    best, words = -1, "it holds no tensors"
    for state in found:
        if ours and look_alike(state.tensors):
            return look_alike(state.tensors)
        for part in _parts(state, min(len(needed), len(state.tensors)) // 2):
            for _, named in _namings(part.tensors, ours):
                score = sum(name in needed and tensor.shape == needed[name].shape for name, tensor in named.items())
                if score > best:
                    best, words = score, _first_difference(needed, _core(part, named, channels)[0], part.tensors)
    return words if best else _order_difference(needed, found[0].tensors)


def _parts(state: State, least: int) -> Iterator[Part]:
    """All parts of a state dict by prefix, with the names as they are, and without wrappers in them."""
    plain = unwrapped(state.tensors)
    for tensors in [state.tensors] if plain == state.tensors else [state.tensors, plain]:
        for prefix, inner, _ in parts(tensors, least):
            rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
            yield Part(state.where, prefix, inner, rest, state.near)
            whole = joined(inner)
            if whole:
                yield Part(state.where, prefix, whole, rest, state.near)


def _namings(tensors: Mapping[str, Tensor], ours: bool) -> Iterator[tuple[str, dict[str, Tensor]]]:
    yield "by name", dict(tensors)
    if ours and not look_alike(tensors):
        yield from ((f"by the names of {layout.whose}", renamed(tensors, layout)) for layout in LAYOUTS)


def _core(
    part: Part, named: Mapping[str, Tensor], channels: int
) -> tuple[dict[str, Tensor], Normalisation | None, list[str]]:
    """Without the constants of a normalisation and without what no forward uses; and notes on these."""
    constants = normalisations({**part.near, **part.rest, **named}, channels)
    names = {name for each in constants for name in each.names}
    unused = {name for name in named if UNUSED.search(name)}
    notes = [f"left out {len(unused)} tensors of 'sub_block1', which no forward goes through"] if unused else []
    others = [each for each in constants if each.options != constants[0].options]
    if others:
        notes.append(f"left out another normalisation, {others[0].names[0]!r}: it is {others[0].numbers}")
    core = {name: tensor for name, tensor in named.items() if name not in names | unused}
    return core, constants[0] if constants else None, notes


def _by_name(
    needed: Mapping[str, Tensor], part: Part, named: Mapping[str, Tensor], how: str, channels: int
) -> Fit | None:
    if not needed.keys() & named.keys():
        return None
    missing = needed.keys() - named.keys()
    core, constants = dict(named), None
    notes: list[str] = []
    if named.keys() - needed.keys() or part.rest or part.near:
        core, constants, notes = _core(part, named, channels)
        own = {name: tensor for name, tensor in named.items() if name in needed}  # such as the network's own mean
        core = {**core, **own}
        if constants and set(constants.names) & needed.keys():
            constants = None
    if missing and len(missing) == 1 and missing == {_head_bias(needed)}:
        (bias,) = missing
        core[bias] = torch.zeros(needed[bias].shape)
        notes = [*notes, "the last layer has no bias: it counts as 0"]
    if _first_difference(needed, core):
        return None
    return _made(needed, part, core, how, constants, notes)


def _by_order(needed: Mapping[str, Tensor], part: Part, channels: int, ours: bool, ordered: bool) -> Fit | None:
    """Layer by layer, where all agree in kind and shapes."""
    if ours and look_alike(part.tensors):
        return None
    core, constants, notes = _core(part, part.tensors, channels)
    if len(core) != len(needed):
        return None
    if not ordered:
        core = dict(sorted(core.items(), key=lambda item: _natural(item[0])))
        notes.append("the file keeps no order: its names were sorted")
    own, theirs = layers(needed), layers(core)
    if [shapes(layer) for layer in own.values()] != [shapes(layer) for layer in theirs.values()]:
        return None
    pairs = list(zip(own.items(), theirs.items(), strict=True))
    tensors = {f"{a}.{field}".strip("."): layer[field] for (a, fields), (_, layer) in pairs for field in fields}
    changed = [f"{b!r} is {a!r}" for (a, _), (b, _) in pairs if a != b][:2]
    how = f"by order alone ({', '.join([*changed, '...'])}): all {len(pairs)} layers agree in kind and shape"
    return _made(needed, part, tensors, how, constants, notes)._replace(by_order=True)


def _made(
    needed: Mapping[str, Tensor],
    part: Part,
    core: Mapping[str, Tensor],
    how: str,
    constants: Normalisation | None,
    notes: Sequence[str],
) -> Fit:
    used = set(constants.names) if constants else set()
    left = [name for name in part.rest if name not in used]
    unknown = [name for name in left if not rank(name)[0]]
    words = [f"left out {_groups(left, part.prefix)}"] if left else []
    tensors = {name: core[name] for name in needed}
    found = Fit(tensors, part.where, part.prefix, how, constants, (*notes, *words))
    return found._replace(unknown=bool(unknown), outside=bool(used & (part.rest.keys() | part.near.keys())))


def _groups(names: Sequence[str], prefix: str) -> str:
    """Names by the first part in which they differ from the prefix, with how many there are."""
    counts: dict[str, int] = {}
    for name in names:
        pairs = list(zip_longest(name.split("."), prefix.split(".")[:-1]))
        shared = next((at for at, (part, other) in enumerate(pairs) if part != other), len(pairs))
        first = ".".join(name.split(".")[: shared + 1])
        counts[first] = counts.get(first, 0) + 1
    return ", ".join(f"{first!r} ({count} tensor{'s' * (count > 1)})" for first, count in list(counts.items())[:5])


def _head_bias(needed: Mapping[str, Tensor]) -> str:
    """The name of the last layer's bias."""
    name = list(needed)[-1]
    return name if name.endswith("bias") else ""


def layers(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors by layer, in the order in which the layers come first."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, field = name.rpartition(".")
        found.setdefault(layer, {})[field] = tensor
    return found


def shapes(layer: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shapes of a layer's tensors by their last names, which tell its kind."""
    return {field: tuple(tensor.shape) for field, tensor in layer.items()}


def kind(layer: Mapping[str, Tensor]) -> str:
    """What a layer is, in words, with the shape of its weight."""
    weight = layer.get("weight", next(iter(layer.values())))
    names = {1: "normalisation", 2: "linear layer", 3: "1-d convolution", 4: "convolution", 5: "3-d convolution"}
    name = "batch norm" if "running_mean" in layer else names.get(weight.ndim, "parameter")
    return f"{name} {list(weight.shape)}"


def _first_difference(
    needed: Mapping[str, Tensor], found: Mapping[str, Tensor], original: Mapping[str, Tensor] | None = None
) -> str:
    """The first tensor, by the network's order, that is missing, of another shape, or unknown to it; else nothing.
    `original` are the same tensors under the names that the file gives them."""
    names = {id(tensor): name for name, tensor in (original or {}).items()}
    for name, tensor in needed.items():
        if name not in found:
            return f"tensor {name!r} is missing"
        if found[name].shape != tensor.shape:
            given = names.get(id(found[name]), name)
            own = "" if given == name else f" {name!r}"
            return f"{given!r} has shape {list(found[name].shape)}, the network's{own} has {list(tensor.shape)}"
    extra = [names.get(id(tensor), name) for name, tensor in found.items() if name not in needed]
    return f"the network has no tensor {extra[0]!r}" if extra else ""


def _order_difference(needed: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """The first layer, in order, that is of another kind or shape."""
    own, theirs = layers(needed), layers(found)
    for (a, ours), (b, other) in zip(own.items(), theirs.items(), strict=False):
        if shapes(ours) != shapes(other):
            return f"its {b!r} ({kind(other)}) stands where the network has {a!r} ({kind(ours)})"
    return f"it has {len(theirs)} layers with tensors, the network has {len(own)}"


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts `layers.10` after `layers.9`, and names as they come."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", name)]
