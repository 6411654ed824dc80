"""Knowledge distillation with input gradient alignment (Shao et al. 2021)."""

from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from bench import Batch, Nets, Share, register
from bench.losses import cross_entropy, kl_logits
from methods.kd import KD


@register(
    "kdiga",
    version="shao2021",
    family="clean-kd",
    reference="arXiv:2110.12072",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \alpha \kappa \tau^2 \operatorname{KL}(p_T^\tau(x) \Vert p_S^\tau(x)) +
      (1 - \alpha) \operatorname{CE}(f_S(x), y) \\
    &\quad + \gamma \Vert \nabla_x \operatorname{CE}(f_S(x), y) - \nabla_x \operatorname{CE}(f_T(x), y) \Vert_2
    \end{split}
    """,
    deviations="The distance of the gradients is a norm per example, of the gradient of that example's cross entropy, "
    "and its mean over the batch is weighted; the authors' code takes one norm over the gradient of the batch's mean "
    "and divides it by the batch size. In the version of it that was read (commit 772defd) the student's gradient is "
    "detached, so that the term trains nothing; here it is differentiated. The KL is summed over classes, where the "
    "code averages (kl_scale = 0.1 on CIFAR-10).",
    passes="4 + double + 2*r",
    controls={"kd": {"gradient_weight": 0.0, "temperature": 4.0, "soft_weight": 0.9, "kl_scale": 1.0}},
)
class KDIGA(KD):
    """KD on clean inputs, and the student's input gradient must be the robust teacher's; no attack."""

    temperature: PositiveFloat = 1.0
    soft_weight: Share = 0.5
    gradient_weight: NonNegativeFloat = 0.5
    kl_scale: PositiveFloat = 0.1  # a mean over 10 classes

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        if not self.gradient_weight:
            return super().loss(nets, batch)
        target_logits, target = nets.teacher.input_gradient(lambda logits: cross_entropy(logits, batch.y), batch.x)
        logits, gradient = nets.student.input_gradient(lambda logits: cross_entropy(logits, batch.y), batch.x)
        distance = (gradient - target).flatten(1).norm(dim=1)
        return self.mixture(target_logits, logits, batch.y) + self.gradient_weight * distance

    def mixture(self, target_logits: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        t = self.temperature
        soft = self.kl_scale * t**2 * kl_logits(target_logits, logits, t)
        return self.soft_weight * soft + (1 - self.soft_weight) * cross_entropy(logits, y)
