"""Robust fairness between classes: Fair-RSLAD (Yue et al., NeurIPS 2023) and ABSLD (Zhao et al., NeurIPS 2024)."""

from collections.abc import Mapping

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from bench import Attack, Batch, Nets, register
from bench.inner import against_soft_labels
from bench.losses import cross_entropy, kl
from bench.tally import Tally
from bench.task import correct
from methods.mtard import decay
from methods.rslad import RSLAD

STEPS_RIGHT = Tally("steps_right")
ERROR_RISK = Tally("error_risk")


@register(
    "fair-rslad",
    version="yue2023",
    family="fairness",
    reference="openreview:ywrPcBEXdC",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= w_y [\alpha \operatorname{KL}(p_T(x) \Vert p_S(x')) +
      (1 - \alpha) \operatorname{KL}(p_T(x) \Vert p_S(x))] \\
    w_c &= \operatorname{clip}_{[a, b]}(C \kappa_c^{-\beta} / \sum_j \kappa_j^{-\beta}) \\
    \kappa_c &= \text{attack steps that still find class } c \text{ right, on average} \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_T(x) \Vert p_S(x'))
    \end{split}
    """,
    deviations="As rslad. The mean of a class is over its examples of the epoch; the authors' code divides by 5,000. "
    "1e-5 is added to the mean, as in their Fair-ARD, so that a class that is never right has a finite weight. A class "
    "that an epoch lacks keeps its weight.",
    passes="2*K + 6 + r",
    controls={"rslad": {"min_weight": 1.0, "max_weight": 1.0}},
)
class FairRSLAD(RSLAD):
    """RSLAD, with more weight on classes that fall early: before how many attack steps an example is still classified
    right, averaged over a class and an epoch, decides the weight of the class in the next epoch."""

    beta: NonNegativeFloat = 2.0
    min_weight: PositiveFloat = 5 / 6
    max_weight: PositiveFloat = 5 / 2

    def setup(self, nets: Nets) -> None:
        nets.state["class_weights"] = torch.ones(nets.classes, device=nets.device)
        STEPS_RIGHT.begin(nets)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        attack = super().attack(nets, batch)
        batch.steps_right = torch.zeros_like(batch.y)

        def objective(x: Tensor) -> Tensor:
            logits = nets.student(x)
            batch.steps_right = batch.steps_right + correct(logits, batch.y)
            return kl(batch.target, logits)

        return attack._replace(objective=objective)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return nets.state["class_weights"][batch.y] * super().loss(nets, batch)

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        STEPS_RIGHT.add(nets, batch.y, batch.steps_right)

    def epoch_end(self, nets: Nets) -> None:
        steps, count = STEPS_RIGHT.close(nets)
        seen = count > 0
        scores = -self.beta * (steps + 1e-5).log()  # so that shares are proportional to (1 / steps) ** beta
        shares = scores.masked_fill(~seen, -torch.inf).softmax(0)
        weights = (seen.sum() * shares).clamp(self.min_weight, self.max_weight)
        nets.state["class_weights"] = torch.where(seen, weights, nets.state["class_weights"])


@register(
    "absld",
    version="zhao2024",
    family="fairness",
    reference="arXiv:2312.05508",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \alpha \operatorname{KL}(p_T^{\tau'_y}(x) \Vert p_S(x')) +
      (1 - \alpha) \operatorname{KL}(p_T^{\tau_y}(x) \Vert p_S(x)) \\
    \tau_c &\leftarrow \operatorname{clip}_{[a, b]}(\tau_c - \rho g_c / \max_j |g_j|), \quad g_c = R_c - \bar R \\
    R_c &= \operatorname{mean}_{y = c} \operatorname{CE}(f_S(x), y), \text{ at } x' \text{ for } \tau'_c \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_T^{\tau'_y}(x) \Vert p_S(x'))
    \end{split}
    """,
    deviations="As rslad. Adversarial and clean soft labels each have their own temperature; in the authors' code one "
    "tensor is divided by both temperatures and serves as both. The inner maximisation follows the adversarial soft "
    "labels, at their temperature, as there. The error risk of a class is the mean cross entropy of its examples, not "
    "the sum; for classes of equal size that is the same update. A class that an epoch lacks keeps its temperatures.",
    passes="2*K + 6 + r",
    controls={"rslad": {"temperature_rate": 0.0}},
)
class ABSLD(RSLAD):
    """RSLAD, with sharper soft labels for hard classes: each class has a temperature of the teacher for adversarial
    inputs and one for clean inputs, which fall where the student's error risk is above the average class's."""

    temperature_rate: NonNegativeFloat = 0.1
    min_temperature: PositiveFloat = 0.5
    max_temperature: PositiveFloat = 5.0

    def setup(self, nets: Nets) -> None:
        nets.state["temperatures"] = torch.ones(nets.classes, 2, device=nets.device)  # adversarial, clean
        nets.state["progress"] = torch.zeros(())
        ERROR_RISK.begin(nets, 2)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        logits, temperatures = nets.teacher(batch.x), nets.state["temperatures"][batch.y]
        batch.target = (logits / temperatures[:, :1]).softmax(1)
        batch.clean_target = (logits / temperatures[:, 1:]).softmax(1)
        return against_soft_labels(nets, batch.target)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        logits, clean_logits = nets.student(batch.x_adv), nets.student(batch.x)
        batch.error_risk = torch.stack([cross_entropy(z.detach(), batch.y) for z in (logits, clean_logits)], dim=1)
        adversarial, clean = kl(batch.target, logits), kl(batch.clean_target, clean_logits)
        return self.kl_scale * (self.adversarial_weight * adversarial + (1 - self.adversarial_weight) * clean)

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        ERROR_RISK.add(nets, batch.y, batch.error_risk)
        nets.state["progress"] = torch.tensor(batch.progress)

    def epoch_end(self, nets: Nets) -> None:
        risk, count = ERROR_RISK.close(nets)
        seen = count > 0
        gap = torch.where(seen[:, None], risk - risk[seen].mean(0), 0.0)
        largest = gap.abs().amax(0).clamp_min(torch.finfo(gap.dtype).tiny)
        rate = self.temperature_rate * decay(nets.state["progress"].item())
        moved = nets.state["temperatures"] - rate * gap / largest
        nets.state["temperatures"] = moved.clamp(self.min_temperature, self.max_temperature)
