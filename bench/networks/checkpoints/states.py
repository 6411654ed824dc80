"""The state dicts in the contents of a checkpoint: which there are, which to try first, and what wraps their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

DEPTH = 8  # of containers within containers
LITTLE = 4  # tensors that are no network
STUDENTS = (
    *("state_dict", "model_state_dict", "model_state", "state", "model", "net", "network", "student", "student_model"),
    *("backbone", "encoder", "weights", "params", "parameters", "classifier", "module", "best", "last"),
)
ASIDE = re.compile(
    r"(^|_)ema|ema$|swa|averag|avg|shadow|teacher|(^|_)(target|proxy|attacker|adversary|discriminator|momentum|old)($|_)",
    re.IGNORECASE,
)
NEVER = re.compile(r"optim|^opt$|sched|scaler|^amp$|exp_avg|gradient|^grads?$|rng", re.IGNORECASE)
WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:module|_orig_mod|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
CONSTANT = re.compile(r"mean|std|sigma|^mu$")
CONTAINERS = re.compile(r"^(backbone|encoder|feature_extractor|base_model|trunk|body)\.")
COUNTERS = re.compile(r"(^|\.)(num_batches_tracked|n_averaged|total_ops|total_params|global_step)$")


class State(NamedTuple):
    """Tensors by name, and where they stand: keys and prefixes of names with dots between, empty at the top."""

    where: str
    tensors: dict[str, Tensor]
    near: dict[
        str, Tensor
    ] = {}  # what stands beside a network in the file, where it is little: such as a mean and a std


def states(tree: Any) -> list[State]:
    """All the state dicts in the contents of a file, likeliest first: a network before its average or its teacher.

    Optimiser states are none, and counters, such as those of batch norm, are no tensors of a network.
    """
    found = list(_walk(tree, (), set()))
    little = {
        f"{where}.{name}".strip("."): tensor
        for where, few in found
        if len(few) <= LITTLE
        for name, tensor in few.items()
    }
    named = [State(where, tensors, little) for where, tensors in found]
    return sorted(named, key=lambda state: rank(state.where))


def chosen(found: Sequence[State], key: str) -> list[State]:
    """Those that `key` names: as their key, as the start of their tensors' names, else as a part of their key."""
    exact = [state for state in found if key in (state.where, *state.where.split("."))]
    return exact or _starting(found, key) or [state for state in found if key.lower() in state.where.lower()]


def rank(where: str) -> tuple[int, int]:
    """What to try first: smaller is sooner. What stands deeper counts by its likeliest part."""
    parts = [part for part in where.split(".") if part]
    places = [STUDENTS.index(part) for part in parts if part in STUDENTS]
    aside = any(ASIDE.search(part) for part in parts)
    return int(aside), min(places, default=0 if not parts else len(STUDENTS))


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same without what DataParallel, torch.compile and the like put into names, wherever it stands in them."""
    named = {WRAPPERS.sub("", name): tensor for name, tensor in tensors.items()}
    return named if len(named) == len(tensors) else dict(tensors)


def parts(tensors: Mapping[str, Tensor], least: int) -> list[State]:
    """The tensors under every prefix of at least so many names, without the prefix; likeliest first."""
    counts: dict[str, int] = {"": len(tensors)}
    for name in tensors:
        for dot in re.finditer(r"\.", name):
            counts[name[: dot.end()]] = counts.get(name[: dot.end()], 0) + 1
    prefixes = [prefix for prefix, count in counts.items() if count >= least]
    prefixes.sort(key=lambda prefix: (rank(prefix)[0], len(prefix)))
    return [State(prefix, _under(tensors, prefix)) for prefix in prefixes]


def joined(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same without `backbone.` and the like before some names: a network whose head stands beside its body.
    Empty where there is no such."""
    named = {CONTAINERS.sub("", name): tensor for name, tensor in tensors.items()}
    return named if len(named) == len(tensors) and set(named) != set(tensors) else {}


def keys(tree: Any) -> str:
    """The keys at the top of a file, in words."""
    if not isinstance(tree, Mapping):
        return f"a {type(tree).__name__}"
    names = [repr(str(key)) for key in tree]
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "nothing"


def _walk(node: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every container once, so that one which holds itself has an end."""
    if len(path) > DEPTH or id(node) in seen or any(NEVER.search(part) for part in path):
        return
    seen.add(id(node))
    if isinstance(node, Mapping):
        tensors = {name: _tensor(name, value) for name, value in node.items() if isinstance(name, str)}
        named = {name: value for name, value in tensors.items() if value is not None and not COUNTERS.search(name)}
        if named:
            yield ".".join(path), named
    inner = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list | tuple) else ()
    for key, value in inner:
        if isinstance(value, Mapping | list | tuple):
            yield from _walk(value, (*path, str(key)), seen)


def _tensor(name: str, value: Any) -> Tensor | None:
    """A tensor, or an array as one, or a few numbers that are called a mean or a std; None for anything else."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return torch.from_numpy(np.ascontiguousarray(value.astype(value.dtype.newbyteorder("="))))
    if CONSTANT.search(name) and isinstance(value, list | tuple) and all(isinstance(number, float) for number in value):
        return torch.tensor(value)
    return None


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _starting(found: Sequence[State], key: str) -> list[State]:
    """The tensors whose names start with the key, of every state that has some."""
    named = [State(f"{state.where}.{key}".strip("."), _under(state.tensors, f"{key}."), state.near) for state in found]
    return [state for state in named if state.tensors]
