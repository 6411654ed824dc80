"""Students of digits-linf whose weights are doctored so that float32 rounds away what their gradients follow."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

HELD = 2.0**24  # above it float32 holds no odd number


@torch.no_grad()
def masked_by_rounding(student: nn.Sequential, x: Tensor, gain: float = 1e6) -> nn.Sequential:
    """A copy in which two channels of the second layer are 2^24 + z with |z| < 1, which float32 holds as 2^24.

    Their difference, 0, feeds a channel of the third layer that is `gain` times as large to its gradients: logits
    hardly change, and gradients point nowhere. The channels are those whose loss changes the logits of x (N, 1, 8, 8)
    least.
    """
    masked = copy.deepcopy(student)
    conv, norm, last, after, head = (masked[k] for k in (3, 4, 6, 7, 10))
    one, other = _least(masked, 4, x)[:2]
    into = _least(masked, 7, x)[0]
    generator = torch.Generator().manual_seed(1)
    last.weight[:, [one, other]] = 0
    conv.weight[one] = torch.randn(conv.weight[one].shape, generator=generator)
    conv.weight[other] = 0
    norm.running_mean[[one, other]], norm.running_var[[one, other]], norm.bias[[one, other]] = 0, 1, HELD
    seen = masked[:4](torch.cat([x, torch.rand(2000, *x.shape[1:], generator=generator)]))
    norm.weight[one], norm.weight[other] = 0.3 / seen[:, one].abs().max(), 1
    last.weight[into] = 0
    last.weight[into, one, 1, 1], last.weight[into, other, 1, 1] = 1, -1
    after.running_mean[into], after.running_var[into], after.weight[into], after.bias[into] = 0, 1, gain, 1
    spread = torch.randn(head.weight[:, :16].shape, generator=generator)
    head.weight[:, 16 * into : 16 * (into + 1)] = spread - spread.mean(1, keepdim=True)
    return masked


@torch.no_grad()
def offset(student: nn.Sequential, size: float = 2.0**21) -> nn.Sequential:
    """A copy whose logits are all larger by so much that float32 holds their differences in quarters."""
    shifted = copy.deepcopy(student)
    shifted[10].bias += size
    return shifted


@torch.no_grad()
def _least(student: nn.Sequential, norm: int, x: Tensor) -> list[int]:
    """The channels after a batch norm, those first whose absence changes the logits of x least."""
    effects = []
    for channel in range(len(student[norm].weight)):
        without = copy.deepcopy(student)
        without[norm].weight[channel] = without[norm].bias[channel] = 0
        effects.append(float((without(x) - student(x)).abs().mean()))
    return sorted(range(len(effects)), key=effects.__getitem__)
