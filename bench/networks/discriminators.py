"""Discriminators: small networks that tell a student's outputs from a teacher's; without modes or batch statistics."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SpectralLinear(nn.Linear):
    """A linear layer divided by its largest singular value (Miyato et al. 2018), estimated by power iteration.

    The estimate moves only in `power_iteration`, so that a forward changes no state.
    """

    u: Tensor
    v: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("u", F.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(inputs), dim=0))
        self.power_iteration(steps=15)

    @torch.no_grad()
    def power_iteration(self, steps: int = 1) -> None:
        """Move the estimate of the singular vectors to those of the present weights."""
        for _ in range(steps):
            self.v.copy_(F.normalize(self.weight.T @ self.u, dim=0))
            self.u.copy_(F.normalize(self.weight @ self.v, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        largest = (self.weight * torch.outer(self.u, self.v)).sum()
        return F.linear(x, self.weight / largest, self.bias)


class MLPDiscriminator(nn.Sequential):
    """Inputs (B, D) to scores (B,): spectrally normalised layers D-width-width-1 with leaky ReLUs."""

    def __init__(self, inputs: int, width: int = 128) -> None:
        super().__init__(
            SpectralLinear(inputs, width),
            nn.LeakyReLU(0.2),
            SpectralLinear(width, width),
            nn.LeakyReLU(0.2),
            SpectralLinear(width, 1),
            nn.Flatten(0),
        )


def power_iteration(discriminator: nn.Module) -> None:
    """One power iteration in every spectrally normalised layer; for `after_step` of a method."""
    for layer in discriminator.modules():
        if isinstance(layer, SpectralLinear):
            layer.power_iteration()
