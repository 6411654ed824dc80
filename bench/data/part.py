"""What every source gives, and where those that read files find them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from bench.errors import TemperError
from bench.files import regular
from bench.scenario import DataSpec
from bench.words import counted

Part = tuple[Tensor, Tensor]  # x uint8 or float32 (N, ...), y int64 (N,)
EXAMPLES, BYTES = 10_000_000, 2**36  # of a part: it is held in memory
SHOWN = 12  # names of classes that an error lists


def check_classes(names: Sequence[str], classes: int, where: object) -> None:
    """Raise TemperError where classes that have names are not as many as the scenario says."""
    if len(names) != classes:
        shown = ", ".join([*names[:SHOWN], *(["..."] if len(names) > SHOWN else [])])
        found = counted(len(names), "class", "classes")
        raise TemperError(f"{where} has {found} ({shown or 'none'}), and data.classes = {classes}: correct it")


def location(spec: DataSpec) -> Path:
    """The file or folder of a source that must be told one. Raises TemperError when it is not told, or not there."""
    if spec.path is None:
        raise TemperError(
            f"data source {spec.source!r} needs to know where the data are: "
            "give --data PATH, or data.path in the scenario"
        )
    if not spec.path.exists():
        raise TemperError(f"no data at {spec.path}: correct --data PATH, or data.path in the scenario")
    return spec.path if spec.path.is_dir() else regular(spec.path)


def check_size(examples: int, shape: Sequence[int], where: object) -> None:
    """Raise TemperError where so many examples, a byte an entry, are more than a part can have."""
    if examples > EXAMPLES or examples * math.prod(shape) > BYTES:
        raise TemperError(
            f"{where} says that it has {examples:,} examples of {list(shape)}; a part has at most {EXAMPLES:,}, "
            f"and {BYTES:,} bytes"
        )
