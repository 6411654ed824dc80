"""Three textbook ways to put adversarial examples into knowledge distillation: into the inputs, the loss, a GAN.

No papers of their own: the benchmark's definitions, simpler than what is published.
"""

from collections.abc import Mapping

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from bench import Attack, Batch, Losses, Method, Nets, Share, register
from bench.inner import against_labels
from bench.losses import cross_entropy, kl_logits
from bench.networks.discriminators import Game, ImageDiscriminator, adam, binary_cross_entropy, power_iteration
from bench.networks.generators import PerturbationGenerator
from methods.kd import KD


@register(
    "akd-inputs",
    version="1",
    family="baseline-kd",
    reference="Temper; after arXiv:1503.02531",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= (1 - \alpha) \tau^2 \operatorname{KL}(p_T^\tau(x) \Vert p_S^\tau(x)) \\
    &\quad + \alpha \tau^2 \operatorname{KL}(p_T^\tau(x') \Vert p_S^\tau(x')) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{CE}(f_T(x'), y)
    \end{split}
    """,
    deviations="Not a published method. Clean and adversarial inputs weigh the same; no hard labels.",
    passes="2*K*r + 6 + 2*r",
)
class AKDInputs(Method):
    """The student matches the teacher's soft labels, at a temperature, on clean inputs and on adversarial examples that
    fool the teacher."""

    needs = {"teacher"}
    temperature: PositiveFloat = 4.0
    adversarial_weight: Share = 0.5

    def attack(self, nets: Nets, batch: Batch) -> Attack | Tensor:
        return Attack(lambda x: cross_entropy(nets.teacher(x), batch.y))

    def loss(self, nets: Nets, batch: Batch) -> Losses:
        return self.matching(nets, batch, nets.teacher(batch.x_adv))

    def matching(self, nets: Nets, batch: Batch, adversarial_logits: Tensor) -> Tensor:
        """The divergence from the teacher, whose logits at the adversarial inputs are given: (B,)."""
        t, w = self.temperature, self.adversarial_weight
        clean = kl_logits(nets.teacher(batch.x), nets.student(batch.x), t)
        adversarial = kl_logits(adversarial_logits, nets.student(batch.x_adv), t)
        return t**2 * ((1 - w) * clean + w * adversarial)


@register(
    "akd-loss",
    version="1",
    family="baseline-kd",
    reference="Temper; after arXiv:1503.02531 and arXiv:1706.06083",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \alpha \tau^2 \operatorname{KL}(p_T^\tau(x) \Vert p_S^\tau(x)) +
      (1 - \alpha) \operatorname{CE}(f_S(x), y) \\
    &\quad + \beta \operatorname{CE}(f_S(x'), y) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{CE}(f_S(x'), y)
    \end{split}
    """,
    deviations="Not a published method: the sum of kd and pgd-at.",
    passes="2*K + 6 + r",
)
class AKDLoss(KD):
    """Clean knowledge distillation, and the cross entropy on adversarial examples of the student."""

    adversarial_weight: NonNegativeFloat = 1.0

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        adversarial = cross_entropy(nets.student(batch.x_adv), batch.y)
        return super().loss(nets, batch) + self.adversarial_weight * adversarial


@register(
    "akd-gan",
    version="1",
    family="baseline-kd",
    reference="Temper; after arXiv:1503.02531 and arXiv:1801.02610",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= (1 - \alpha) \tau^2 \operatorname{KL}(p_T^\tau(x) \Vert p_S^\tau(x)) +
      \alpha \tau^2 \operatorname{KL}(p_T^\tau(x') \Vert p_S^\tau(x')) \\
    \mathcal{L}_G &= -\operatorname{CE}(f_T(x'), y) - \lambda \log D(x') \\
    \mathcal{L}_D &= -\log D(x) - \log(1 - D(x')) \\
    x' &= \operatorname{proj}_{B(x)}(x + \varepsilon G(x))
    \end{split}
    """,
    deviations="Not a published method. The idea is a sum, L_KL - E[L_gen] + E[L_dis]; each term trains its own "
    "network: student, generator, discriminator. In L_gen the adversarial inputs must also pass for clean ones, or the "
    "discriminator would be without effect; all terms have weight 1. The perturbation is eps tanh(g(x)), projected "
    "into the ball and the bounds.",
    passes="6 + 3*r + 4*generator + 8*discriminator",
)
class AKDGAN(AKDInputs):
    """The adversarial examples of akd-inputs come from a generator, in one forward.

    The generator raises L_gen = CE(f_T(x'), y) + log D(x'), the discriminator lowers
    L_dis = -log D(x) - log(1 - D(x')), the student lowers L_KL, the divergences from the teacher at x and x'.
    """

    gan_weight: NonNegativeFloat = 1.0
    width: PositiveInt = 32

    def setup(self, nets: Nets) -> None:
        channels = nets.shape[0]
        nets.add("generator", PerturbationGenerator(channels, self.width), adam)
        if self.gan_weight:
            nets.add("discriminator", ImageDiscriminator(channels, self.width), adam)

    def attack(self, nets: Nets, batch: Batch) -> Tensor:
        return batch.x + nets.threat.eps * nets.generator(batch.x)

    def loss(self, nets: Nets, batch: Batch) -> Losses:
        moved = nets.threat.project(batch.x, self.attack(nets, batch))  # x', with the graph of the generator
        logits = nets.teacher(moved)
        losses = {
            "student": self.matching(nets, batch, logits.detach()),
            "generator": -cross_entropy(logits, batch.y),
        }
        if self.gan_weight:
            real, fake = nets.discriminator(batch.x), nets.discriminator(batch.x_adv)
            losses["discriminator"] = (binary_cross_entropy(real, True) + binary_cross_entropy(fake, False)).mean(1)
            passed = self.gan_weight * binary_cross_entropy(nets.discriminator(moved), real=True).mean(1)
            batch.game = Game(real, fake, passed, losses["generator"], read=[moved])
            losses["generator"] = losses["generator"] + passed
        return losses

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        if self.gan_weight:
            power_iteration(nets.discriminator.module)

    def metrics(self, nets: Nets, batch: Batch) -> dict[str, float]:
        return batch.game.metrics() if self.gan_weight else {}
