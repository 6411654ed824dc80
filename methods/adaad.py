"""Adaptive adversarial distillation (Huang et al., CVPR 2023)."""

from pydantic import PositiveFloat
from torch import Tensor

from bench import Attack, Batch, Method, Nets, Share, register
from bench.inner import against_teacher
from bench.losses import kl_logits


@register(
    "adaad",
    version="huang2023",
    family="adversarial-kd",
    reference="Huang et al., CVPR 2023",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \alpha \operatorname{KL}(p_T(x') \Vert p_S(x')) +
      (1 - \alpha) \operatorname{KL}(p_T(x) \Vert p_S(x)) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_T(x') \Vert p_S(x'))
    \end{split}
    """,
    deviations="The KL is summed over classes, as in the paper and in the authors' CIFAR-100 code; their CIFAR-10 code "
    "averages over them (kl_scale = 0.1). Training eps and step size are the scenario's, as in the paper's main "
    "table; the code's defaults are twice as large. The clean term of weight 0 is not computed, though the code lets "
    "its forward move batch statistics.",
    passes="2*K + 3 + r*(2*K + 1)",
)
class AdaAD(Method):
    """The student matches the teacher where both disagree most: the teacher sees the adversarial inputs, and the inner
    maximisation follows the gradient through both networks (Eq. 6 and 7)."""

    needs = {"teacher"}
    adversarial_weight: Share = 1.0
    kl_scale: PositiveFloat = 1.0

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_teacher(nets)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        batch.teacher_logits, batch.student_logits = nets.teacher(batch.x_adv), nets.student(batch.x_adv)
        loss = self.adversarial_weight * kl_logits(batch.teacher_logits, batch.student_logits)
        if self.adversarial_weight < 1:
            clean = kl_logits(nets.teacher(batch.x), nets.student(batch.x))
            loss = loss + (1 - self.adversarial_weight) * clean
        return self.kl_scale * loss
