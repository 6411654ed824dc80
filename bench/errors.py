"""Errors that a user can act on: each says what is wrong, with the value, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TemperError(Exception):
    """A user error or a problem of the environment. The CLI prints it as one line and exits with 2."""


class ContractError(TemperError):
    """A method broke its contract with the harness; names the method and the clause."""


class Diverged(TemperError):
    """A loss is not finite; `step` is the step at which it happened."""

    def __init__(self, name: str, step: int) -> None:
        super().__init__(f"loss {name!r} is not finite at step {step}")
        self.step = step


class Busy(TemperError):
    """Another process is working on the same trial."""


def unknown(kind: str, name: str, known: Iterable[str]) -> TemperError:
    """The error for a name that is not known, with the nearest known ones."""
    known = sorted(known)
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"
    return TemperError(f"unknown {kind} {name!r}; {hint}")
