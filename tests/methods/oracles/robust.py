"""Formulas of gradient matching, sample-wise weights, dynamic guidance, GKL and CGARD."""

from __future__ import annotations

import copy
import math
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from bench.method import Nets
from tests.methods.oracles.adversarial import adaad, divergence, inner_adaad, probabilities
from tests.methods.oracles.iad import of_label
from tests.methods.setting import CLASSES, EPS, Facts, Golden, network


def inner_rslad(f: Facts, x: Tensor) -> Tensor:
    """KL(p_T(x) || p_S(x')), the target at the clean input."""
    return divergence(probabilities(f.teacher(f.x)), probabilities(f.student(x)))


def rslad(f: Facts, a: float = 5 / 6, scale: float = 1.0) -> dict[str, Tensor]:
    """a KL(p_T(x) || p_S(x')) + (1 - a) KL(p_T(x) || p_S(x))."""
    target = probabilities(f.teacher(f.x))
    adversarial, clean = (divergence(target, probabilities(f.student(x))) for x in (f.x_adv, f.x))
    return {"student": scale * (a * adversarial + (1 - a) * clean)}


def igdm(f: Facts) -> Tensor:
    """KL(softmax(f_T(x+d) - f_T(x-d)) || softmax(f_S(x+d) - f_S(x-d)))."""
    d = f.x_adv - f.x
    teacher = f.teacher(f.x + d) - f.teacher(f.x - d)
    student = f.student(f.x + d) - f.student(f.x - d)
    return divergence(probabilities(teacher), probabilities(student))


def rslad_igdm(f: Facts, alpha: float = 0.9, scale: float = 1.0) -> dict[str, Tensor]:
    return {"student": rslad(f, scale=scale)["student"] + alpha * f.progress * igdm(f)}


def adaad_igdm(f: Facts, alpha: float = 5.0) -> dict[str, Tensor]:
    return {"student": adaad(f)["student"] + alpha * f.progress * igdm(f)}


def saad(f: Facts, alpha: float = 1.0, beta: float = 0.0) -> dict[str, Tensor]:
    """H (KL(p_T(x') || p_S(x')) + alpha e/E KL_IGDM) + beta (1 - H / log C) KL(p_T(x) || p_S(x)), H of p_T(x')."""
    teacher, student, teacher_clean, clean = f.teacher(f.x_adv), f.student(f.x_adv), f.teacher(f.x), f.student(f.x)
    p = probabilities(teacher)
    entropy = -(p * p.log()).sum(1)
    gradient = divergence(probabilities(teacher - teacher_clean), probabilities(student - clean))
    adversarial = divergence(p, probabilities(student)) + alpha * f.progress * gradient
    natural = divergence(probabilities(teacher_clean), probabilities(clean))
    return {"student": entropy * adversarial + beta * (1 - entropy / math.log(CLASSES)) * natural}


def inner_saad(f: Facts, x: Tensor, weight: float = 1.0) -> Tensor:
    """KL(softmax(z) || p_S(x')), z = f_T(x) + e_y weight <grad f_T^y(x), x' - x>."""
    point = f.x.clone().requires_grad_()
    logits = f.teacher(point)
    (slope,) = torch.autograd.grad(of_label(logits, f.y).sum(), point)
    label = nn.functional.one_hot(f.y, CLASSES)
    z = logits.detach() + label * weight * (slope * (x - f.x)).sum((1, 2, 3))[:, None]
    return divergence(probabilities(z), probabilities(f.student(x)))


def swapped(logits: Tensor, label: int) -> Tensor:
    """Logits (C,) with those of the label and of the largest exchanged."""
    order, top = list(range(len(logits))), int(logits.argmax())
    order[label], order[top] = top, label
    return logits[order]


def dgad(f: Facts, b: float = 1.0) -> dict[str, Tensor]:
    """KL(p~_T(x) || p_S(x)) where f_T errs at x, KL(p~_T(x') || p_S(x')) elsewhere; + b MSE of p_S(x'), p_S(x)."""
    clean, adversarial = probabilities(f.student(f.x)), probabilities(f.student(f.x_adv))
    right = [f.teacher(x).argmax(1) == f.y for x in (f.x, f.x_adv)]
    assert {(bool(a), bool(b)) for a, b in zip(*right, strict=True)} == set(product((False, True), repeat=2))
    losses = []
    for i, label in enumerate(f.y.tolist()):
        at_clean, at_adversarial = f.teacher(f.x)[i], f.teacher(f.x_adv)[i]
        target, student = (at_adversarial, adversarial) if right[0][i] else (at_clean, clean)
        losses.append(divergence(probabilities(swapped(target, label)[None]), student[i][None])[0])
    mse = ((adversarial - clean) ** 2).sum(1) / CLASSES
    return {"student": torch.stack(losses) + b * mse}


def teacher_of_all_cases(nets: Nets) -> None:
    """A teacher that is right at x and x', at x alone, at x' alone, and at neither: two examples each at least."""
    nets.teacher.module.load_state_dict(network(117, (6, 8)).state_dict())


def gkl(f: Facts, hard: float = 1.0, soft: float = 1.0, mse: float = 1.0, gamma: float = 0.2) -> dict[str, Tensor]:
    """hard CE(f_S(x), y) + min(1, e / 0.05) [mse wMSE(f_T(x), f_S(x')) + soft CE(p_T(x), p_S(x'))], e the progress and
    the weights of wMSE over the batch's mean."""
    teacher, student = f.teacher(f.x), f.student(f.x_adv)
    sce = -(probabilities(teacher) * probabilities(student).log()).sum(1)
    s = f.state["class_means"][f.y] ** gamma if mse else torch.ones_like(teacher)
    w = s[:, :, None] * s[:, None, :]
    gaps = [z[:, :, None] - z[:, None, :] for z in (teacher, student)]
    wmse = 0.25 * (w * (gaps[0] - gaps[1]) ** 2).sum((1, 2)) / (w.sum() / len(w))
    ce = -of_label(probabilities(f.student(f.x)), f.y).log()
    return {"student": hard * ce + min(1.0, f.progress / 0.05) * (mse * wmse + soft * sce)}


def uneven_means(nets: Nets) -> None:
    """Class means that differ from class to class, each summing to 1."""
    logits = torch.sin(torch.arange(float(CLASSES * CLASSES)).double()).view(CLASSES, CLASSES)
    nets.state["class_means"] = probabilities(3 * logits)


def teachers_input(f: Facts) -> Tensor:
    """x_T'': in the Setting one step from x along the sign of the gradient of both divergences, networks at rest."""
    student = copy.deepcopy(f.student)
    for layer in student.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()  # as they were when `attack` ran
    own = probabilities(student.eval()(f.x)).detach()
    point = f.x.clone().requires_grad_()
    teacher = probabilities(f.teacher(point))
    (slope,) = torch.autograd.grad((divergence(own, teacher) + divergence(teacher, own)).sum() / 2, point)
    return (f.x + EPS * slope.sign()).clamp(0, 1)


def cgard(f: Facts, a: float = 0.7) -> dict[str, Tensor]:
    """(1 - a) KL(p_T(x_T'') || p_S(x_S')) + a KL(p_T(x_S') || p_S(x_S')); x for x_T'' where CE(f_T, y) is larger."""
    student = probabilities(f.student(f.x_adv))
    clean, moved = probabilities(f.teacher(f.x)), probabilities(f.teacher(teachers_input(f)))
    serves = of_label(moved, f.y) >= of_label(clean, f.y)
    assert serves.any() and not serves.all()
    guidance = torch.stack([moved[i] if good else clean[i] for i, good in enumerate(serves)])
    matched = divergence(probabilities(f.teacher(f.x_adv)), student)
    return {"student": (1 - a) * divergence(guidance, student) + a * matched}


def _dgad(**fields: float) -> Golden:
    oracle = partial(dgad, b=fields.get("consistency_weight", 1.0))
    return Golden(oracle, inner_adaad, "gaussian", fields=fields, prepare=teacher_of_all_cases)


def _saad(**fields: float) -> Golden:
    return Golden(partial(saad, **fields), inner_saad, "gaussian", fields=fields)


GOLDEN = {
    "rslad-igdm": [
        Golden(rslad_igdm, inner_rslad, "gaussian"),
        Golden(lambda f: rslad_igdm(f, 3, 0.1), inner_rslad, "gaussian", fields={"alpha": 3.0, "kl_scale": 0.1}),
        Golden(rslad, inner_rslad, "gaussian", progress=0.0),
    ],
    "adaad-igdm": [
        Golden(adaad_igdm, inner_adaad, "gaussian"),
        Golden(lambda f: adaad_igdm(f, 15), inner_adaad, "gaussian", fields={"alpha": 15.0}, progress=1.0),
        Golden(adaad, inner_adaad, "gaussian", progress=0.0),
    ],
    "saad": [
        Golden(saad, inner_saad, "gaussian"),
        _saad(alpha=20.0, beta=0.5),
        _saad(alpha=0.0, beta=0.0),
        _saad(alpha=0.0, beta=0.5),
        Golden(saad, lambda f, x: inner_saad(f, x, 2.0), "gaussian", fields={"linear_weight": 2.0}),
    ],
    "dgad": [_dgad(), _dgad(consistency_weight=3.0), _dgad(consistency_weight=0.0)],
    "gkl": [
        Golden(gkl, inner_rslad, "gaussian"),
        Golden(gkl, inner_rslad, "gaussian", prepare=uneven_means),
        Golden(gkl, inner_rslad, "gaussian", prepare=uneven_means, progress=0.02),
        Golden(
            lambda f: gkl(f, 0.0, 1.5, 7.0, 1.0),
            inner_rslad,
            "gaussian",
            fields={"hard_weight": 0.0, "soft_weight": 1.5, "mse_weight": 7.0, "gamma": 1.0, "warm_up": 0.0},
            prepare=uneven_means,
        ),
        Golden(lambda f: gkl(f, mse=0.0), inner_rslad, "gaussian", fields={"mse_weight": 0.0}),
    ],
    "cgard": [
        Golden(cgard),
        Golden(lambda f: cgard(f, 0.2), fields={"matched_weight": 0.2}),
        Golden(lambda f: adaad(f), fields={"matched_weight": 1.0}),
    ],
}
