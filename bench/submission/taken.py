"""What a stranger handed over as text: of its content what can be."""

from __future__ import annotations

import json
import math

from bench.budget import Meter
from bench.errors import Refused
from bench.learning_curve import CurveLine
from bench.records import TrainingRecord

TEXT = 2_000_000  # bytes of a result that is no tensor
NAMES = 200  # of networks in a result


def take_curve(content: bytes) -> bytes:
    """The lines of a learning curve, with what belongs into them and no more."""
    try:
        lines = [CurveLine.from_json(line) for line in content.splitlines()]
    except ValueError:
        raise Refused("its learning curve is not valid") from None
    return "".join(json.dumps(line.model_dump()) + "\n" for line in lines).encode()


def take_result(content: bytes, examples: int) -> TrainingRecord:
    """What a process says of its training on so many examples: attested, and numbers that go together."""
    try:
        told = TrainingRecord.from_json(content)
    except ValueError as error:
        raise Refused(f"its result is not valid: {error}") from None
    names = [*told.counts, *told.prices]
    if len(names) > NAMES:
        raise Refused("its result counts calls of too many networks")
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
