"""What honest students look like: how much better or worse they are on one split than on another, measured on the
records that ship (`scripts/calibrate.py`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from bench.records import Model

FILE = Path(__file__).with_suffix(".json")
DEVIATIONS = 4.5  # standard deviations that a student may be off; the farthest honest ones are 3.5


class Line(Model):
    """A difference of two accuracies as a line in one of them, and how honest rows scatter about it."""

    intercept: float
    slope: float
    between: float  # standard deviation of the means of rows
    within: float  # and of the seeds of a row

    def above(self, accuracy: float, difference: float) -> float:
        """How far a difference lies above the line at an accuracy."""
        return difference - self.intercept - self.slope * accuracy

    def allowed(self, seeds: int = 1) -> float:
        """How far the mean of so many seeds of an honest row may lie above it."""
        return DEVIATIONS * math.sqrt(self.between**2 + self.within**2 / seeds)


class Honest(Model):
    """The honest students of a scenario."""

    scenario: str
    students: int
    strong: float  # robust accuracy on validation from which a student was counted: half of the best one's
    gap: Line  # under PGD-20 on test less PGD-10 on validation, in the latter
    seen: Line  # under PGD-10 on test less the same on training images, in the latter; data-free methods left out


@cache
def honest_students() -> Mapping[str, Honest]:
    """By the fingerprint of the scenario that they were trained on."""
    return TypeAdapter(dict[str, Honest]).validate_json(FILE.read_bytes()) if FILE.exists() else {}
