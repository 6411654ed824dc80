"""Robust soft label adversarial distillation (Zi et al., ICCV 2021)."""

from pydantic import PositiveFloat
from torch import Tensor

from bench import Attack, Batch, Method, Nets, Share, register
from bench.inner import against_soft_labels
from bench.losses import kl


@register(
    "rslad",
    version="zi2021",
    family="adversarial-kd",
    reference="arXiv:2108.07969",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \alpha \operatorname{KL}(p_T(x) \Vert p_S(x')) +
      (1 - \alpha) \operatorname{KL}(p_T(x) \Vert p_S(x)) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_T(x) \Vert p_S(x'))
    \end{split}
    """,
    deviations="The KL is summed over classes, as in the paper; the authors' CIFAR-10 code averages over them "
    "(kl_scale = 0.1) and offsets the teacher's log-probabilities by 1e-5.",
    passes="2*K + 6 + r",
)
class RSLAD(Method):
    """The student matches the teacher's clean soft labels, on clean and on adversarial inputs; no hard labels."""

    needs = {"teacher"}
    adversarial_weight: Share = 5 / 6
    kl_scale: PositiveFloat = 1.0

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        batch.teacher_logits = nets.teacher(batch.x)
        batch.target = batch.teacher_logits.softmax(1)
        return against_soft_labels(nets, batch.target)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        batch.student_logits = nets.student(batch.x_adv)
        adversarial = kl(batch.target, batch.student_logits)
        clean = kl(batch.target, nets.student(batch.x))
        return self.kl_scale * (self.adversarial_weight * adversarial + (1 - self.adversarial_weight) * clean)
