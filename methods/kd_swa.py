"""Adversarial training smoothed by self-teachers and by averaged weights (Chen et al., ICLR 2021)."""

from pydantic import PositiveFloat
from torch import Tensor

from bench import Batch, Nets, Share, register
from bench.losses import cross_entropy
from bench.method import Averaging
from methods.adversarial_training import PGDAT


@register(
    "kd-swa",
    version="chen2021",
    family="self-kd",
    reference="openreview:qZzy5urZw9",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= (1 - \alpha_N - \alpha_T) \operatorname{CE}(f_S(x'), y) \\
    &\quad + \tau^2 \sum_{i = N, T} \alpha_i \operatorname{CE}(f_S(x') / \tau, \hat p_i^\tau(x')) \\
    \bar\theta &= \operatorname{mean}_{t \ge t_0} \theta_t \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{CE}(f_S(x'), y)
    \end{split}
    """,
    deviations="The self-teachers are paid for. All three networks get the same number of epochs, as in the authors' "
    "code, by shares of the budget in proportion to their passes at K = 10: 3 (natural), 23 (PGD-AT) and 25; under the "
    "ruleset of equal epochs, these are shares of the steps. Of each self-teacher the benchmark's selection keeps the "
    "best, by robust accuracy; the paper keeps the natural one with the best clean accuracy. The average is taken "
    "after every step, not every epoch, and the statistics of batch norm are averaged with the weights instead of "
    "estimated anew. The attack runs in eval mode, where the code leaves the student in train mode.",
    passes="2*K + 3 + self_natural + self_robust",
    controls={"pgd-at": {"natural_weight": 0.0, "robust_weight": 0.0}},
)
class KDSWA(PGDAT):
    """PGD-AT whose labels are mixed with the soft labels that a natural and an adversarially trained twin of the
    student give to the adversarial inputs; the average of the weights is delivered."""

    temperature: PositiveFloat = 2.0
    natural_weight: Share = 0.1
    robust_weight: Share = 0.6
    natural_share: Share = 3 / 51
    robust_share: Share = 23 / 51
    average_from: Share = 0.275  # epoch 55 of 200

    def setup(self, nets: Nets) -> None:
        if self.natural_weight:
            nets.pretrain("self_natural", "natural", self.natural_share)
        if self.robust_weight:
            nets.pretrain("self_robust", "pgd-at", self.robust_share)

    def averaging(self) -> Averaging:
        return Averaging(decay=None, start=self.average_from)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        t, logits = self.temperature, nets.student(batch.x_adv)
        loss = (1 - self.natural_weight - self.robust_weight) * cross_entropy(logits, batch.y)
        for name, weight in (("self_natural", self.natural_weight), ("self_robust", self.robust_weight)):
            if weight:
                target = (nets.networks[name](batch.x_adv) / t).softmax(1)
                loss = loss + weight * t**2 * cross_entropy(logits / t, target)
        return loss
