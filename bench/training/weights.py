"""What is done to the student's weights around a method: averaging, adversarial perturbation, the recipe of both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.method import Averaging, Nets


class Strong(NamedTuple):
    """The recipe `strong`, under any method: both are known to lift all methods and to shrink the gaps between them
    (Gowal et al. 2020, arXiv:2010.03593; Wu et al. 2020, arXiv:2004.05884)."""

    averaging: Averaging = Averaging(decay=0.999)
    gamma: float = 5e-3


STRONG = Strong()


@torch.no_grad()
def average(nets: Nets, how: Averaging, progress: float) -> None:
    """Take the student's weights and buffers into `nets.average`, which is the student itself until the start."""
    count = int(nets.state["averaged"])
    keep = count / (count + 1) if how.decay is None else min(how.decay, (1 + count) / (10 + count))
    student = nets.student.module.state_dict()
    for name, mean in nets.average.module.state_dict().items():
        if count and mean.is_floating_point():
            mean.lerp_(student[name], 1 - keep)
        else:
            mean.copy_(student[name])
    if progress >= how.start:
        nets.state["averaged"] = nets.state["averaged"] + 1


def student_gradients(student: nn.Module, loss: Tensor) -> list[Tensor | None]:
    """The gradient of the loss, weight by weight; None where it does not depend on one."""
    return list(torch.autograd.grad(loss, list(student.parameters()), allow_unused=True))


@contextmanager
def moved_weights(student: nn.Module, gradients: list[Tensor | None], gamma: float) -> Iterator[None]:
    """Inside, each weight matrix or kernel w is w + gamma ||w|| g / ||g|| (Wu et al. 2020, Eq. 8 to 10); after it, the
    very bits of before. Biases and batch norm stay."""
    kept = [(weight, weight.detach().clone()) for weight in student.parameters()]
    with torch.no_grad():
        for (weight, before), gradient in zip(kept, gradients, strict=True):
            if weight.ndim > 1 and gradient is not None:
                weight.add_(gradient * (gamma * before.norm() / gradient.norm().clamp_min(1e-20)))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in kept:
                weight.copy_(before)
