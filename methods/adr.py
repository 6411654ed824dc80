"""Annealing self-distillation rectification (Wu et al., ICLR 2024)."""

from math import cos, pi

import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from bench import Attack, Batch, Method, Nets, Share, register
from bench.losses import cross_entropy
from bench.method import Averaging


@register(
    "adr",
    version="wu2024",
    family="self-kd",
    reference="arXiv:2305.12118",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \operatorname{CE}(f_S(x'), q), \quad q = \mu \bar p + (1 - \mu) e_y \\
    \bar p &= \sigma(f_{\bar\theta}(x) / \tau_t), \quad \bar\theta \leftarrow \beta \bar\theta + (1 - \beta) \theta \\
    \mu &= \operatorname{clip}_{[0, 1]}(\lambda_t - \max_k \bar p_k + \bar p_y) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{CE}(f_S(x'), q)
    \end{split}
    """,
    deviations="The variant on PGD-AT, whose main row delivers the student, not its average. The decay of the average "
    "is less in the first steps. The attack runs in eval mode, where the authors' code leaves the student in train "
    "mode.",
    passes="2*K + 3 + average",
)
class ADR(Method):
    """PGD-AT whose labels, inside and outside, are those of the student's moving average at the clean input: softened,
    mixed with the hard label, and trusted less where the average is wrong. Temperature and trust follow a cosine."""

    temperature_start: PositiveFloat = 2.5
    temperature_end: PositiveFloat = 2.0
    trust_start: NonNegativeFloat = 0.7
    trust_end: NonNegativeFloat = 0.95
    decay: Share = 0.995

    def averaging(self) -> Averaging:
        return Averaging(self.decay)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        temperature = annealed(self.temperature_start, self.temperature_end, batch.progress)
        trust = annealed(self.trust_start, self.trust_end, batch.progress)
        batch.target = rectified(nets.average(batch.x) / temperature, batch.y, trust)
        return Attack(lambda x: cross_entropy(nets.student(x), batch.target))

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.target)

    def deliver(self, nets: Nets) -> nn.Module:
        return nets.student.module


def annealed(start: float, end: float, progress: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) * (1 + cos(pi * progress)) / 2


def rectified(logits: Tensor, y: Tensor, trust: float) -> Tensor:
    """Soft labels (B, C): softmax(logits) mixed with the label, by trust less the margin by which they miss it."""
    soft = logits.softmax(1)
    miss = soft.amax(1, keepdim=True) - soft.gather(1, y[:, None])
    share = (trust - miss).clamp(0, 1)
    return share * soft + (1 - share) * F.one_hot(y, soft.shape[1])
