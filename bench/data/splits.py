"""Splits: the training, validation and test examples of a scenario, cut for everybody alike and hashed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from bench.data.part import Part
from bench.data.sources import SOURCES
from bench.errors import TemperError, unknown
from bench.hashing import tensor_digest
from bench.scenario import DataSpec
from bench.words import counted

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Examples and their labels: x is uint8 (N, ...), or float32 (N, ...) inside `bounds`; y is int64 (N,)."""

    x: Tensor
    y: Tensor
    bounds: tuple[float, float] = (0.0, 1.0)  # of valid inputs

    def __len__(self) -> int:
        return len(self.y)

    def inputs(self, index: Tensor | slice | None = None) -> Tensor:
        """The examples at `index` (all of them for `None`) as networks take them: float32 inside the bounds, bytes
        from the lower to the upper one; to the bit the same on every device (a GPU multiplies by the inverse of a
        plain number)."""
        x = self.x if index is None else self.x[index]
        if x.dtype != torch.uint8:
            return x
        unit, (low, high) = x.float() / torch.full((), 255.0, device=x.device), self.bounds
        return unit if self.bounds == (0.0, 1.0) else (low + (high - low) * unit).clamp(low, high)

    def first(self, count: int | None) -> Split:
        """The first `count` examples; all of them for None."""
        return replace(self, x=self.x[:count], y=self.y[:count])

    def digest(self) -> str:
        """SHA-256 of the examples as they are stored, and of their labels."""
        return tensor_digest({"x": self.x, "y": self.y})

    def to(self, device: str | torch.device) -> Split:
        """This split on another device."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))


def load(spec: DataSpec, names: Sequence[str] = SPLITS, check: bool = True) -> dict[str, Split]:
    """The splits called `names`, read from the source and cut by `spec.split`.

    Each is a run of a stratified order (see `stratified`): it has the class proportions of what it is cut
    from, and so has every prefix of it. From a pool, training comes first, then validation, then test. Where
    the source has a test part of its own, `test` is cut from that; used whole, it keeps its own order, so
    that outcomes line up with those of other tools.

    Raises TemperError when the source fails, has too few examples, or does not hold what `spec` says (shape,
    classes, range); and, if `check`, when the bytes of a split are not those that `spec.sha256` pins.
    """
    for name in names:
        if name not in SPLITS:
            raise unknown("split", name, SPLITS)
    parts = SOURCES[spec.source](spec)
    for part in parts.values():
        _fits(part, spec)
    cut = _cut(parts, spec)
    splits = {name: _take(parts[cut[name][0]], cut[name][1], spec.bounds) for name in names}
    if check:
        for name, split in splits.items():
            _pinned(name, split, spec)
    return splits


def split_hashes(spec: DataSpec) -> dict[str, str]:
    """SHA-256 of each split as it is on this machine, whatever `spec.sha256` says; loads once per process."""
    return dict(_split_hashes(spec.model_dump_json()))


def stratified(y: Tensor, seed: int) -> Tensor:
    """A random order of the examples, int64 (N,), in which every run has the class proportions of the whole.

    The examples are shuffled. Then the k-th of the n examples of a class moves to the fraction (k + 1/2) / n
    of the way, so that each class is spread evenly; where classes meet, the shuffled order decides. Every run
    thus holds each class in its share, up to rounding. The shuffle sorts raw words of PCG64, whose stream
    NumPy keeps for ever (that of `Generator.permutation` may change), so the splits outlive versions.
    """
    shuffled = np.argsort(np.random.PCG64(seed).random_raw(len(y)), kind="stable")
    labels = y.numpy()[shuffled]
    position = np.empty(len(y))
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        position[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    return torch.from_numpy(shuffled[np.argsort(position, kind="stable")])


@lru_cache
def _split_hashes(spec: str) -> dict[str, str]:
    splits = load(DataSpec.model_validate_json(spec), check=False)
    return {name: split.digest() for name, split in splits.items()}


def _cut(parts: dict[str, Part], spec: DataSpec) -> dict[str, tuple[str, Tensor]]:
    """For each split, the part of the source that it is cut from, and which examples of it."""
    homes = {"train": "train", "validation": "train", "test": "test"}
    if "all" in parts:
        homes = dict.fromkeys(SPLITS, "all")
    cut: dict[str, tuple[str, Tensor]] = {}
    for part, (_, y) in parts.items():
        sizes = {name: getattr(spec.split, name) for name in SPLITS if homes[name] == part}
        _enough(part, len(y), sizes, spec)
        order = torch.arange(len(y)) if sizes == {"test": len(y)} else stratified(y, spec.split.seed)
        runs = order[: sum(sizes.values())].split(list(sizes.values()))
        cut |= {name: (part, run) for name, run in zip(sizes, runs, strict=True)}
    return cut


def _enough(part: str, there: int, sizes: dict[str, int], spec: DataSpec) -> None:
    """Raise TemperError when more examples are asked for than a part has."""
    wanted = sum(sizes.values())
    if wanted > there:
        asked = " + ".join(f"{split} {size}" for split, size in sizes.items())
        raise TemperError(
            f"data.split asks for {asked} = {counted(wanted, 'example')}, "
            f"and part {part!r} of source {spec.source!r} has {there}: ask for fewer"
        )


def _take(part: Part, index: Tensor, bounds: tuple[float, float]) -> Split:
    x, y = part
    return Split(x[index], y[index], bounds)


def _fits(part: Part, spec: DataSpec) -> None:
    """Raise TemperError unless the examples have the shape, the classes and the range that `spec` says."""
    (x, y), source = part, f"source {spec.source!r}"
    if len(x) != len(y) or not len(y):
        found = f"{counted(len(x), 'example')} and {counted(len(y), 'label')}"
        raise TemperError(f"{source} has {found}: it needs one label per example")
    if tuple(x.shape[1:]) != spec.shape:
        raise TemperError(
            f"examples of {source} have shape {list(x.shape[1:])}, and data.shape says {list(spec.shape)}"
        )
    if not 0 <= int(y.min()) <= int(y.max()) < spec.classes:
        raise TemperError(
            f"labels of {source} run from {int(y.min())} to {int(y.max())}, "
            f"and data.classes = {spec.classes} allows 0 to {spec.classes - 1}"
        )
    low, high = spec.bounds
    if x.dtype != torch.uint8 and not (float(x.min()) >= low and float(x.max()) <= high):
        raise TemperError(
            f"inputs of {source} run from {float(x.min()):.4g} to {float(x.max()):.4g}: "
            f"store floats in [{low:g}, {high:g}] (threat.bounds), or bytes (uint8) in 0 to 255"
        )


def _pinned(name: str, split: Split, spec: DataSpec) -> None:
    """Raise TemperError when the bytes of a split are not those that the scenario was made with."""
    found = split.digest()
    expected = next((pin for pinned, pin in spec.sha256.items() if pinned == name), found)
    if expected != found:
        raise TemperError(
            f"the {name} split is not the one of the scenario: expected SHA-256 {expected}, found {found}; "
            "get the data from where the scenario says, or give these a scenario of their own"
        )
