"""A normalisation of the inputs in a checkpoint: its mean and std, by the names that people give to these buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.networks.checkpoints.states import rank

PAIRS = (("mean", "std"), ("mean", "sigma"), ("mean", "stdev"), ("mu", "sigma"), ("mu", "std"))
NEVER = ("running_mean", "num_batches_tracked")


class Normalisation(NamedTuple):
    """The names of the two tensors, and a number per channel of each, for inputs in [0, 1]."""

    names: tuple[str, str]
    mean: list[float]
    std: list[float]
    note: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """The options of `build`."""
        return {"mean": self.mean, "std": self.std}

    @property
    def numbers(self) -> str:
        """The same as `--normalise` takes it."""
        return ",".join(f"{number:.7g}" for number in (*self.mean, *self.std))


def normalisations(tensors: Mapping[str, Tensor], channels: int) -> list[Normalisation]:
    """All pairs of a mean and a std for so many channels (or one number for all) that stand side by side."""
    found = []
    for name in sorted(tensors, key=lambda name: rank(name.rpartition(".")[0])):
        for beside in _beside(name):
            if beside in tensors:
                means, stds = _numbers(tensors[name], channels), _numbers(tensors[beside], channels)
                if means and stds and min(stds) > 0:
                    found.append(_in_unit_range((name, beside), means, stds))
    return found


def _beside(name: str) -> list[str]:
    """The names that a std may have beside a mean of this name: `image_mean` and `image_std`; none for another name."""
    parent, dot, last = name.rpartition(".")
    if last in NEVER:
        return []
    words = {word.removesuffix("s") for word in last.split("_")}
    return [parent + dot + last.replace(mean, std) for mean, std in PAIRS if mean in words]


def said(mean: Sequence[float], std: Sequence[float]) -> str:
    """A normalisation in words."""
    return f"mean {', '.join(f'{m:.7g}' for m in mean)} and std {', '.join(f'{s:.7g}' for s in std)}"


def _numbers(tensor: Tensor, channels: int) -> list[float]:
    """A number per channel, or nothing where the tensor is none of (), (1,), (C,), (C, 1, 1), (1, C, 1, 1)."""
    if tensor.is_meta or tensor.is_quantized or tensor.layout != torch.strided:
        return []
    sides = [side for side in tensor.shape if side != 1]
    if sides not in ([], [channels]) or tensor.ndim > 5 or tensor.is_complex() or not tensor.double().isfinite().all():
        return []
    numbers = [float(f"{number:.7g}") for number in tensor.double().flatten().tolist()]
    return numbers * channels if len(numbers) == 1 else numbers


def _in_unit_range(names: tuple[str, str], means: list[float], stds: list[float]) -> Normalisation:
    """Constants for pixels up to 255 count as a 255th: our inputs are in [0, 1]."""
    if max(means) <= 2 or min(stds) < 1:
        return Normalisation(names, means, stds)
    mean, std = ([round(number / 255, 7) for number in numbers] for numbers in (means, stds))
    return Normalisation(names, mean, std, note=f" ({said(means, stds)} in the file are for pixels from 0 to 255)")
