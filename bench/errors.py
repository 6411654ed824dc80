"""Errors that a user can act on: each says what is wrong, with the value, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from bench.words import printable

NEAR = 0.54  # of 1: how alike two names are, of which one is suggested for the other
SHOWN = 12  # known names that an error lists


class TemperError(Exception):
    """A user error or a problem of the environment. The CLI prints it as one line and exits with 2.

    The words may hold a stranger's; they are made printable.
    """

    def __init__(self, words: str = "") -> None:
        super().__init__(printable(words))


class ContractError(TemperError):
    """A method broke its contract with the harness; names the method and the clause."""


class Diverged(TemperError):
    """A loss is not finite; `step` is the step at which it happened."""

    def __init__(self, name: str, step: int) -> None:
        super().__init__(f"loss {name!r} is not finite at step {step}")
        self.step = step


class Busy(TemperError):
    """Another process is working on the same trial."""


class Refused(TemperError):
    """A submission was stopped, or cannot be taken, by its own fault."""


class Problem(str):
    """What went wrong with a trial, in a line; whether a submission was refused, or something here failed."""

    refused = False


def unknown(kind: str, name: str, known: Iterable[str], otherwise: str = "") -> TemperError:
    """The error for a name that is not known, with those that are near; where none is, the first known ones, and what
    else may be the matter."""
    names = sorted(known)
    if near := difflib.get_close_matches(name.lower(), names, n=3, cutoff=NEAR):
        return TemperError(f"unknown {kind} {name!r}; did you mean {' or '.join(near)}?")
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    hint = f"known: {', '.join(names[:SHOWN]) or 'none'}{more}"
    return TemperError("; ".join(filter(None, [f"unknown {kind} {name!r}", otherwise, hint])))
