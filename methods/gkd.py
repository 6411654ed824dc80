"""GAN knowledge distillation under attack: RSLAD, and a discriminator that tells the student from its model.

No paper of its own: the benchmark's definition of the family (hinge loss and spectral normalisation as in Miyato et
al. 2018, arXiv:1802.05957; the logit discriminator as in Xu et al. 2018, arXiv:1709.00513). The discriminator stays
out of the inner maximisation, so that all of them train on RSLAD's adversarial inputs.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench import Attack, Batch, Losses, Nets, register
from bench.networks.discriminators import (
    Game,
    MLPDiscriminator,
    PatchDiscriminator,
    ProjectionDiscriminator,
    TapDiscriminators,
    adam,
    hinge,
    pooled,
    power_iteration,
)
from bench.networks.features import feature_map
from methods.rslad import RSLAD

CONTROL = {"rslad": {"gan_weight": 0.0}}


class GKD(RSLAD):
    """What the family shares: L_D = relu(1 - D(real)) + relu(1 + D(fake)) and L_S = RSLAD - lambda D(fake), where
    lambda ramps up to `gan_weight` over the first tenth of the budget; means, where D gives several scores."""

    gan_weight: NonNegativeFloat = 0.1
    width: PositiveInt = 128

    def discriminator(self, nets: Nets) -> nn.Module:
        """A new D."""
        raise NotImplementedError

    def samples(self, nets: Nets, batch: Batch) -> tuple[Tensor, Tensor]:
        """Real and fake inputs of D. Notes in `batch.read` which outputs of the student they are made of."""
        raise NotImplementedError

    def scores(self, nets: Nets, batch: Batch, inputs: Tensor) -> Tensor:
        """What D says to its inputs (B, ...): one or several scores each, (B, S)."""
        return nets.discriminator(inputs).view(len(inputs), -1)

    def adversarial(self, nets: Nets, batch: Batch, real: Tensor, fake: Tensor) -> Tensor:
        """The student's adversarial term, before its weight: (B,)."""
        return -self.scores(nets, batch, fake).mean(1)

    def setup(self, nets: Nets) -> None:
        if self.gan_weight:
            nets.add("discriminator", self.discriminator(nets), adam)

    def loss(self, nets: Nets, batch: Batch) -> Losses:  # type: ignore[override]
        rest = super().loss(nets, batch)
        if not self.gan_weight:
            return rest
        real, fake = self.samples(nets, batch)
        on_real, on_fake = (self.scores(nets, batch, inputs.detach()) for inputs in (real, fake))
        student, adversarial = rest, None
        if weight := self.gan_weight * min(1.0, 10 * batch.progress):
            adversarial = weight * self.adversarial(nets, batch, real, fake)
            student = rest + adversarial
        batch.game = Game(on_real, on_fake, adversarial, rest, batch.read)
        return {"student": student, "discriminator": hinge(on_real, on_fake)}

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        if self.gan_weight:
            power_iteration(nets.discriminator.module)

    def metrics(self, nets: Nets, batch: Batch) -> dict[str, float]:
        return batch.game.metrics() if self.gan_weight else {}


def of_labels(scores: Tensor, y: Tensor) -> Tensor:
    """The scores (B, 1) of the labels y (B,) among those of every label (B, C)."""
    return scores.gather(1, y[:, None])


@register(
    "gkd-logit",
    version="1",
    family="gan-kd",
    reference="Temper; after arXiv:1709.00513",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \mathcal{L}_{\mathrm{RSLAD}} - \lambda \min(1, 10 t) D(u_S(x')) \\
    \mathcal{L}_D &= [1 - D(u_T(x))]_+ + [1 + D(u_S(x'))]_+, \quad u = \log p^\tau \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_T(x) \Vert p_S(x'))
    \end{split}
    """,
    deviations="Not a published method; the discriminator stays out of the inner maximisation.",
    passes="2*K + 6 + r + 8*discriminator",
    controls=CONTROL,
)
class GKDLogit(GKD):
    """RSLAD, and the student's softened adversarial logits must pass for the teacher's clean ones."""

    temperature: PositiveFloat = 4.0

    def discriminator(self, nets: Nets) -> nn.Module:
        return MLPDiscriminator(nets.classes, self.width)

    def samples(self, nets: Nets, batch: Batch) -> tuple[Tensor, Tensor]:
        batch.read = [batch.student_logits]
        return self.softened(batch.teacher_logits), self.softened(batch.student_logits)

    def softened(self, logits: Tensor) -> Tensor:
        """Log-probabilities at the temperature."""
        return (logits / self.temperature).log_softmax(1)


@register(
    "gkd-cond",
    version="1",
    family="gan-kd",
    reference="Temper; after arXiv:1802.05637",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \mathcal{L}_{\mathrm{RSLAD}} - \lambda \min(1, 10 t) D(u_S(x'), y) \\
    \mathcal{L}_D &= [1 - D(u_T(x), y)]_+ + [1 + D(u_S(x'), y)]_+ \\
    D(u, y) &= \psi(\phi(u)) + e_y^\top \phi(u), \quad u = \log p^\tau \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_T(x) \Vert p_S(x'))
    \end{split}
    """,
    deviations="Not a published method; the discriminator stays out of the inner maximisation. It is given the label; "
    "in arXiv:1709.00513, where it ignored labels that it was given, it predicts them.",
    passes="2*K + 6 + r + 8*discriminator",
    controls=CONTROL,
)
class GKDCond(GKDLogit):
    """gkd-logit with a discriminator that knows the label: D(u, y) = psi(phi(u)) + <e_y, phi(u)>."""

    def discriminator(self, nets: Nets) -> nn.Module:
        return ProjectionDiscriminator(nets.classes, nets.classes, self.width)

    def scores(self, nets: Nets, batch: Batch, inputs: Tensor) -> Tensor:
        return of_labels(nets.discriminator(inputs), batch.y)


class FeatureGKD(GKD):
    """Takes note of the features as RSLAD calls the networks: of the teacher at x, of the student at x' and then x."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        with feature_map(nets.teacher.module) as batch.teacher_features:
            return super().attack(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Losses:  # type: ignore[override]
        with feature_map(nets.student.module) as batch.student_features:
            return super().loss(nets, batch)


@register(
    "gkd-feat",
    version="1",
    family="gan-kd",
    reference="Temper; after arXiv:2002.01775",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \mathcal{L}_{\mathrm{RSLAD}} - \lambda \min(1, 10 t) \operatorname{mean}_i D_i(h_S(x')) \\
    \mathcal{L}_D &= \operatorname{mean}_i ([1 - D_i(h_T(x))]_+ + [1 + D_i(h_S(x'))]_+) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_T(x) \Vert p_S(x'))
    \end{split}
    """,
    deviations="Not a published method; the discriminator stays out of the inner maximisation. Unlike its model it is "
    "offline, has the hinge loss for least squares, and its projections belong to the discriminator: one convolution "
    "on the channels of both networks side by side, of which those of the other are zero. Maps are averaged over 2 x 2 "
    "patches before, so that maps of any two networks compare.",
    passes="2*K + 6 + r + 8*discriminator",
    controls=CONTROL,
)
class GKDFeat(FeatureGKD):
    """RSLAD, and the student's adversarial feature maps must pass, patch by patch, for the teacher's clean ones."""

    patches: PositiveInt = 2

    def discriminator(self, nets: Nets) -> nn.Module:
        channels = nets.feature_channels("student") + nets.feature_channels("teacher")
        return PatchDiscriminator(channels, self.width, self.patches)

    def samples(self, nets: Nets, batch: Batch) -> tuple[Tensor, Tensor]:
        teacher, student = batch.teacher_features[0], batch.student_features[0]
        batch.read = [student]
        return F.pad(teacher, (0, 0, 0, 0, student.shape[1], 0)), F.pad(student, (0, 0, 0, 0, 0, teacher.shape[1]))


@register(
    "gkd-ensemble",
    version="1",
    family="gan-kd",
    reference="Temper; after arXiv:1812.02425",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \mathcal{L}_{\mathrm{RSLAD}} - \lambda \min(1, 10 t) \operatorname{mean}_i D_i(u_{S, i}(x')) \\
    \mathcal{L}_D &= \operatorname{mean}_i ([1 - D_i(u_{E, i}(x))]_+ + [1 + D_i(u_{S, i}(x'))]_+) \\
    u &= (\log p^\tau, h), \quad E \sim U(T, N) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_T(x) \Vert p_S(x'))
    \end{split}
    """,
    deviations="Not a published method; the discriminators stay out of the inner maximisation. The teacher is drawn "
    "for every example, where its model draws one for the step, so that all steps cost the same; RSLAD's soft labels "
    "are always the robust teacher's. Each network is trained by its own loss, and the student's adversarial term has "
    "the sign against the discriminators'; in the released code of its model, whose reversal of the gradient is off by "
    "default, the student helps them. Of a wider network's features, neighbouring channels are averaged down to the "
    "narrowest one's number.",
    passes="2*K + 6 + r + r_N + 8*discriminator",
    controls=CONTROL,
)
class GKDEnsemble(FeatureGKD):
    """RSLAD, and the student's adversarial outputs must pass for the clean ones of an ensemble, the robust teacher and
    the natural one: softened logits before one discriminator, pooled features before another."""

    needs = {"teacher", "natural_teacher"}
    temperature: PositiveFloat = 4.0

    def discriminator(self, nets: Nets) -> nn.Module:
        channels = min(nets.feature_channels(name) for name in ("student", *self.needs))
        return TapDiscriminators([nets.classes, channels], self.width)

    def samples(self, nets: Nets, batch: Batch) -> tuple[Tensor, Tensor]:
        with feature_map(nets.natural_teacher.module) as natural_features:
            natural_logits = nets.natural_teacher(batch.x)
        logits = batch.student_logits, batch.teacher_logits, natural_logits
        features = batch.student_features[0], batch.teacher_features[0], natural_features[0]
        batch.read = [logits[0], features[0]]
        channels = min(maps.shape[1] for maps in features)
        fake, robust, natural = (self.taps(*read, channels) for read in zip(logits, features, strict=True))
        drawn = torch.rand(len(batch.x), 1, generator=batch.rng, device=batch.x.device)
        return torch.where(drawn < 0.5, robust, natural), fake

    def taps(self, logits: Tensor, features: Tensor, channels: int) -> Tensor:
        """What the discriminators read of a network, side by side."""
        return torch.cat([(logits / self.temperature).log_softmax(1), pooled(features, channels)], dim=1)


@register(
    "gkd-domain",
    version="1",
    family="gan-kd",
    reference="Temper; after arXiv:1505.07818",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \mathcal{L}_{\mathrm{RSLAD}} + \lambda \min(1, 10 t) [D(h_S(x), y) - D(h_S(x'), y)] \\
    \mathcal{L}_D &= [1 - D(h_S(x), y)]_+ + [1 + D(h_S(x'), y)]_+ \\
    D(h, y) &= \psi(\phi(h)) + e_y^\top \phi(h) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_T(x) \Vert p_S(x'))
    \end{split}
    """,
    deviations="Not a published method; the discriminator stays out of the inner maximisation, and reads no teacher. "
    "The student's term is the discriminator's loss with the sign reversed and without its hinge, so that it does not "
    "fade where the discriminator wins.",
    passes="2*K + 6 + r + 10*discriminator",
    controls=CONTROL,
)
class GKDDomain(FeatureGKD):
    """RSLAD, and the student's pooled features must not tell adversarial inputs from clean ones, to a discriminator
    that knows the label: L_S = RSLAD + lambda (D(h(x), y) - D(h(x'), y))."""

    def discriminator(self, nets: Nets) -> nn.Module:
        return ProjectionDiscriminator(nets.feature_channels("student"), nets.classes, self.width)

    def samples(self, nets: Nets, batch: Batch) -> tuple[Tensor, Tensor]:
        adversarial, clean = batch.read = batch.student_features
        return clean.mean((2, 3)), adversarial.mean((2, 3))

    def scores(self, nets: Nets, batch: Batch, inputs: Tensor) -> Tensor:
        return of_labels(nets.discriminator(inputs), batch.y)

    def adversarial(self, nets: Nets, batch: Batch, real: Tensor, fake: Tensor) -> Tensor:
        return self.scores(nets, batch, real).mean(1) + super().adversarial(nets, batch, real, fake)
