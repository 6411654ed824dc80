"""Projected gradient ascent: the one loop behind the inner maximisation, the selection, PGD-20 and CW-Linf."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from bench.threat import Start, Threat

Objective = Callable[[Tensor], Tensor]


def ascend(
    objective: Objective,
    x: Tensor,
    threat: Threat,
    *,
    steps: int,
    step_size: float,
    start: Start = "uniform",
    generator: Generator | None = None,
) -> Tensor:
    """The last of `steps` projected ascent steps on `objective`, per example (Madry et al. 2018, Eq. 2).

    `objective` maps inputs (B, ...) to what is maximised, shape (B,). The result has the shape of `x`, lies in the
    ball around it and inside the bounds, and carries no gradient. Raises ValueError for an objective of another shape.
    """
    x_adv = threat.start(x, start, generator)
    for _ in range(steps):
        point = x_adv.detach().requires_grad_()
        with torch.enable_grad():
            value = objective(point)
            if value.shape != x.shape[:1]:
                raise ValueError(f"the objective returned shape {tuple(value.shape)}, not ({len(x)},)")
            (gradient,) = torch.autograd.grad(value.sum(), point)
        x_adv = threat.project(x, threat.step(x_adv, gradient, step_size))
    return x_adv.detach()
