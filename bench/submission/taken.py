"""What a stranger left in a folder: plain files of a bounded size, and of their content what can be."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path

from bench.budget import Meter
from bench.errors import Refused
from bench.learning_curve import STEPS as STEPS
from bench.learning_curve import CurveLine
from bench.records import TrainingRecord

TEXT = 2_000_000  # bytes of a result that is no tensor
NAMES = 200  # of networks in a result, and characters of one


def take(path: Path, limit: int) -> bytes:
    """The bytes of a file that a stranger left: a plain one, no link, of at most `limit` bytes."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Refused(f"it left no {path.name}") from None
    except OSError as error:
        raise Refused(f"{path.name} cannot be taken: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Refused(f"{path.name} is not a plain file")
    with os.fdopen(handle, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise Refused(f"{path.name} has more than {limit:,} bytes")
    return content


def take_curve(path: Path) -> bytes:
    """The lines of a learning curve, with what belongs into them and no more."""
    try:
        lines = [CurveLine.from_json(line) for line in take(path, TEXT).splitlines()]
    except ValueError:
        raise Refused("its learning curve is not valid") from None
    return "".join(json.dumps(line.model_dump()) + "\n" for line in lines).encode()


def take_result(path: Path, examples: int) -> TrainingRecord:
    """What a process says of its training on so many examples: attested, and numbers that go together."""
    try:
        told = TrainingRecord.from_json(take(path, TEXT))
    except ValueError as error:
        raise Refused(f"its result is not valid: {error}") from None
    names = [*told.counts, *told.prices]
    if len(names) > NAMES or any(len(name) > NAMES or not name.isprintable() for name in names):
        raise Refused("its result counts calls of networks with impossible names")
    given = _passes(told) / examples
    if not (told.passes > 0 and math.isclose(told.passes, given, rel_tol=1e-9)):
        raise Refused(f"it says that it spent {told.passes:.1f} passes; its counts and prices give {given:.1f}")
    return told


def _passes(told: TrainingRecord) -> float:
    """What the counts of a result come to; not a number where they come to nothing that can be."""
    if any(not value >= 0 for value in [*told.counts.values(), *told.prices.values()]):
        return math.nan
    meter = Meter(1)
    try:
        meter.restore({"counts": told.counts, "prices": told.prices})
        return meter.passes
    except (KeyError, ValueError, OverflowError):
        return math.nan
