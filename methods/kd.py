"""Plain knowledge distillation, without any attack: the control for what a teacher gives on its own."""

from pydantic import PositiveFloat
from torch import Tensor

from bench import Batch, Method, Nets, Share, register
from bench.losses import cross_entropy, kl_logits


@register(
    "kd",
    version="hinton2015",
    family="clean-kd",
    reference="arXiv:1503.02531",
    formula=r"\mathcal{L}_S = \alpha \tau^2 \operatorname{KL}(p_T^\tau(x) \Vert p_S^\tau(x)) + "
    r"(1 - \alpha) \operatorname{CE}(f_S(x), y)",
    deviations="The paper gives no single setting; temperature 4 and weight 0.9 are those of the field's common "
    "re-implementations.",
    passes="3 + r",
)
class KD(Method):
    """Soft labels of the robust teacher at a temperature, mixed with the hard labels; clean inputs only."""

    needs = {"teacher"}
    temperature: PositiveFloat = 4.0
    soft_weight: Share = 0.9

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return self.mixture(nets.teacher(batch.x), nets.student(batch.x), batch.y)

    def mixture(self, target_logits: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        """Of the divergence to the soft labels and the cross entropy to the hard ones, (B,)."""
        t = self.temperature
        soft = t**2 * kl_logits(target_logits, logits, t)
        return self.soft_weight * soft + (1 - self.soft_weight) * cross_entropy(logits, y)


@register(
    "kd-natural",
    version="hinton2015",
    family="clean-kd",
    reference="arXiv:1503.02531",
    formula=r"\mathcal{L}_S = \alpha \tau^2 \operatorname{KL}(p_N^\tau(x) \Vert p_S^\tau(x)) + "
    r"(1 - \alpha) \operatorname{CE}(f_S(x), y)",
    deviations="As for kd; the natural teacher is the one of the paper's setting.",
    passes="3 + r_N",
)
class KDNatural(KD):
    """KD from the natural teacher."""

    needs = {"natural_teacher"}

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return self.mixture(nets.natural_teacher(batch.x), nets.student(batch.x), batch.y)
