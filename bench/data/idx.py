"""IDX, the format of MNIST and its likes: a magic number, the sizes, then bytes."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from bench.data.part import Part
from bench.errors import TemperError
from bench.files import regular

UNSIGNED_BYTES = 0x08


def read_idx_folder(folder: Path) -> dict[str, Part]:
    """The train and test parts of a folder that holds the four files by their usual names, each perhaps with .gz."""
    return {name: _part(folder, prefix) for name, prefix in (("train", "train"), ("test", "t10k"))}


def read_idx(path: Path, dimensions: int) -> Tensor:
    """An IDX file of unsigned bytes with that many dimensions, as uint8. Raises TemperError when it is damaged."""
    content = _content(path)
    magic = bytes((0, 0, UNSIGNED_BYTES, dimensions))
    if content[:4] != magic:
        raise TemperError(f"{path} is not an IDX file of bytes: it starts with {content[:4].hex()}, not {magic.hex()}")
    start = 4 + 4 * dimensions
    sizes = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    if len(content) != start + math.prod(sizes):
        raise TemperError(
            f"{path} is damaged: its header says {sizes}, {start + math.prod(sizes)} bytes in all, "
            f"and it has {len(content)}; get it again"
        )
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).reshape(sizes)


def _part(folder: Path, prefix: str) -> Part:
    images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"), dimensions=3)
    labels = read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"), dimensions=1)
    return images.unsqueeze(1), labels.long()


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    raise TemperError(f"no {name} or {name}.gz in {folder}: give the folder of the four IDX files by --data PATH")


def _content(path: Path) -> bytearray:
    """The bytes of a file, decompressed."""
    regular(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return bytearray(file.read())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TemperError(f"{path} is damaged or cut short: {error}; get it again") from None
    except OSError as error:
        raise TemperError(f"cannot read {path}: {error.strerror or error}") from None
