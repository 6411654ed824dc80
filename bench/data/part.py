"""What every source gives, and where those that read files find them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from bench.errors import TemperError
from bench.scenario import DataSpec

Part = tuple[Tensor, Tensor]  # x uint8 or float32 (N, ...), y int64 (N,)


def location(spec: DataSpec) -> Path:
    """The file or folder of a source that must be told one. Raises TemperError when it is not told, or not there."""
    if spec.path is None:
        raise TemperError(
            f"data source {spec.source!r} needs to know where the data are: "
            "give --data PATH, or data.path in the scenario"
        )
    if not spec.path.exists():
        raise TemperError(f"no data at {spec.path}: correct --data PATH, or data.path in the scenario")
    return spec.path
