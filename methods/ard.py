"""Adversarially robust distillation (Goldblum et al., AAAI 2020)."""

from pydantic import PositiveFloat
from torch import Tensor

from bench import Attack, Batch, Method, Nets, Share, register
from bench.inner import against_labels
from bench.losses import cross_entropy, kl_logits


@register(
    "ard",
    version="goldblum2020",
    family="adversarial-kd",
    reference="arXiv:1905.09747",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \alpha \tau^2 \operatorname{KL}(p_T^\tau(x) \Vert p_S^\tau(x')) +
      (1 - \alpha) \operatorname{CE}(f_S(x), y) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{CE}(f_S(x'), y)
    \end{split}
    """,
    deviations="The teacher sees the clean input, as in the paper's Eq. 3 and the authors' code. The paper's KL is "
    "summed over classes where the code averages (kl_scale = 1). The attack runs in eval mode, where the code "
    "leaves the student in train mode. The term of weight 0 is not computed.",
    passes="2*K + 3 + r",
)
class ARD(Method):
    """The student matches, on adversarial inputs, the soft labels that the teacher gives to clean ones."""

    needs = {"teacher"}
    temperature: PositiveFloat = 30.0
    soft_weight: Share = 1.0
    kl_scale: PositiveFloat = 1.0

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        t = self.temperature
        loss = self.soft_weight * self.kl_scale * t**2 * kl_logits(nets.teacher(batch.x), nets.student(batch.x_adv), t)
        if self.soft_weight < 1:
            loss = loss + (1 - self.soft_weight) * cross_entropy(nets.student(batch.x), batch.y)
        return loss
