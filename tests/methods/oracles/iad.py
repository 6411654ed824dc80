"""Formulas of introspective adversarial distillation."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.methods.oracles.adversarial import divergence, inner_adaad, probabilities
from tests.methods.setting import Facts, Golden


def of_label(p: Tensor, y: Tensor) -> Tensor:
    return p[torch.arange(len(y)), y]


def inner_ce(f: Facts, x: Tensor) -> Tensor:
    return -of_label(probabilities(f.student(x)), f.y).log()


def akd2(f: Facts, a1: float = 0.5, a2: float = 0.25, t: float = 1.0) -> dict[str, Tensor]:
    """(1 - a1 - a2) CE(f_S(x'), y) + a1 t^2 KL(p_T(x') || p_S(x')) + a2 t^2 KL(p_N(x') || p_S(x'))."""
    student, teacher, natural = f.student(f.x_adv), f.teacher(f.x_adv), f.natural_teacher(f.x_adv)
    hard = -of_label(probabilities(student), f.y).log()
    robust = divergence(probabilities(teacher, t), probabilities(student, t))
    clean = divergence(probabilities(natural, t), probabilities(student, t))
    return {"student": (1 - a1 - a2) * hard + a1 * t**2 * robust + a2 * t**2 * clean}


def ard(f: Facts, t: float, a: float = 1.0, scale: float = 1.0) -> dict[str, Tensor]:
    """a t^2 KL(p_T(x) || p_S(x')) + (1 - a) CE(f_S(x), y)."""
    soft = divergence(probabilities(f.teacher(f.x), t), probabilities(f.student(f.x_adv), t))
    hard = -of_label(probabilities(f.student(f.x)), f.y).log()
    return {"student": a * scale * t**2 * soft + (1 - a) * hard}


def iad1(f: Facts, t: float = 1.0, beta: float = 0.1, a: float = 1.0, scale: float = 1.0) -> dict[str, Tensor]:
    """a t^2 [A KL(p_T(x) || p_S(x')) + (1 - A) KL(p_S(x) || p_S(x'))] + (1 - a) CE(f_S(x), y), A = p_T(x')[y]^beta."""
    trust = of_label(probabilities(f.teacher(f.x_adv)), f.y) ** beta
    student, clean = f.student(f.x_adv), f.student(f.x)
    taught = divergence(probabilities(f.teacher(f.x), t), probabilities(student, t))
    own = divergence(probabilities(clean, t), probabilities(student, t))
    hard = -of_label(probabilities(clean), f.y).log()
    return {"student": a * scale * t**2 * (trust * taught + (1 - trust) * own) + (1 - a) * hard}


def iad2(f: Facts, a1: float = 0.5, a2: float = 0.25, t: float = 1.0, beta: float = 0.1) -> dict[str, Tensor]:
    """AKD2, with KL(p_T(x') || p_S(x')) weighted by A, and KL(p_S(x) || p_S(x')) by 1 - A."""
    teacher, student, clean = f.teacher(f.x_adv), f.student(f.x_adv), f.student(f.x)
    trust = of_label(probabilities(teacher), f.y) ** beta
    taught = divergence(probabilities(teacher, t), probabilities(student, t))
    own = divergence(probabilities(clean, t), probabilities(student, t))
    natural = divergence(probabilities(f.natural_teacher(f.x_adv), t), probabilities(student, t))
    hard = -of_label(probabilities(student), f.y).log()
    soft = a1 * (trust * taught + (1 - trust) * own) + a2 * natural
    return {"student": (1 - a1 - a2) * hard + t**2 * soft}


def adaiad(f: Facts, t: float = 1.0, beta: float = 0.1) -> dict[str, Tensor]:
    """t^2 [A KL(p_T(x') || p_S(x')) + (1 - A) KL(p_S(x) || p_S(x'))]."""
    teacher, student, clean = f.teacher(f.x_adv), f.student(f.x_adv), f.student(f.x)
    trust = of_label(probabilities(teacher), f.y) ** beta
    taught = divergence(probabilities(teacher, t), probabilities(student, t))
    own = divergence(probabilities(clean, t), probabilities(student, t))
    return {"student": t**2 * (trust * taught + (1 - trust) * own)}


def adaiad_early(f: Facts, t: float = 1.0) -> dict[str, Tensor]:
    """t^2 KL(p_T(x') || p_S(x'))."""
    soft = divergence(probabilities(f.teacher(f.x_adv), t), probabilities(f.student(f.x_adv), t))
    return {"student": t**2 * soft}


GOLDEN = {
    "akd2": [
        Golden(akd2, inner_ce, "uniform"),
        Golden(
            lambda f: akd2(f, 0.3, 0.6, 4.0),
            inner_ce,
            "uniform",
            fields={"robust_weight": 0.3, "natural_weight": 0.6, "temperature": 4.0},
        ),
        Golden(lambda f: akd2(f, 0.0), inner_ce, "uniform", fields={"robust_weight": 0.0}),
        Golden(lambda f: akd2(f, a2=0.0), inner_ce, "uniform", fields={"natural_weight": 0.0}),
    ],
    "iad1": [
        Golden(iad1, inner_ce, "uniform"),
        Golden(lambda f: ard(f, 1.0), inner_ce, "uniform", progress=0.29),
        Golden(iad1, inner_ce, "uniform", progress=0.3),
        Golden(
            lambda f: iad1(f, 5.0, 0.7, 0.6, 0.1),
            inner_ce,
            "uniform",
            fields={"temperature": 5.0, "beta": 0.7, "soft_weight": 0.6, "kl_scale": 0.1, "warm_up": 0.0},
            progress=0.0,
        ),
        Golden(lambda f: ard(f, 1.0, 0.6), inner_ce, "uniform", fields={"beta": 0.0, "soft_weight": 0.6}, progress=0.9),
    ],
    "iad2": [
        Golden(iad2, inner_ce, "uniform"),
        Golden(akd2, inner_ce, "uniform", progress=0.19),
        Golden(iad2, inner_ce, "uniform", progress=0.2),
        Golden(
            lambda f: iad2(f, 0.3, 0.6, 4.0, 0.7),
            inner_ce,
            "uniform",
            fields={"robust_weight": 0.3, "natural_weight": 0.6, "temperature": 4.0, "beta": 0.7, "warm_up": 0.6},
            progress=0.7,
        ),
        Golden(akd2, inner_ce, "uniform", fields={"beta": 0.0}),
    ],
    "adaiad": [
        Golden(adaiad, inner_adaad, "gaussian"),
        Golden(adaiad_early, inner_adaad, "gaussian", progress=0.29),
        Golden(adaiad, inner_adaad, "gaussian", progress=0.3),
        Golden(
            lambda f: adaiad(f, 5.0, 0.7),
            inner_adaad,
            "gaussian",
            fields={"temperature": 5.0, "beta": 0.7, "warm_up": 0.6},
            progress=0.6,
        ),
        Golden(adaiad_early, inner_adaad, "gaussian", fields={"beta": 0.0}),
    ],
}
