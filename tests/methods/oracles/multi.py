"""Formulas of distillation from a robust and a natural teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.method import Nets
from tests.methods.oracles.adversarial import divergence, probabilities
from tests.methods.setting import Facts, Golden


def mtard(f: Facts, scale: float = 1.0) -> dict[str, Tensor]:
    """w_adv KL(p_T(x') || p_S(x')) + w_nat KL(p_N(x) || p_S(x)), with weights that lie in the state."""
    return balanced(f, 1.0, 1.0, scale)


def b_mtard(f: Facts) -> dict[str, Tensor]:
    """The same with p_T^t, t = t_adv, and p_N^t, t = t_nat; the student's temperature is 1."""
    return balanced(f, *f.state["temperatures"].tolist())


def balanced(f: Facts, t_adv: float, t_nat: float, scale: float = 1.0) -> dict[str, Tensor]:
    w_adv, w_nat = f.state["loss_weights"].tolist()
    adversarial = divergence(probabilities(f.teacher(f.x_adv), t_adv), probabilities(f.student(f.x_adv)))
    clean = divergence(probabilities(f.natural_teacher(f.x), t_nat), probabilities(f.student(f.x)))
    return {"student": scale * (w_adv * adversarial + w_nat * clean)}


def inner_labels(f: Facts, x: Tensor) -> Tensor:
    """- log p_S(x')[y]."""
    return -probabilities(f.student(x)).gather(1, f.y[:, None]).log().squeeze(1)


def put(**state: list[float]) -> Callable[[Nets], None]:
    """State as after some steps."""

    def prepare(nets: Nets) -> None:
        nets.state |= {name: torch.tensor(values, dtype=torch.float64) for name, values in state.items()}

    return prepare


GOLDEN = {
    "mtard": [
        Golden(mtard, inner_labels, "gaussian"),
        Golden(mtard, inner_labels, "gaussian", prepare=put(loss_weights=[0.7, 0.3])),
        Golden(lambda f: mtard(f, 0.1), inner_labels, "gaussian", fields={"kl_scale": 0.1}),
    ],
    "b-mtard": [
        Golden(mtard, inner_labels, "gaussian"),
        Golden(b_mtard, inner_labels, "gaussian", prepare=put(loss_weights=[0.2, 0.8], temperatures=[2.5, 1.4])),
    ],
}
