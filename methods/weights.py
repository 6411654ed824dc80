"""Adversarial training with a change to the weights: perturbed against the loss, or averaged over the steps."""

from pydantic import NonNegativeFloat

from bench import Share, register
from bench.method import Averaging
from methods.adversarial_training import PGDAT, TRADES


@register(
    "trades-awp",
    version="wu2020",
    family="teacher-free",
    reference="arXiv:2004.05884",
    formula=r"""
    \begin{split}
    \mathcal{L}_S(\theta) &= \operatorname{CE}(f_S(x), y) + \beta \operatorname{KL}(p_S(x) \Vert p_S(x')) \\
    v_l &= \gamma \Vert \theta_l \Vert g_l / \Vert g_l \Vert, \quad g = \nabla_\theta \mathcal{L}_S(\theta) \\
    \theta &\leftarrow \theta - \eta \nabla_\theta \mathcal{L}_S(\theta + v) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_S(x) \Vert p_S(x'))
    \end{split}
    """,
    deviations="The weights are perturbed from the first step on; the authors' code starts at epoch 10 of 200.",
    passes="2*K + 13",
    controls={"trades": {"gamma": 0.0}},
)
class TRADESAWP(TRADES):
    """TRADES, whose gradient is taken where the weights are moved to raise its loss, each layer by gamma of its norm
    (Eq. 8 to 10)."""

    gamma: NonNegativeFloat = 5e-3

    def weight_perturbation(self) -> float:
        return self.gamma


@register(
    "pgd-at-ema",
    version="gowal2020",
    family="teacher-free",
    reference="arXiv:2010.03593",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \operatorname{CE}(f_S(x'), y) \\
    \bar\theta &\leftarrow \beta \bar\theta + (1 - \beta) \theta \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{CE}(f_S(x'), y)
    \end{split}
    """,
    deviations="Only the model weight averaging of that study. The decay is that of the benchmark's recipe `strong`, "
    "and is less in the first steps; the statistics of batch norm are averaged with the weights.",
    passes="2*K + 3",
)
class PGDATEMA(PGDAT):
    """PGD-AT, of which the exponential moving average of the weights is delivered."""

    decay: Share = 0.999

    def averaging(self) -> Averaging:
        return Averaging(self.decay)
