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
    ball around it and inside the bounds, and carries no gradient. Raises ValueError for an objective of another shape,
    or one that does not depend on its input.
    """
    x_adv = threat.start(x, start, generator)
    for _ in range(steps):
        point = x_adv.detach().requires_grad_()
        with torch.enable_grad():
            value = objective(point)
            gradient = _gradient(value, point)
        x_adv = threat.project(x, threat.step(x_adv, gradient, step_size))
    return x_adv.detach()


def _gradient(value: Tensor, point: Tensor) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != point.shape[:1]:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"the objective returned {got}, not ({len(point)},)")
    (gradient,) = torch.autograd.grad(value.sum(), point, allow_unused=True) if value.requires_grad else (None,)
    if gradient is None:
        raise ValueError("the objective does not depend on its input")
    return gradient
