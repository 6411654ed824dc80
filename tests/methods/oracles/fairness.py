"""Formulas of adversarial distillation that treats classes apart."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.method import Nets
from tests.methods.oracles.adversarial import divergence, probabilities
from tests.methods.setting import Facts, Golden

WEIGHTS = [0.9, 5 / 6, 2.5, 1.0, 1.7]  # of the five classes
TEMPERATURES = [[0.5, 2.0], [1.0, 1.3], [5.0, 0.7], [1.2, 1.2], [0.8, 3.0]]  # adversarial and clean


def rslad(f: Facts, a: float = 5 / 6) -> Tensor:
    """a KL(p_T(x) || p_S(x')) + (1 - a) KL(p_T(x) || p_S(x))."""
    target = probabilities(f.teacher(f.x))
    adversarial, clean = (divergence(target, probabilities(f.student(x))) for x in (f.x_adv, f.x))
    return a * adversarial + (1 - a) * clean


def fair_rslad(f: Facts, a: float = 5 / 6) -> dict[str, Tensor]:
    """w_y times RSLAD's loss."""
    w = torch.tensor([f.state["class_weights"][label].item() for label in f.y.tolist()], dtype=torch.float64)
    return {"student": w * rslad(f, a)}


def softened(f: Facts, column: int) -> Tensor:
    """softmax(f_T(x) / T_y), each example at the temperature of its class."""
    rows = []
    for logits, label in zip(f.teacher(f.x), f.y.tolist(), strict=True):
        rows.append(probabilities(logits[None], f.state["temperatures"][label, column].item()))
    return torch.cat(rows)


def absld(f: Facts, a: float = 5 / 6, scale: float = 1.0) -> dict[str, Tensor]:
    """a KL(p_T^{T_y^adv}(x) || p_S(x')) + (1 - a) KL(p_T^{T_y^nat}(x) || p_S(x))."""
    adversarial = divergence(softened(f, 0), probabilities(f.student(f.x_adv)))
    clean = divergence(softened(f, 1), probabilities(f.student(f.x)))
    return {"student": scale * (a * adversarial + (1 - a) * clean)}


def inner_rslad(f: Facts, x: Tensor) -> Tensor:
    """KL(p_T(x) || p_S(x'))."""
    return divergence(probabilities(f.teacher(f.x)), probabilities(f.student(x)))


def inner_absld(f: Facts, x: Tensor) -> Tensor:
    """KL(p_T^{T_y^adv}(x) || p_S(x'))."""
    return divergence(softened(f, 0), probabilities(f.student(x)))


def weigh(nets: Nets) -> None:
    nets.state["class_weights"] = torch.tensor(WEIGHTS, dtype=torch.float64)


def warm(nets: Nets) -> None:
    nets.state["temperatures"] = torch.tensor(TEMPERATURES, dtype=torch.float64)


GOLDEN = {
    "fair-rslad": [
        Golden(lambda f: {"student": rslad(f)}, inner_rslad, "gaussian"),
        Golden(fair_rslad, inner_rslad, "gaussian", prepare=weigh),
        Golden(
            lambda f: fair_rslad(f, 0.6), inner_rslad, "gaussian", prepare=weigh, fields={"adversarial_weight": 0.6}
        ),
    ],
    "absld": [
        Golden(lambda f: {"student": rslad(f)}, inner_rslad, "gaussian"),
        Golden(absld, inner_absld, "gaussian", prepare=warm),
        Golden(
            lambda f: absld(f, 0.6, 0.1),
            inner_absld,
            "gaussian",
            prepare=warm,
            fields={"adversarial_weight": 0.6, "kl_scale": 0.1},
        ),
    ],
}
