"""SHA-256 of canonical JSON, of files and of tensors; and random streams keyed by a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Generator, Tensor


def digest(value: Any) -> str:
    """SHA-256 of `value` as JSON with sorted keys and no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, dtypes and bytes of tensors, in the order of their names."""
    import torch

    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype};".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def label_digest(labels: ArrayLike) -> str:
    """SHA-256 of labels (N,), as 64-bit integers with the lowest byte first."""
    import numpy as np

    return hashlib.sha256(np.asarray(labels, "<i8").tobytes()).hexdigest()


def derive(*key: object) -> int:
    """A 63-bit seed that depends on every part of the key and on nothing else."""
    return int(digest([str(part) for part in key])[:16], 16) >> 1


def rng(seed: int, purpose: str, step: int = 0, device: str = "cpu") -> Generator:
    """The random stream of one purpose (`initialisation`, `order`, `augmentation`, `attack`, `method`) at one step.

    Streams are separate, so that a change in one leaves the others as they were, and stateless, so that a
    resumed run draws what an uninterrupted one would have drawn.
    """
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, purpose, step))
