"""Formulas of distillation with a discriminator, and without data."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tests.methods.oracles.adversarial import divergence, probabilities
from tests.methods.setting import Facts, Golden


def rslad(f: Facts, a: float = 5 / 6) -> Tensor:
    """a KL(p_T(x) || p_S(x')) + (1 - a) KL(p_T(x) || p_S(x))."""
    target = probabilities(f.teacher(f.x))
    adversarial, clean = (divergence(target, probabilities(f.student(x))) for x in (f.x_adv, f.x))
    return a * adversarial + (1 - a) * clean


def inner_rslad(f: Facts, x: Tensor) -> Tensor:
    """KL(p_T(x) || p_S(x'))."""
    return divergence(probabilities(f.teacher(f.x)), probabilities(f.student(x)))


def features(network: nn.Module, x: Tensor) -> Tensor:
    """(B, D, H, W): all but the last two layers, which flatten and classify."""
    assert isinstance(network, nn.Sequential)
    return network[:-2](x)


def narrowed(h: Tensor, width: int) -> Tensor:
    """Means over the map; then channel i of `width` is the mean of those from floor(i D / width) up to
    ceil((i + 1) D / width)."""
    h = h.sum((2, 3)) / (h.shape[2] * h.shape[3])
    ends = [(i * h.shape[1] // width, math.ceil((i + 1) * h.shape[1] / width)) for i in range(width)]
    return torch.stack([h[:, a:b].sum(1) / (b - a) for a, b in ends], dim=1)


def logged(logits: Tensor, t: float) -> Tensor:
    return probabilities(logits, t).log()


def lam(f: Facts, weight: float) -> float:
    """The weight of the adversarial term, which ramps up over the first tenth."""
    return weight * min(f.progress / 0.1, 1)


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - D(real)) + max(0, 1 + D(fake))."""
    zero = torch.zeros_like(real)
    return torch.maximum(zero, 1 - real) + torch.maximum(zero, 1 + fake)


def labelled(f: Facts, inputs: Tensor) -> Tensor:
    """D(u_i, y_i) from a discriminator that scores every label."""
    return torch.stack([row[label] for row, label in zip(f.discriminator(inputs), f.y.tolist(), strict=True)])


def gkd_cond(f: Facts, weight: float = 0.1, t: float = 4.0) -> dict[str, Tensor]:
    """RSLAD - lambda D(u_S(x'), y), u = log softmax(f / t)."""
    real, fake = logged(f.teacher(f.x), t), logged(f.student(f.x_adv), t)
    return {
        "student": rslad(f) - lam(f, weight) * labelled(f, fake),
        "discriminator": hinge(labelled(f, real), labelled(f, fake.detach())),
    }


def gkd_feat(f: Facts, weight: float = 0.1) -> dict[str, Tensor]:
    """RSLAD - lambda mean_patches D(h_S(x')): the channels of both side by side, those of the other zero."""
    student, teacher = features(f.student, f.x_adv), features(f.teacher, f.x)
    real = torch.cat([torch.zeros_like(student), teacher], dim=1)
    fake = torch.cat([student, torch.zeros_like(teacher)], dim=1)
    return {
        "student": rslad(f) - lam(f, weight) * f.discriminator(fake).mean(1),
        "discriminator": hinge(f.discriminator(real), f.discriminator(fake.detach())).mean(1),
    }


def gkd_ensemble(f: Facts, weight: float = 0.1, t: float = 4.0) -> dict[str, Tensor]:
    """RSLAD - lambda mean_taps D_l(S(x')); each example's real taps from a teacher drawn for it."""
    first = torch.rand(len(f.x), 1, generator=f.rng) < 0.5

    def taps(network: nn.Module, x: Tensor) -> Tensor:
        return torch.cat([logged(network(x), t), narrowed(features(network, x), 6)], dim=1)

    fake = taps(f.student, f.x_adv)
    real = torch.stack([taps(f.teacher if i else f.natural_teacher, f.x)[k] for k, i in enumerate(first.squeeze(1))])
    return {
        "student": rslad(f) - lam(f, weight) * f.discriminator(fake).mean(1),
        "discriminator": hinge(f.discriminator(real), f.discriminator(fake.detach())).mean(1),
    }


def gkd_domain(f: Facts, weight: float = 0.1) -> dict[str, Tensor]:
    """RSLAD + lambda (D(h_S(x), y) - D(h_S(x'), y)); to D clean features are real, adversarial ones fake."""
    clean, adversarial = (features(f.student, x).mean((2, 3)) for x in (f.x, f.x_adv))
    return {
        "student": rslad(f) + lam(f, weight) * (labelled(f, clean) - labelled(f, adversarial)),
        "discriminator": hinge(labelled(f, clean.detach()), labelled(f, adversarial.detach())),
    }


def bce(score: Tensor, label: int) -> Tensor:
    p = 1 / (1 + torch.exp(-score))
    return -torch.log(p if label else 1 - p)


def anc(f: Facts, a: float = 1.0, b: float = 1.0, dropout: float = 0.5) -> dict[str, Tensor]:
    """a |f_T - f_S|^2 + b BCE(D(drop(h_S)), 1) against BCE(D(h_T), 1) + BCE(D(h_S), 0) + BCE(D(drop(h_S)), 1)."""
    error = ((f.teacher(f.x) - f.student(f.x)) ** 2).mean(1)
    if b == 0:
        return {"student": a * error}
    real, fake = (narrowed(features(network, f.x), 6) for network in (f.teacher, f.student))
    kept = (torch.rand(fake.shape, generator=f.rng) >= dropout).double()
    dropped = fake * kept / (1 - dropout)
    judged = {
        "student": a * error[:, None] + b * bce(f.discriminator(dropped), 1),
        "discriminator": bce(f.discriminator(real), 1)
        + bce(f.discriminator(fake.detach()), 0)
        + bce(f.discriminator(dropped.detach()), 1),
    }
    return {name: loss[:, 0] for name, loss in judged.items()}


def kdgan(
    f: Facts, a: float = 0.8, b: float = 2.0, c: float = 1e-4, soft: float = 0.3, t: float = 1.0
) -> dict[str, Tensor]:
    """L_S = (1-a) BCE(D(s), 1) + b KD(S <- T); L_T = a BCE(D(s_T), 1) + c KD(T <- S);
    L_D = BCE(D_y, 1) + (1-a) BCE(D(s), 0) + a BCE(D(s_T), 0); s relaxed labels, KD = .7 CE + .3 MSE of logits."""
    student, tutor, scores = f.student(f.x), f.tutor(f.x), f.discriminator(f.x)
    first, second = (-torch.log(-torch.log(torch.rand(scores.shape, generator=f.rng))).double() for _ in range(2))
    mine = probabilities(probabilities(student).log() + first, t)
    theirs = probabilities(probabilities(tutor).log() + second, t)
    truth = torch.eye(scores.shape[1], dtype=torch.float64)[f.y]

    def kd(logits: Tensor, target: Tensor) -> Tensor:
        ce = -(truth * probabilities(logits).log()).sum(1)
        return (1 - soft) * ce + soft * 9 * ((logits / 3 - target / 3) ** 2).mean(1)

    fixed = scores.detach()
    return {
        "student": (1 - a) * bce((fixed * mine).sum(1), 1) + b * kd(student, tutor.detach()),
        "tutor": a * bce((fixed * theirs).sum(1), 1) + c * kd(tutor, student.detach()),
        "discriminator": bce((scores * truth).sum(1), 1)
        + (1 - a) * bce((scores * mine.detach()).sum(1), 0)
        + a * bce((scores * theirs.detach()).sum(1), 0),
    }


def generated(f: Facts, latent: int) -> Tensor:
    """G(z), z normal."""
    return f.generator(torch.randn(len(f.x), latent, generator=torch.Generator().manual_seed(5)).double())


def dfad_r(f: Facts, a: float = 5 / 6, latent: int = 256) -> dict[str, Tensor]:
    """a |f_T(x) - f_S(x')| + (1 - a) |f_T(x) - f_S(x)| at x = G(z), means over all; L_G = -|f_T(x) - f_S(x)|."""
    x = generated(f, latent)
    target, adversarial, clean = f.teacher(x), f.student(f.x_adv), f.student(x)
    fixed = target.detach()
    return {
        "student": a * (fixed - adversarial).abs().mean() + (1 - a) * (fixed - clean).abs().mean(),
        "generator": -(target - clean).abs().mean(),
    }


def inner_dfad_r(f: Facts, x: Tensor, latent: int = 256) -> Tensor:
    """KL(p_T(G(z)) || p_S(x'))."""
    return divergence(probabilities(f.teacher(generated(f, latent))), probabilities(f.student(x)))


OFF = Golden(lambda f: {"student": rslad(f)}, inner_rslad, "gaussian", fields={"gan_weight": 0.0})

GOLDEN = {
    "gkd-cond": [
        Golden(gkd_cond, inner_rslad, "gaussian"),
        Golden(gkd_cond, inner_rslad, "gaussian", progress=0.03),
        Golden(
            lambda f: gkd_cond(f, 0.7, 2.0),
            inner_rslad,
            "gaussian",
            fields={"gan_weight": 0.7, "temperature": 2.0, "width": 16},
        ),
        OFF,
    ],
    "gkd-feat": [
        Golden(gkd_feat, inner_rslad, "gaussian"),
        Golden(gkd_feat, inner_rslad, "gaussian", progress=0.03),
        Golden(
            lambda f: gkd_feat(f, 0.7), inner_rslad, "gaussian", fields={"gan_weight": 0.7, "width": 16, "patches": 1}
        ),
        OFF,
    ],
    "gkd-ensemble": [
        Golden(gkd_ensemble, inner_rslad, "gaussian"),
        Golden(gkd_ensemble, inner_rslad, "gaussian", progress=0.03),
        Golden(
            lambda f: gkd_ensemble(f, 0.7, 2.0), inner_rslad, "gaussian", fields={"gan_weight": 0.7, "temperature": 2.0}
        ),
        OFF,
    ],
    "gkd-domain": [
        Golden(gkd_domain, inner_rslad, "gaussian"),
        Golden(gkd_domain, inner_rslad, "gaussian", progress=0.03),
        Golden(lambda f: gkd_domain(f, 0.7), inner_rslad, "gaussian", fields={"gan_weight": 0.7}),
        OFF,
    ],
    "anc": [
        Golden(anc),
        Golden(lambda f: anc(f, 0.5, 2.0, 0.25), fields={"logit_weight": 0.5, "gan_weight": 2.0, "dropout": 0.25}),
        Golden(lambda f: anc(f, b=0.0), fields={"gan_weight": 0.0}),
    ],
    "kdgan": [
        Golden(kdgan),
        Golden(
            lambda f: kdgan(f, 0.3, 0.5, 0.2, 0.6, 2.0),
            fields={
                "alpha": 0.3,
                "student_weight": 0.5,
                "tutor_weight": 0.2,
                "soft_weight": 0.6,
                "gumbel_temperature": 2.0,
            },
        ),
    ],
    "dfad-r": [
        Golden(dfad_r, inner_dfad_r, "gaussian"),
        Golden(
            lambda f: dfad_r(f, 0.4, 16),
            lambda f, x: inner_dfad_r(f, x, 16),
            "gaussian",
            fields={"adversarial_weight": 0.4, "latent": 16, "width": 8},
        ),
    ],
}
