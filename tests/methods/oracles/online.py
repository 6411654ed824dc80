"""Formulas of students that learn from themselves, or from networks that are trained with them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bench.method import Nets
from tests.methods.oracles.adversarial import divergence, probabilities
from tests.methods.oracles.baselines import entropy_to_label, inner_labels, inner_self
from tests.methods.setting import Facts, Golden, network


def own_weights(*names: str) -> Callable[[Nets], None]:
    """Weights of their own for networks of the student's architecture, which the setting makes all alike."""

    def prepare(nets: Nets) -> None:
        for seed, name in enumerate(names, start=11):
            nets.networks[name].module.load_state_dict(network(seed).state_dict())

    return prepare


def entropy_to(target: Tensor, logits: Tensor, t: float = 1.0) -> Tensor:
    """- sum target log p^t."""
    return -(target * probabilities(logits, t).log()).sum(1)


def kd_swa(f: Facts, natural: float = 0.1, robust: float = 0.6, t: float = 2.0) -> dict[str, Tensor]:
    """(1 - a - b) CE(f_S(x'), y) + t^2 (a CE(p_N^t(x'), p_S^t(x')) + b CE(p_R^t(x'), p_S^t(x')))."""
    logits = f.student(f.x_adv)
    loss = (1 - natural - robust) * entropy_to_label(logits, f.y)
    if natural:
        loss = loss + natural * t**2 * entropy_to(probabilities(f.self_natural(f.x_adv), t), logits, t)
    if robust:
        loss = loss + robust * t**2 * entropy_to(probabilities(f.self_robust(f.x_adv), t), logits, t)
    return {"student": loss}


def rectified(f: Facts, temperature: float, trust: float) -> Tensor:
    """l p + (1 - l) onehot(y), where p = softmax(f_E(x) / t) and l = clip(trust - (max p - p[y]), 0, 1)."""
    rows = []
    for p, y in zip(probabilities(f.average(f.x), temperature).detach(), f.y.tolist(), strict=True):
        share = min(1.0, max(0.0, trust - (p.max() - p[y]).item()))
        row = share * p
        row[y] += 1 - share
        rows.append(row)
    return torch.stack(rows)


def annealed(start: float, end: float, progress: float) -> float:
    return start + (end - start) * math.sin(math.pi * progress / 2) ** 2


def adr_labels(f: Facts, t: tuple[float, float] = (2.5, 2.0), trust: tuple[float, float] = (0.7, 0.95)) -> Tensor:
    return rectified(f, annealed(*t, f.progress), annealed(*trust, f.progress))


def adr(f: Facts) -> dict[str, Tensor]:
    """CE(f_S(x'), P), with the rectified labels P of the average at x."""
    return {"student": entropy_to(adr_labels(f), f.student(f.x_adv))}


def inner_adr(f: Facts, x: Tensor) -> Tensor:
    return entropy_to(adr_labels(f), f.student(x))


OTHER_ADR = {"temperature_start": 1.5, "temperature_end": 0.5, "trust_start": 0.2, "trust_end": 1.4}


def other_adr_labels(f: Facts) -> Tensor:
    return adr_labels(f, (1.5, 0.5), (0.2, 1.4))


def peeraid(
    f: Facts,
    t: float = 5.0,
    student: tuple[float, float, float] = (0.0, 1.0, 1.0),
    u: float = 1.0,
    peer: tuple[float, float] = (1.0, 0.1),
    scale: float = 0.1,
) -> dict[str, Tensor]:
    """l1 CE(f_S(x'), y) + l2 t^2 KL(p_P^t(x') || p_S^t(x')) + l3 t^2 KL(p_S^t(x) || p_S^t(x')) for the student, and
    g1 CE(f_P(x'), y) + g2 u^2 KL(p_S^u(x') || p_P^u(x')) for the peer."""
    s, clean, p = f.student(f.x_adv), f.student(f.x), f.peer(f.x_adv)
    from_peer = divergence(probabilities(p, t).detach(), probabilities(s, t))
    from_self = divergence(probabilities(clean, t), probabilities(s, t))
    from_student = divergence(probabilities(s, u).detach(), probabilities(p, u))
    soft = scale * t**2 * (student[1] * from_peer + student[2] * from_self)
    return {
        "student": student[0] * entropy_to_label(s, f.y) + soft,
        "peer": peer[0] * entropy_to_label(p, f.y) + scale * peer[1] * u**2 * from_student,
    }


def inner_peer(f: Facts, x: Tensor) -> Tensor:
    """KL(p_P(x) || p_S(x')), to the peer's constant at the clean input."""
    return divergence(probabilities(f.peer(f.x)).detach(), probabilities(f.student(x)))


def lbgat(f: Facts, beta: float = 0.0) -> dict[str, Tensor]:
    """MSE(f_S(x'), f_G(x)) + beta KL(p_S(x) || p_S(x')), and CE(f_G(x), y) + MSE(f_S(x'), f_G(x)); MSE over classes."""
    adversarial, guide = f.student(f.x_adv), f.guide(f.x)
    squares = (adversarial - guide) ** 2 / guide.shape[1]
    student = squares.sum(1)
    if beta:
        student = student + beta * divergence(probabilities(f.student(f.x)), probabilities(adversarial))
    return {"student": student, "guide": entropy_to_label(guide, f.y) + squares.sum(1)}


GOLDEN = {
    "kd-swa": [
        Golden(kd_swa, inner_labels, "uniform", prepare=own_weights("self_natural", "self_robust")),
        Golden(
            lambda f: kd_swa(f, 0.4, 0.0, 3.0),
            inner_labels,
            "uniform",
            fields={"natural_weight": 0.4, "robust_weight": 0.0, "temperature": 3.0},
        ),
        Golden(
            lambda f: kd_swa(f, 0.0, 1.0), inner_labels, "uniform", fields={"natural_weight": 0, "robust_weight": 1}
        ),
    ],
    "adr": [
        *(Golden(adr, inner_adr, "uniform", progress=progress) for progress in (0.0, 0.4, 1.0)),
        Golden(
            lambda f: {"student": entropy_to(other_adr_labels(f), f.student(f.x_adv))},
            lambda f, x: entropy_to(other_adr_labels(f), f.student(x)),
            "uniform",
            fields=OTHER_ADR,
            progress=0.8,
        ),
    ],
    "peeraid": [
        Golden(peeraid, inner_peer, "gaussian"),
        Golden(
            lambda f: peeraid(f, 2.0, (0.3, 0.7, 0.5), 3.0, (0.6, 1.7), 0.1),
            inner_peer,
            "gaussian",
            fields={
                "temperature": 2.0,
                "hard_weight": 0.3,
                "soft_weight": 0.7,
                "consistency_weight": 0.5,
                "peer_temperature": 3.0,
                "peer_hard_weight": 0.6,
                "peer_soft_weight": 1.7,
                "kl_scale": 0.1,
            },
        ),
        Golden(
            lambda f: peeraid(f, student=(0.0, 1.0, 0.0), peer=(1.0, 0.0)),
            inner_peer,
            "gaussian",
            fields={"consistency_weight": 0.0, "peer_soft_weight": 0.0},
        ),
    ],
    "lbgat": [
        Golden(lbgat, inner_self, "gaussian"),
        Golden(lambda f: lbgat(f, 6.0), inner_self, "gaussian", fields={"beta": 6.0}),
    ],
}
