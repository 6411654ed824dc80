"""Formulas of the textbook ways to put adversarial examples into distillation."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.methods.oracles.adversarial import divergence, probabilities
from tests.methods.setting import EPS, Facts, Golden


def ce(logits: Tensor, y: Tensor) -> Tensor:
    return -probabilities(logits).log()[torch.arange(len(y)), y]


def soft(f: Facts, x: Tensor, t: float) -> Tensor:
    """t^2 KL(p_T^t(x) || p_S^t(x)), at a constant x."""
    return t**2 * divergence(probabilities(f.teacher(x).detach(), t), probabilities(f.student(x), t))


def akd_inputs(f: Facts, t: float = 4.0, w: float = 0.5) -> dict[str, Tensor]:
    """(1 - w) t^2 KL(p_T(x) || p_S(x)) + w t^2 KL(p_T(x') || p_S(x'))."""
    return {"student": (1 - w) * soft(f, f.x, t) + w * soft(f, f.x_adv, t)}


def akd_loss(f: Facts, t: float = 4.0, a: float = 0.9, w: float = 1.0) -> dict[str, Tensor]:
    """a t^2 KL(p_T^t(x) || p_S^t(x)) + (1 - a) CE(f_S(x), y) + w CE(f_S(x'), y)."""
    return {"student": a * soft(f, f.x, t) + (1 - a) * ce(f.student(f.x), f.y) + w * ce(f.student(f.x_adv), f.y)}


def akd_gan(f: Facts, t: float = 4.0, w: float = 0.5, weight: float = 1.0) -> dict[str, Tensor]:
    """L_S as akd-inputs at x' = x + eps tanh(g(x)) in the bounds; L_G = -CE(f_T(x'), y) - log D(x');
    L_D = -log D(x) - log(1 - D(x')), means over patches."""
    moved = (f.x + EPS * f.generator(f.x)).clamp(0, 1)
    fixed = moved.detach()
    student = (1 - w) * soft(f, f.x, t) + w * soft(f, fixed, t)
    fooled = ce(f.teacher(moved), f.y)
    if weight == 0:
        return {"student": student, "generator": -fooled}

    def real(x: Tensor) -> Tensor:
        return 1 / (1 + torch.exp(-f.discriminator(x)))

    return {
        "student": student,
        "generator": -fooled - weight * real(moved).log().mean(1),
        "discriminator": -real(f.x).log().mean(1) - (1 - real(fixed)).log().mean(1),
    }


def against_the_teacher(f: Facts, x: Tensor) -> Tensor:
    """CE(f_T(x'), y)."""
    return ce(f.teacher(x), f.y)


def against_the_student(f: Facts, x: Tensor) -> Tensor:
    """CE(f_S(x'), y)."""
    return ce(f.student(x), f.y)


GOLDEN = {
    "akd-inputs": [
        Golden(akd_inputs, against_the_teacher, "uniform"),
        Golden(
            lambda f: akd_inputs(f, 2.0, 0.8),
            against_the_teacher,
            "uniform",
            fields={"temperature": 2.0, "adversarial_weight": 0.8},
        ),
    ],
    "akd-loss": [
        Golden(akd_loss, against_the_student, "uniform"),
        Golden(
            lambda f: akd_loss(f, 2.0, 0.7, 0.3),
            against_the_student,
            "uniform",
            fields={"temperature": 2.0, "soft_weight": 0.7, "adversarial_weight": 0.3},
        ),
    ],
    "akd-gan": [
        Golden(akd_gan),
        Golden(
            lambda f: akd_gan(f, 2.0, 0.8, 0.3),
            fields={"temperature": 2.0, "adversarial_weight": 0.8, "gan_weight": 0.3, "width": 8},
        ),
        Golden(lambda f: akd_gan(f, weight=0.0), fields={"gan_weight": 0.0}),
    ],
}
