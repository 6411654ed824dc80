"""GAN knowledge distillation under attack: RSLAD, and a discriminator that tells the student from the teacher.

No paper of its own: the benchmark's definition of the family (logit discriminator as in Xu et al. 2018,
arXiv:1709.00513, hinge loss and spectral normalisation as in Miyato et al. 2018, arXiv:1802.05957).
"""

from collections.abc import Mapping

import torch

from bench import Batch, Losses, Nets, register
from bench.networks.discriminators import MLPDiscriminator, power_iteration
from methods.rslad import RSLAD


@register(
    "gkd-logit",
    version="1",
    family="gan-kd",
    reference="Temper; after arXiv:1709.00513",
    deviations="Not a published method; the discriminator stays out of the inner maximisation.",
    passes="2*K + 6 + r + 8*discriminator",
    controls={"rslad": {"gan_weight": 0.0}},
)
class GKDLogit(RSLAD):
    """RSLAD, and the student's softened adversarial logits must pass for the teacher's clean ones.

    The weight of the adversarial term ramps up over the first tenth of the budget.
    """

    gan_weight: float = 0.1
    temperature: float = 4.0
    width: int = 128

    def setup(self, nets: Nets) -> None:
        if self.gan_weight:
            nets.add(
                "discriminator",
                MLPDiscriminator(nets.classes, self.width),
                lambda parameters: torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999)),
            )

    def loss(self, nets: Nets, batch: Batch) -> Losses:  # type: ignore[override]
        student = super().loss(nets, batch)
        if not self.gan_weight:
            return student
        real = (batch.teacher_logits / self.temperature).log_softmax(1)
        fake = (batch.student_logits / self.temperature).log_softmax(1)
        discriminator = (1 - nets.discriminator(real)).relu() + (1 + nets.discriminator(fake.detach())).relu()
        if weight := self.gan_weight * min(1.0, 10 * batch.progress):
            student = student - weight * nets.discriminator(fake)
        return {"student": student, "discriminator": discriminator}

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        if self.gan_weight:
            power_iteration(nets.discriminator.module)
