"""Networks that tests and benchmarks attack."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def adversarially_trained(module: nn.Module, x: Tensor, y: Tensor, steps: int, eps: float = 0.15) -> nn.Module:
    """Some steps of adversarial training with 3 PGD steps each, written out; frozen."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        optimiser = torch.optim.SGD(module.parameters(), 0.05, 0.9)
        for _ in range(steps):
            index = torch.randint(len(x), (64,))
            point = x[index] + eps * (2 * torch.rand_like(x[index]) - 1)
            for _ in range(3):
                point = point.clamp(0, 1).detach().requires_grad_()
                (gradient,) = torch.autograd.grad(F.cross_entropy(module.eval()(point), y[index]), point)
                point = (point + eps / 2 * gradient.sign()).clamp(x[index] - eps, x[index] + eps)
            optimiser.zero_grad()
            F.cross_entropy(module.train()(point.clamp(0, 1).detach()), y[index]).backward()
            optimiser.step()
    return module.eval().requires_grad_(False)
