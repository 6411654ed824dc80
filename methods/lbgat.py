"""Learnable boundary guided adversarial training (Cui et al., ICCV 2021)."""

from pydantic import NonNegativeFloat

from bench import Batch, Losses, Nets, register
from bench.losses import cross_entropy, kl_logits
from methods.adversarial_training import TRADES


@register(
    "lbgat",
    version="cui2021",
    family="online-kd",
    reference="arXiv:2011.11164",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \frac{1}{C} \Vert f_S(x') - f_P(x) \Vert_2^2 + \beta \operatorname{KL}(p_S(x) \Vert p_S(x')) \\
    \mathcal{L}_P &= \operatorname{CE}(f_P(x), y) + \frac{1}{C} \Vert f_S(x') - f_P(x) \Vert_2^2 \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_S(x) \Vert p_S(x'))
    \end{split}
    """,
    deviations="beta = 0, the authors' setting on CIFAR-10; they also publish beta = 6, on CIFAR-100. The squared "
    "error is averaged over classes, as in their code. The guide has the student's architecture and is trained as the "
    "student is. The clean prediction inside the inner maximisation is computed once per step, as in trades here; the "
    "term of weight 0 is not computed, though the code lets its forward move batch statistics.",
    passes="2*K + 4 + 3*guide",
)
class LBGAT(TRADES):
    """The student's adversarial logits must be the clean logits of a guide, a network that learns the clean task at the
    same time and is drawn towards the student; on top, for beta > 0, the divergence of TRADES."""

    beta: NonNegativeFloat = 0.0

    def setup(self, nets: Nets) -> None:
        nets.add_student("guide")

    def loss(self, nets: Nets, batch: Batch) -> Losses:  # type: ignore[override]
        student, guide = nets.student(batch.x_adv), nets.guide(batch.x)
        follow = (student - guide.detach()).square().mean(1)
        if self.beta:
            follow = follow + self.beta * kl_logits(nets.student(batch.x), student)
        lead = cross_entropy(guide, batch.y) + (student.detach() - guide).square().mean(1)
        return {"student": follow, "guide": lead}
