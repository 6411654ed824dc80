"""Formulas of adversarial distillation from one robust teacher."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.methods.setting import Facts, Golden


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    return torch.exp(logits / temperature) / torch.exp(logits / temperature).sum(1, keepdim=True)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q), summed over classes."""
    return (p * (p.log() - q.log())).sum(1)


def adaad(f: Facts, a: float = 1.0) -> dict[str, Tensor]:
    """a KL(p_T(x') || p_S(x')) + (1 - a) KL(p_T(x) || p_S(x))."""
    adversarial = divergence(probabilities(f.teacher(f.x_adv)), probabilities(f.student(f.x_adv)))
    if a == 1:
        return {"student": adversarial}
    clean = divergence(probabilities(f.teacher(f.x)), probabilities(f.student(f.x)))
    return {"student": a * adversarial + (1 - a) * clean}


def inner_adaad(f: Facts, x: Tensor) -> Tensor:
    """KL(p_T(x') || p_S(x')), whose gradient goes through both networks."""
    return divergence(probabilities(f.teacher(x)), probabilities(f.student(x)))


GOLDEN = {
    "adaad": [
        Golden(adaad, inner_adaad, "gaussian"),
        Golden(lambda f: adaad(f, 0.6), inner_adaad, "gaussian", fields={"adversarial_weight": 0.6}),
    ],
}
