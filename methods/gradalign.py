"""Single-step adversarial training with aligned gradients (Andriushchenko and Flammarion, NeurIPS 2020)."""

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat
from torch import Tensor

from bench import Batch, Method, Nets, register
from bench.losses import cross_entropy


@register(
    "fast-at-gradalign",
    version="andriushchenko2020",
    family="teacher-free",
    reference="arXiv:2007.02617",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \operatorname{CE}(f_S(x'), y) + \lambda (1 - \cos(\operatorname{sg} g(x), g(\tilde x))) \\
    g(x) &= \nabla_x \operatorname{CE}(f_S(x), y), \quad \tilde x \sim U(B(x)) \\
    x' &= \operatorname{proj}_{B(x)}(x + \varepsilon \operatorname{sign} g(x))
    \end{split}
    """,
    deviations="The alignment weight is the authors' for CIFAR-10 at eps = 8/255; they give another to every eps and "
    "data set, so it does not carry over to other scenarios. From the start at x, their step of 1.25 eps, clamped, is "
    "one of eps. The random point is cut with the bounds of the input, theirs is not. The gradient at x is that of the "
    "attack, in eval mode, where their code has every pass in train mode; the cosine then sees the difference of the "
    "modes as well. Examples with a vanishing gradient add "
    "nothing to the mean over the batch; theirs is over the others. The scenario's schedule stands for their cyclic "
    "one over 30 epochs.",
    passes="9 + double",
)
class FastATGradAlign(Method):
    """Adversarial training with one gradient step, and a term that aligns the input gradient at a random point of the
    ball with the one at its centre, so that one step stays enough."""

    alignment_weight: NonNegativeFloat = 0.2

    def attack(self, nets: Nets, batch: Batch) -> Tensor:
        _, batch.gradient = nets.student.input_gradient(lambda logits: cross_entropy(logits, batch.y), batch.x)
        return nets.threat.step(batch.x, batch.gradient, nets.threat.eps)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        loss = cross_entropy(nets.student(batch.x_adv), batch.y)
        if self.alignment_weight:
            nearby = nets.threat.start(batch.x, "uniform", batch.rng)
            _, gradient = nets.student.input_gradient(lambda logits: cross_entropy(logits, batch.y), nearby)
            loss = loss + self.alignment_weight * (1 - cosine(batch.gradient, gradient))
        return loss


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Of the angle between gradients (B, ...), per example (B,); 1 where one of them vanishes."""
    a, b = a.flatten(1), b.flatten(1)
    both = a.any(1) & b.any(1)
    return torch.where(both, (F.normalize(a) * F.normalize(b)).sum(1), 1.0)
