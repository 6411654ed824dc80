"""Dynamic guidance adversarial distillation (Park and Min, ECCV 2024)."""

import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_teacher
from bench.losses import kl_logits
from bench.task import correct


def corrected(logits: Tensor, y: Tensor) -> Tensor:
    """Logits (B, C) in which the label and the predicted class have exchanged theirs: no change where they agree."""
    label, top = y[:, None], logits.argmax(1, keepdim=True)
    return logits.scatter(1, label, logits.gather(1, top)).scatter(1, top, logits.gather(1, label))


@register(
    "dgad",
    version="park2024",
    family="adversarial-kd",
    reference="arXiv:2409.01627",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \operatorname{KL}(\tilde p_T(\hat x) \Vert p_S(\hat x)) +
      \frac{\lambda}{C} \Vert p_S(x') - p_S(x) \Vert_2^2 \\
    \hat x &= x' \text{ if } \operatorname{arg} \max_k f_T(x)_k = y, \text{ else } x \\
    \tilde p_T &= p_T \text{ with label and top class swapped} \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_T(x') \Vert p_S(x'))
    \end{split}
    """,
    deviations="From the authors' code. Its two means, each weighted by the share of its group, are the mean over the "
    "batch of one term per example, so that an empty group needs no guard, and a short last batch is weighted by its "
    "own size. The code's MobileNetV2 branch multiplies the two by a misplaced parenthesis: not followed. The KL is "
    "summed over classes, the squared difference averaged, as in the code. Corrected logits are used outside the "
    "inner maximisation only.",
    passes="2*K + 6 + r*(2*K + 2)",
)
class DGAD(Method):
    """AdaAD where the teacher is right on the clean input; distillation of the clean input where it is wrong. Wrong
    predictions of the teacher are corrected by a swap, and the student's two predictions are held together."""

    needs = {"teacher"}
    consistency_weight: NonNegativeFloat = 1.0

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_teacher(nets)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        teacher_clean, teacher_adversarial = nets.teacher(batch.x), nets.teacher(batch.x_adv)
        clean, adversarial = nets.student(batch.x), nets.student(batch.x_adv)
        loss = torch.where(
            correct(teacher_clean, batch.y),
            kl_logits(corrected(teacher_adversarial, batch.y), adversarial),
            kl_logits(corrected(teacher_clean, batch.y), clean),
        )
        if self.consistency_weight:
            gap = (adversarial.softmax(1) - clean.softmax(1)).square().mean(1)
            loss = loss + self.consistency_weight * gap
        return loss
