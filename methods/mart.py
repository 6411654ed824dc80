"""Misclassification aware adversarial training (Wang et al., ICLR 2020)."""

from pydantic import NonNegativeFloat
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy, kl_logits


@register(
    "mart",
    version="wang2020",
    family="teacher-free",
    reference="openreview:rklOg6EFwS",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \operatorname{CE}(f_S(x'), y) - \log(1.0001 - \max_{k \ne y} p_S(x')_k) \\
    &\quad + \beta (1 - p_S(x)_y) \operatorname{KL}(p_S(x) \Vert p_S(x')) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{CE}(f_S(x'), y)
    \end{split}
    """,
    deviations="beta is that of the authors' training script (their function's default is 6). As in their code, the "
    "margin term is offset by 1e-4 inside the logarithm, and the clean prediction is not detached, neither in the "
    "divergence nor in its weight; the further offsets of 1e-12 and 1e-7 are not needed here.",
    passes="2*K + 6",
)
class MART(Method):
    """Adversarial training with a boosted cross entropy, which also lowers the largest wrong probability, and a
    divergence from clean to adversarial that weighs more where the clean prediction is wrong."""

    beta: NonNegativeFloat = 5.0

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch, start="gaussian")

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        label, adversarial = batch.y[:, None], nets.student(batch.x_adv)
        largest_wrong = adversarial.softmax(1).scatter(1, label, 0.0).amax(1)
        loss = cross_entropy(adversarial, batch.y) - (1.0001 - largest_wrong).log()
        if self.beta:
            clean = nets.student(batch.x)
            right = clean.softmax(1).gather(1, label).squeeze(1)
            loss = loss + self.beta * kl_logits(clean, adversarial) * (1 - right)
        return loss
