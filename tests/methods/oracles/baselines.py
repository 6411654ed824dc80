"""Formulas without an adversarially distilled teacher: teacher-free baselines, and distillation on clean inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.method import Nets
from tests.methods.oracles.adversarial import divergence, probabilities
from tests.methods.setting import EPS, Facts, Golden


def entropy_to_label(logits: Tensor, y: Tensor) -> Tensor:
    """-log p[y]."""
    return -probabilities(logits)[torch.arange(len(y)), y].log()


def input_gradient(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Of -log p[y] with respect to x, example by example, itself differentiable."""
    point = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(entropy_to_label(network(point), y).sum(), point, create_graph=True)
    return gradient


def inner_labels(f: Facts, x: Tensor) -> Tensor:
    return entropy_to_label(f.student(x), f.y)


def inner_self(f: Facts, x: Tensor) -> Tensor:
    """KL(p_S(x) || p_S(x')), to the constant at the clean input."""
    return divergence(probabilities(f.student(f.x)).detach(), probabilities(f.student(x)))


def pgd_at(f: Facts) -> dict[str, Tensor]:
    return {"student": entropy_to_label(f.student(f.x_adv), f.y)}


def trades(f: Facts, beta: float = 6.0) -> dict[str, Tensor]:
    """CE(f(x), y) + beta KL(p(x) || p(x'))."""
    clean, adversarial = f.student(f.x), f.student(f.x_adv)
    robust = divergence(probabilities(clean), probabilities(adversarial))
    return {"student": entropy_to_label(clean, f.y) + beta * robust}


def mart(f: Facts, beta: float = 5.0) -> dict[str, Tensor]:
    """CE(f(x'), y) - log(1.0001 - max_{c != y} p_c(x')) + beta KL(p(x) || p(x')) (1 - p_y(x)); no constants."""
    adversarial, clean = probabilities(f.student(f.x_adv)), probabilities(f.student(f.x))
    losses = []
    for p, q, y in zip(clean, adversarial, f.y.tolist(), strict=True):
        wrong = torch.cat([q[:y], q[y + 1 :]]).max()
        divergence_here = (p * (p / q).log()).sum()
        losses.append(-q[y].log() - (1.0001 - wrong).log() + beta * divergence_here * (1 - p[y]))
    return {"student": torch.stack(losses)}


def gradalign(f: Facts, weight: float = 0.2) -> dict[str, Tensor]:
    """CE(f(x + eps sign g), y) + w (1 - cos(g, g')), with g at x, a constant, and g' at x + U(-eps, eps)."""
    f.student.eval()
    at_x = input_gradient(f.student, f.x, f.y).detach()
    f.student.train()
    loss = entropy_to_label(f.student((f.x + EPS * at_x.sign()).clamp(0, 1)), f.y)
    noise = torch.empty_like(f.x).uniform_(-EPS, EPS, generator=f.rng)
    nearby = input_gradient(f.student, (f.x + noise).clamp(0, 1), f.y)
    norms = at_x.square().sum((1, 2, 3)).sqrt() * nearby.square().sum((1, 2, 3)).sqrt()
    return {"student": loss + weight * (1 - (at_x * nearby).sum((1, 2, 3)) / norms)}


def fix_statistics(nets: Nets) -> None:
    """So that eval mode is the same after the loss as before: the oracle asks for it then."""
    for layer in nets.student.module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.0


def kd(f: Facts, teacher: str, t: float = 4.0, a: float = 0.9) -> dict[str, Tensor]:
    """a t^2 KL(p_T^t(x) || p_S^t(x)) + (1 - a) CE(f_S(x), y)."""
    logits = f.student(f.x)
    soft = divergence(probabilities(f.networks[teacher](f.x), t), probabilities(logits, t))
    return {"student": a * t**2 * soft + (1 - a) * entropy_to_label(logits, f.y)}


def kdiga(f: Facts, t: float = 1.0, a: float = 0.5, g: float = 0.5, scale: float = 0.1) -> dict[str, Tensor]:
    """KD, + g || grad_x CE(f_S(x), y) - grad_x CE(f_T(x), y) ||_2."""
    logits = f.student(f.x)
    soft = scale * divergence(probabilities(f.teacher(f.x), t), probabilities(logits, t))
    gap = input_gradient(f.student, f.x, f.y) - input_gradient(f.teacher, f.x, f.y).detach()
    distance = gap.square().sum((1, 2, 3)).sqrt()
    return {"student": a * t**2 * soft + (1 - a) * entropy_to_label(logits, f.y) + g * distance}


GOLDEN = {
    "mart": [
        Golden(mart, inner_labels, "gaussian"),
        Golden(lambda f: mart(f, 0.7), inner_labels, "gaussian", fields={"beta": 0.7}),
        Golden(lambda f: mart(f, 0.0), inner_labels, "gaussian", fields={"beta": 0.0}),
    ],
    "trades-awp": [
        Golden(trades, inner_self, "gaussian"),
        Golden(lambda f: trades(f, 1.5), inner_self, "gaussian", fields={"beta": 1.5, "gamma": 0.01}),
    ],
    "pgd-at-ema": [Golden(pgd_at, inner_labels, "uniform")],
    "fast-at-gradalign": [
        Golden(gradalign, prepare=fix_statistics),
        Golden(lambda f: gradalign(f, 2.0), prepare=fix_statistics, fields={"alignment_weight": 2.0}),
        Golden(lambda f: gradalign(f, 0.0), prepare=fix_statistics, fields={"alignment_weight": 0.0}),
    ],
    "kd-natural": [
        Golden(lambda f: kd(f, "natural_teacher")),
        Golden(lambda f: kd(f, "natural_teacher", 2.0, 0.3), fields={"temperature": 2.0, "soft_weight": 0.3}),
    ],
    "kdiga": [
        Golden(kdiga),
        Golden(
            lambda f: kdiga(f, 3.0, 0.8, 2.0, 0.1),
            fields={"temperature": 3.0, "soft_weight": 0.8, "gradient_weight": 2.0, "kl_scale": 0.1},
        ),
        Golden(
            lambda f: kdiga(f, 2.0, 0.5, 0.0, 0.1),
            fields={"temperature": 2.0, "gradient_weight": 0.0, "kl_scale": 0.1},
        ),
    ],
}
