"""Multi-teacher adversarial robustness distillation (Zhao et al., ECCV 2022), and its balanced form (TPAMI 2024)."""

from collections.abc import Mapping

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import kl

MILESTONES = (215 / 300, 260 / 300, 285 / 300)


def decay(progress: float) -> float:
    """What a rate is multiplied by: a tenth at each milestone of the authors' 300 epochs."""
    return 0.1 ** sum(progress >= milestone for milestone in MILESTONES)


@register(
    "mtard",
    version="zhao2022",
    family="multi-teacher",
    reference="Zhao et al., ECCV 2022",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= w_T \operatorname{KL}(p_T(x') \Vert p_S(x')) + w_N \operatorname{KL}(p_N(x) \Vert p_S(x)) \\
    w_i &\leftarrow w_i - \eta (w_i - r_i / (r_T + r_N)), \quad
      r_i = (\operatorname{KL}_i / \operatorname{KL}_i^{\mathrm{first}})^\beta \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{CE}(f_S(x'), y)
    \end{split}
    """,
    deviations="The KL is summed over classes; the authors' code averages over them (kl_scale = 0.1), takes ten times "
    "that on CIFAR-100, and offsets the teachers' log-probabilities by 1e-5. The weights of the losses move after the "
    "step, from its losses; in the code, between its losses and its gradient. Their rate is per step, as published, so "
    "that a shorter run moves them less.",
    passes="2*K + 6 + r + r_N",
)
class MTARD(Method):
    """The student matches a robust teacher on adversarial inputs and a natural one on clean inputs. What weighs more is
    the loss that fell less, relative to the first step."""

    needs = {"teacher", "natural_teacher"}
    weight_rate: NonNegativeFloat = 0.025
    exponent: NonNegativeFloat = 1.0
    kl_scale: PositiveFloat = 1.0

    def setup(self, nets: Nets) -> None:
        """State of two numbers each: of the adversarial loss, of the natural one."""
        nets.state["loss_weights"] = torch.full((2,), 0.5, device=nets.device)
        nets.state["first_losses"] = torch.zeros(2, device=nets.device)  # 0: not known yet

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch, "gaussian")

    def targets(self, nets: Nets, batch: Batch) -> tuple[Tensor, Tensor]:
        """Soft labels (B, C) of the adversarial inputs and of the clean ones."""
        return nets.teacher(batch.x_adv).softmax(1), nets.natural_teacher(batch.x).softmax(1)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        robust, natural = self.targets(nets, batch)
        adversarial, clean = kl(robust, nets.student(batch.x_adv)), kl(natural, nets.student(batch.x))
        batch.teacher_losses = torch.stack([adversarial.detach().mean(), clean.detach().mean()])
        weights = nets.state["loss_weights"]
        return self.kl_scale * (weights[0] * adversarial + weights[1] * clean)

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        first, weights = nets.state["first_losses"], nets.state["loss_weights"]
        first = torch.where(first > 0, first, batch.teacher_losses)
        relative = (batch.teacher_losses / first) ** self.exponent
        rate = self.weight_rate * decay(batch.progress)
        nets.state["first_losses"] = first
        nets.state["loss_weights"] = weights - rate * (weights - relative / relative.sum())


@register(
    "b-mtard",
    version="zhao2024",
    family="multi-teacher",
    reference="arXiv:2306.16170",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= w_T \operatorname{KL}(p_T^{\tau_T}(x') \Vert p_S(x')) +
      w_N \operatorname{KL}(p_N^{\tau_N}(x) \Vert p_S(x)) \\
    w_i &\leftarrow w_i - \eta (w_i - r_i / (r_T + r_N)), \quad
      r_i = (\operatorname{KL}_i / \operatorname{KL}_i^{\mathrm{first}})^\beta \\
    \tau_i &\leftarrow \operatorname{clip}_{[a, b]}(\tau_i - \rho \operatorname{sign}(H_i - H_j)), \quad
      H_i = H(p_i^{\tau_i}) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{CE}(f_S(x'), y)
    \end{split}
    """,
    deviations="As mtard. The weights of the losses stay in [0, 1] and sum to 1 by their formula, so that the code's "
    "clipping and renormalising are left out. Entropies are compared by their difference, which has the sign of the "
    "code's ratio less 1. Temperatures also move by a rate per step: a shorter run moves them less.",
    passes="2*K + 6 + r + r_N",
    controls={"mtard": {"temperature_rate": 0.0}},
)
class BMTARD(MTARD):
    """MTARD, with a temperature for each teacher: the one whose soft labels have more entropy gets sharper, the other
    one softer."""

    temperature_rate: NonNegativeFloat = 1e-3
    min_temperature: PositiveFloat = 1.0
    max_temperature: PositiveFloat = 10.0

    def setup(self, nets: Nets) -> None:
        super().setup(nets)
        nets.state["temperatures"] = torch.ones(2, device=nets.device)  # of the robust teacher, of the natural one

    def targets(self, nets: Nets, batch: Batch) -> tuple[Tensor, Tensor]:
        temperatures = nets.state["temperatures"]
        robust = (nets.teacher(batch.x_adv) / temperatures[0]).softmax(1)
        natural = (nets.natural_teacher(batch.x) / temperatures[1]).softmax(1)
        batch.entropies = torch.stack([torch.special.entr(target).sum(1).mean() for target in (robust, natural)])
        return robust, natural

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        super().after_step(nets, batch, losses)
        rate = self.temperature_rate * decay(batch.progress)
        above_the_other = (batch.entropies - batch.entropies.flip(0)).sign()
        moved = nets.state["temperatures"] - rate * above_the_other
        nets.state["temperatures"] = moved.clamp(self.min_temperature, self.max_temperature)
