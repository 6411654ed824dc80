"""Data-free adversarial distillation (Fang et al. 2019), and robust."""

import torch
from pydantic import PositiveInt
from torch import Tensor

from bench import Attack, Batch, Losses, Method, Nets, Share, register
from bench.inner import against_soft_labels
from bench.networks.generators import ImageGenerator


@register(
    "dfad-r",
    version="1",
    family="gan-kd",
    reference="Temper; after arXiv:1912.11006",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \frac{\alpha}{C} \Vert f_T(x) - f_S(x') \Vert_1 +
      \frac{1 - \alpha}{C} \Vert f_T(x) - f_S(x) \Vert_1 \\
    \mathcal{L}_G &= -\frac{1}{C} \Vert f_T(x) - f_S(x) \Vert_1, \quad x = G(z), \quad z \sim N(0, I) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_T(x) \Vert p_S(x'))
    \end{split}
    """,
    deviations="Not a published method: the clean one, with RSLAD's inner maximisation and weights. The distance is L1 "
    "between logits, as published, a mean over classes. The generator makes a step for each of the student's, where "
    "the code makes one for five, and at a fifth of its rate; it is narrow, has group norm, not batch norm, and raises "
    "the distance at its own outputs, not at the adversarial ones. The student has the scenario's optimiser and batch "
    "size.",
    passes="2*K + 7 + 3*r + 4*generator",
    track="data-free",
)
class DFADR(Method):
    """No data: the student matches the teacher's logits on inputs that a generator makes, and around them, where the
    student's soft labels are the farthest from the teacher's; the generator looks for inputs on which both differ."""

    needs = {"teacher"}
    adversarial_weight: Share = 5 / 6
    latent: PositiveInt = 256
    width: PositiveInt = 32

    def setup(self, nets: Nets) -> None:
        generator = ImageGenerator(self.latent, nets.shape, nets.threat.bounds, self.width)
        nets.add("generator", generator, lambda parameters: torch.optim.Adam(parameters, lr=2e-4))

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        latent = torch.randn(len(batch.x), self.latent, generator=batch.rng, device=batch.x.device)
        batch.latent = latent.to(batch.x.dtype)
        batch.x = nets.generator(batch.latent)
        batch.target_logits = nets.teacher(batch.x)
        return against_soft_labels(nets, batch.target_logits.softmax(1))

    def loss(self, nets: Nets, batch: Batch) -> Losses:
        adversarial = distance(batch.target_logits, nets.student(batch.x_adv))
        generated = nets.generator(batch.latent)
        logits = nets.student(generated)
        clean = distance(batch.target_logits, logits)
        return {
            "student": self.adversarial_weight * adversarial + (1 - self.adversarial_weight) * clean,
            "generator": -distance(nets.teacher(generated), logits),
        }


def distance(target_logits: Tensor, logits: Tensor) -> Tensor:
    """Of logits (B, C): the mean of all absolute differences. Generated inputs have no place in the data, so no loss of
    their own."""
    return (target_logits - logits).abs().mean()
