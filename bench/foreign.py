"""Files that anybody may have made: how much they hold is in their first or last bytes, and is looked at first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import TemperError
from bench.files import regular
from bench.words import LONGEST

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    from torch import Tensor

ROWS, COLUMNS = 1_000_000, 200  # of a table with a row for each test example: no scenario has more
TENSORS, HEADER = 20_000, 8_000_000  # of a safetensors file: how many, and the bytes that describe them
DIMENSIONS, LARGEST = 16, 2**40  # of one tensor: how many, and the entries that they come to


def open_parquet(path: Path, rows: int) -> pq.ParquetFile:
    """A parquet file, of which the footer alone is read: it has at most so many rows, and COLUMNS columns.

    Raises TemperError for one that has more, or that is no regular file; pyarrow's errors for a damaged one.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(regular(path))
    for what, found, most in (("rows", file.metadata.num_rows, rows), ("columns", file.metadata.num_columns, COLUMNS)):
        if not 0 <= found <= most:
            raise TemperError(f"{path} says that it has {found:,} {what}; at most {most:,} are read")
    return file


def read_table(path: Path, rows: int = ROWS) -> pd.DataFrame:
    """A parquet file of at most so many rows whose columns are numbers, truth values and short texts.

    Raises TemperError for any other; pyarrow's errors for a damaged one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_parquet(path, rows) as file:
        schema = file.schema_arrow
    for field in schema:
        if not (pa.types.is_primitive(field.type) or _is_text(field.type)):
            raise TemperError(f"{path} has a column of {field.type}, {field.name!r}; it may have numbers and texts")
    texts = [field.name for field in schema if _is_text(field.type)]
    table = pq.read_table(path, read_dictionary=texts)  # so that a text that all rows share is in memory once
    for name in texts:
        table = _spelled_out(table, name, schema, path)
    return table.to_pandas()


def read_tensors(path: Path, limit: int | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file of at most `limit` bytes, on the CPU.

    Raises TemperError for one that says that it holds more than such files do; OSError and SafetensorError as the
    library does.
    """
    from safetensors.torch import load_file

    _check_header(regular(path, limit))
    return load_file(path)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _spelled_out(table: pa.Table, name: str, schema: pa.Schema, path: Path) -> pa.Table:
    """The table with a column of texts instead of numbers of texts. Raises TemperError where one is long."""
    import pyarrow.compute as pc

    place = table.schema.get_field_index(name)
    column = table.column(place)
    for chunk in column.chunks:
        if (pc.max(pc.utf8_length(chunk.dictionary)).as_py() or 0) > LONGEST:
            raise TemperError(f"{path} has a text of over {LONGEST} characters in the column {name!r}")
    return table.set_column(place, name, column.cast(schema.field(name).type))


def _check_header(path: Path) -> None:
    """Raise TemperError for a header of too many bytes or tensors; one that is none is left to the library."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > path.stat().st_size:
            return  # no safetensors file, or cut short
        if size > HEADER:
            raise TemperError(f"{path} has a header of {size:,} bytes; at most {HEADER:,} are read")
        raw = file.read(size)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        return
    if not isinstance(header, dict):
        return
    if len(header) > TENSORS:
        raise TemperError(f"{path} says that it has {len(header):,} tensors; at most {TENSORS:,} are read")
    for name, tensor in header.items():
        if name != "__metadata__" and not _sane(tensor):
            raise TemperError(f"{path} has a tensor {name[:LONGEST]!r} of a shape that no tensor can have")


def _sane(tensor: Any) -> bool:
    """Whether what a header says of a tensor has a shape that can be."""
    shape = tensor.get("shape") if isinstance(tensor, dict) else None
    if not isinstance(shape, list) or len(shape) > DIMENSIONS:
        return False
    entries = 1
    for length in shape:
        if type(length) is not int or not 0 <= length <= LARGEST:
            return False
        entries *= max(length, 1)
    return entries <= LARGEST
