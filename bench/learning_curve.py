"""The learning curve beside a record: `metrics.jsonl`, a line of JSON for each hundredth of the budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from bench.errors import TemperError
from bench.files import MEGABYTE, regular
from bench.records import Fraction, Positive
from bench.scenario import Line, Model

CURVE = 10 * MEGABYTE  # of a file
STEPS = 2**53  # beyond this, readers of JSON disagree about an integer


class CurveLine(Model):
    """A line of a learning curve, in `metrics.jsonl`."""

    model_config = ConfigDict(strict=True)

    step: Annotated[int, Field(ge=0, le=STEPS)]
    progress: Fraction
    learning_rate: Positive
    passes: Positive  # per training example, until then
    losses: dict[Line, float]  # by network
    metrics: dict[Line, float] = {}  # what else the method measured


def read_curve_lines(file: Path) -> list[CurveLine]:
    """The lines of a learning curve. Raises TemperError that names the file, the line and the field that is wrong."""
    try:
        texts = regular(file, CURVE).read_bytes().splitlines()
    except OSError as error:
        raise TemperError(f"cannot read {file}: {error.strerror}") from None
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            lines.append(CurveLine.from_json(text))
        except ValueError as error:
            raise TemperError(f"{file} is damaged: line {number}: {error}") from None
    return lines
