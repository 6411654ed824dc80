"""Plain knowledge distillation, without any attack: the control for what a robust teacher gives on its own."""

from torch import Tensor

from bench import Batch, Method, Nets, register
from bench.losses import cross_entropy, kl_logits


@register(
    "kd",
    version="hinton2015",
    family="clean-kd",
    reference="arXiv:1503.02531",
    deviations="The paper gives no single setting; temperature 4 and weight 0.9 are those of the field's common "
    "re-implementations.",
    passes="3 + r",
)
class KD(Method):
    """Soft labels of the teacher at a temperature, mixed with the hard labels; clean inputs only."""

    needs = {"teacher"}
    temperature: float = 4.0
    soft_weight: float = 0.9

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        t, logits = self.temperature, nets.student(batch.x)
        soft = t**2 * kl_logits(nets.teacher(batch.x), logits, t)
        return self.soft_weight * soft + (1 - self.soft_weight) * cross_entropy(logits, batch.y)
