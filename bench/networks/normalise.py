"""Normalisation as a layer: every network takes inputs in [0, 1], and a radius means the same for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """(x - mean) / std for each channel of x (B, C, ...). The scenario fixes the constants, so they are no
    weights: they move with the module and stay out of its state dict."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != channels:
                raise ValueError(f"{name} has {len(values)} numbers for {channels} channels")
        if min(std) <= 0:
            raise ValueError(f"std must be positive, got {list(std)}")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.get_default_dtype()), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.get_default_dtype()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        sides = (-1, *(1,) * (x.ndim - 2))
        return (x - self.mean.view(sides)) / self.std.view(sides)


def behind(network: nn.Module, channels: int, constants: Mapping[str, Any]) -> nn.Module:
    """The network in eval mode, behind a normalisation by the constants `mean` and `std`, where there are some.

    Raises ValueError for constants that are none.
    """
    return (nn.Sequential(Normalise(channels, **constants), network) if constants else network).eval()
