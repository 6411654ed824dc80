"""Training without a teacher: the baselines that every distillation method must beat."""

from pydantic import NonNegativeFloat
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels, against_soft_labels
from bench.losses import cross_entropy, kl_logits


@register(
    "natural",
    version="1",
    family="teacher-free",
    reference="empirical risk minimisation",
    formula=r"\mathcal{L}_S = \operatorname{CE}(f_S(x), y)",
    passes="3",
)
class Natural(Method):
    """Cross entropy on clean inputs: no defence at all."""

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x), batch.y)


@register(
    "pgd-at",
    version="madry2018",
    family="teacher-free",
    reference="arXiv:1706.06083",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \operatorname{CE}(f_S(x'), y) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{CE}(f_S(x'), y)
    \end{split}
    """,
    passes="2*K + 3",
)
class PGDAT(Method):
    """Adversarial training: cross entropy on the worst inputs that PGD finds (Eq. 2.1)."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)


@register(
    "trades",
    version="zhang2019",
    family="teacher-free",
    reference="arXiv:1901.08573",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \operatorname{CE}(f_S(x), y) + \beta \operatorname{KL}(p_S(x) \Vert p_S(x')) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_S(x) \Vert p_S(x'))
    \end{split}
    """,
    deviations="The clean prediction inside the inner maximisation is computed once per step, not at each iterate; "
    "it is not detached in the outer loss, as in the authors' code.",
    passes="2*K + 7",
)
class TRADES(Method):
    """Cross entropy on clean inputs, plus the divergence of predictions between clean and adversarial (Eq. 5)."""

    beta: NonNegativeFloat = 6.0

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_soft_labels(nets, nets.student(batch.x).softmax(1))

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        clean, adversarial = nets.student(batch.x), nets.student(batch.x_adv)
        return cross_entropy(clean, batch.y) + self.beta * kl_logits(clean, adversarial)
