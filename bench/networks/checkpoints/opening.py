"""A file of weights, opened: the state dicts in it that may be taken."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bench.errors import TemperError
from bench.networks.checkpoints.reading import read
from bench.networks.checkpoints.states import State, chosen, keys, states


class File(NamedTuple):
    """The state dicts of a file that may be taken, likeliest first."""

    path: Path
    states: list[State]
    others: list[str]  # the keys of those that `key` set aside
    ordered: bool  # whether the tensors stand in the model's order


def open_checkpoint(path: Path, key: str = "") -> File:
    """The state dicts in a file, likeliest first; with `key`, those that it names. Raises TemperError for none."""
    contents = read(path)
    found = states(contents.tree)
    if not found:
        raise TemperError(
            f"{path} holds no tensors by name, but {keys(contents.tree)}: write the state dict of a model"
        )
    taken = chosen(found, key) if key else found
    if not taken:
        names = ", ".join(sorted({repr(state.where) if state.where else "tensors without a key" for state in found}))
        raise TemperError(f"{path} has no {key!r}; it has {names}")
    return File(path, taken, _aside(found, taken), contents.ordered)


def _aside(found: list[State], taken: list[State]) -> list[str]:
    """The keys of the state dicts that are not taken."""
    names = {state.where for state in taken}
    return [state.where for state in found if state.where not in names]
