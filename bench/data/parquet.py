"""Parquet in the layout of Hugging Face: encoded images in one column, labels in another, in shards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from bench.data.images import decode, image_mode
from bench.data.part import EXAMPLES, Part, check_classes, check_size
from bench.errors import TemperError
from bench.foreign import open_parquet

LABELS = ("label", "fine_label")
ROWS = 1024  # decoded at a time, so that the encoded images need little memory


def read_parquet(folder: Path, shape: tuple[int, ...], classes: int, label: str = "") -> dict[str, Part]:
    """The parts of a folder, or of data/ in it, with train*.parquet and test*.parquet: x is uint8 (N, C, H, W).

    The image column is found by its type; the labels are in the column `label`, or in one of the usual names. Labels
    that are text are numbered in the sorted order of those in the training part, of which there must be `classes`.
    """
    image_mode(shape)
    shards = {name: _shards(folder, name) for name in ("train", "test")}
    numbers = _numbers(shards["train"], label)
    if numbers:
        check_classes(list(numbers), classes, f"the training part in {folder}")
    return {name: _read(paths, shape, label, numbers) for name, paths in shards.items()}


def _shards(folder: Path, part: str) -> list[Path]:
    for root in (folder, folder / "data"):
        shards = sorted(root.glob(f"{part}*.parquet"))
        if shards:
            return shards
    raise TemperError(
        f"no {part}*.parquet in {folder} or in {folder / 'data'}: "
        "give the folder that holds train*.parquet and test*.parquet by --data PATH"
    )


def _numbers(shards: list[Path], label: str) -> dict[str, int]:
    """The number of each label that is text, in sorted order; empty where labels are numbers already."""
    found: set[str] = set()
    for path in shards:
        file = _open(path)
        column = _label_column(file.schema_arrow, path, label)
        if _is_text(file.schema_arrow.field(column).type):
            found |= set(file.read(columns=[column]).column(0).to_pylist()) - {None}
    return {name: number for number, name in enumerate(sorted(found))}


def _read(shards: list[Path], shape: tuple[int, ...], label: str, numbers: Mapping[str, int]) -> Part:
    files = [_open(path) for path in shards]
    total = sum(file.metadata.num_rows for file in files)
    check_size(total, shape, shards[0].parent)
    x, y = torch.empty(total, *shape, dtype=torch.uint8), torch.empty(total, dtype=torch.int64)
    start = 0
    for path, file in zip(shards, files, strict=True):
        stop = start + file.metadata.num_rows
        _fill(x[start:stop], y[start:stop], path, file, label, numbers)
        start = stop
    return x, y


def _open(path: Path) -> pq.ParquetFile:
    try:
        return open_parquet(path, EXAMPLES)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _fill(x: Tensor, y: Tensor, path: Path, file: pq.ParquetFile, label: str, numbers: Mapping[str, int]) -> None:
    """Decode one shard into its place."""
    image, label = _image_column(file.schema_arrow, path), _label_column(file.schema_arrow, path, label)
    row = 0
    try:
        for batch in file.iter_batches(ROWS, columns=[image, label]):
            encoded = batch.column(image)
            if pa.types.is_struct(encoded.type):
                encoded = encoded.field("bytes")
            for content, value in zip(encoded.to_pylist(), batch.column(label).to_pylist(), strict=True):
                if content is None or value is None:
                    raise TemperError(f"row {row} of {path} lacks its {'image' if content is None else 'label'}")
                number = numbers.get(value) if numbers else value
                if not isinstance(number, int):
                    raise TemperError(f"row {row} of {path} has a label {value!r} that the training part lacks")
                x[row] = decode(content, tuple(x.shape[1:]), f"the image in row {row} of {path}")
                y[row] = number
                row += 1
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None


def _image_column(schema: pa.Schema, path: Path) -> str:
    """The first column of bytes, or of structs that have them."""
    for field in schema:
        kind = field.type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return str(field.name)
    raise TemperError(f"{path} has no column of encoded images, only {', '.join(schema.names)}")


def _label_column(schema: pa.Schema, path: Path, label: str) -> str:
    able = [field.name for field in schema if pa.types.is_integer(field.type) or _is_text(field.type)]
    for name in (label,) if label else LABELS:
        if name in able:
            return name
    wanted = label or " or ".join(LABELS)
    raise TemperError(
        f"{path} has no column {wanted} of integers or text, only {', '.join(able) or 'none'}: name it by data.name"
    )


def _is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text, as it is or as a dictionary's."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _damaged(path: Path, error: Exception) -> TemperError:
    return TemperError(f"{path} is not a parquet file, or is damaged: {str(error).splitlines()[0]}; get it again")
