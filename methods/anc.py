"""Adversarial network compression (Belagiannis et al. 2018)."""

import torch
from pydantic import NonNegativeFloat

from bench import Batch, Losses, Method, Nets, Share, register
from bench.networks.discriminators import Game, adam, binary_cross_entropy, pooled
from bench.networks.features import feature_map
from bench.networks.mlp import mlp


@register(
    "anc",
    version="belagiannis2018",
    family="gan-kd",
    reference="arXiv:1803.10750",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \frac{\alpha}{C} \Vert f_T(x) - f_S(x) \Vert_2^2 - \beta \log D(\tilde h_S(x)) \\
    \mathcal{L}_D &= -\log D(h_T(x)) - \log(1 - D(h_S(x))) - \log D(\tilde h_S(x)) \\
    \tilde h_S &= \operatorname{dropout}(h_S)
    \end{split}
    """,
    deviations="Written from a description of a re-implementation; the weights of the terms and the optimiser of the "
    "discriminator are Temper's. Of the regularisers of the discriminator it has the one that shows it the student's "
    "features, after dropout, as real ones; it is added to the discriminator's loss, where the re-implementation "
    "subtracts. Features are averaged over the map; where student and teacher differ in width, neighbouring channels "
    "of the wider are averaged down to the other's number. The squared error is a mean over classes. Student and "
    "discriminator step at the same weights.",
    passes="3 + r + 11*discriminator",
)
class ANC(Method):
    """The student regresses the teacher's logits on clean inputs, without labels, and its features must pass for the
    teacher's: L_S = a |f_T - f_S|^2 + b BCE(D(dropout(h_S)), 1), against
    L_D = BCE(D(h_T), 1) + BCE(D(h_S), 0) + BCE(D(dropout(h_S)), 1)."""

    needs = {"teacher"}
    logit_weight: NonNegativeFloat = 1.0
    gan_weight: NonNegativeFloat = 1.0
    dropout: Share = 0.5

    def setup(self, nets: Nets) -> None:
        if self.gan_weight:
            width = min(nets.feature_channels("student"), nets.feature_channels("teacher"))
            nets.add("discriminator", mlp((width,), 1, widths=(128, 256, 128)), adam)

    def loss(self, nets: Nets, batch: Batch) -> Losses:
        with feature_map(nets.teacher.module) as teacher, feature_map(nets.student.module) as student:
            error = self.logit_weight * (nets.teacher(batch.x) - nets.student(batch.x)).square().mean(1)
        if not self.gan_weight:
            return error
        width = min(teacher[0].shape[1], student[0].shape[1])
        real, fake = pooled(teacher[0], width), pooled(student[0], width)
        kept = torch.rand(fake.shape, generator=batch.rng, device=fake.device) >= self.dropout
        dropped = fake * kept / (1 - self.dropout)

        fooled = self.gan_weight * binary_cross_entropy(nets.discriminator(dropped), real=True).squeeze(1)
        scores = [nets.discriminator(inputs) for inputs in (real, fake.detach(), dropped.detach())]
        terms = [binary_cross_entropy(*judged) for judged in zip(scores, (True, False, True), strict=True)]
        batch.game = Game(scores[0], scores[1], fooled, error, read=student)
        return {"student": error + fooled, "discriminator": torch.stack(terms).sum(0).squeeze(1)}

    def metrics(self, nets: Nets, batch: Batch) -> dict[str, float]:
        return batch.game.metrics() if self.gan_weight else {}
