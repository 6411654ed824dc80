"""The inner maximisations that most methods share: what PGD raises while it looks for adversarial inputs."""

from __future__ import annotations

from torch import Tensor

from bench.losses import cross_entropy, kl, kl_logits
from bench.method import Attack, Batch, Nets
from bench.threat import Start


def against_labels(nets: Nets, batch: Batch, start: Start = "uniform") -> Attack:
    """Cross entropy of the student to the labels (Madry et al. 2018, arXiv:1706.06083, Eq. 2.1)."""
    return Attack(lambda x: cross_entropy(nets.student(x), batch.y), start)


def against_soft_labels(nets: Nets, target: Tensor, start: Start = "gaussian") -> Attack:
    """KL(target || p_S(x')) to fixed probabilities (B, C): the student's own (Zhang et al. 2019, arXiv:1901.08573) or
    the teacher's clean soft labels (Zi et al. 2021, arXiv:2108.07969, Eq. 5)."""
    return Attack(lambda x: kl(target, nets.student(x)), start)


def against_teacher(nets: Nets, start: Start = "gaussian") -> Attack:
    """KL(p_T(x') || p_S(x')), with the gradient through both networks (Huang et al., CVPR 2023, Eq. 6)."""
    return Attack(lambda x: kl_logits(nets.teacher(x), nets.student(x)), start)
