"""The learning curve beside a record: `metrics.jsonl`, a line of JSON for each hundredth of the budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from bench.errors import TemperError
from bench.records import Fraction, Model, Positive

STEPS = 2**53  # beyond this, readers of JSON disagree about an integer


def _shown(name: str) -> str:
    """A name, which people read. Raises ValueError for one that cannot be shown."""
    if not name.isprintable():
        raise ValueError(f"{name!r} is not printable")
    return name


Name = Annotated[str, Field(max_length=200), AfterValidator(_shown)]


class CurveLine(Model):
    """A line of a learning curve, in `metrics.jsonl`."""

    model_config = ConfigDict(strict=True)

    step: Annotated[int, Field(ge=0, le=STEPS)]
    progress: Fraction
    learning_rate: Positive
    passes: Positive  # per training example, until then
    losses: dict[Name, float]  # by network
    metrics: dict[Name, float] = {}  # what else the method measured


def read_curve_lines(file: Path) -> list[CurveLine]:
    """The lines of a learning curve. Raises TemperError that names the file, the line and the field that is wrong."""
    try:
        texts = file.read_bytes().splitlines()
    except OSError as error:
        raise TemperError(f"cannot read {file}: {error.strerror}") from None
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            lines.append(CurveLine.from_json(text))
        except ValueError as error:
            raise TemperError(f"{file} is damaged: line {number}: {error}") from None
    return lines
