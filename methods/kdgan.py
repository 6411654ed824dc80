"""Knowledge distillation with generative adversarial networks (Wang et al., NeurIPS 2018)."""

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from bench import Batch, Losses, Method, Nets, Share, register
from bench.losses import cross_entropy
from bench.networks import copied
from bench.networks.discriminators import Game, binary_cross_entropy


@register(
    "kdgan",
    version="wang2018",
    family="gan-kd",
    reference="Wang et al., NeurIPS 2018",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= -(1 - \alpha) \log D(\tilde y_S) + \lambda_S M(f_P, f_S), \quad
      \tilde y_i \sim \operatorname{Gumbel}(f_i(x)) \\
    \mathcal{L}_P &= -\alpha \log D(\tilde y_P) + \lambda_P M(f_S, f_P), \quad f_P = f_T \text{ at first} \\
    \mathcal{L}_D &= -\log D(y) - (1 - \alpha) \log(1 - D(\tilde y_S)) - \alpha \log(1 - D(\tilde y_P)) \\
    M(f, g) &= \frac{\beta}{C} \Vert f(x) - g(x) \Vert_2^2 + (1 - \beta) \operatorname{CE}(g(x), y)
    \end{split}
    """,
    deviations="Weights as in the authors' run on MNIST. All three networks make one step a step, at the same weights; "
    "the code alternates 20 epochs of the discriminator with 10 each of teacher and student. The gradient of the "
    "adversarial terms, -log D of a drawn label, goes through a relaxation of the draw, whose temperature is Temper's; "
    "in the code, D's reward is the target of a cross entropy on drawn logits. Their distillation at temperature 3 is "
    "the squared error of logits without any, as 3^2 cancels; it is a mean over classes. The discriminator is another "
    "network of the student's architecture, with an output for each label; it has Adam at 1e-3, the tutor at 5e-4, the "
    "student the scenario's optimiser.",
    passes="3 + 3*tutor + 3*discriminator",
)
class KDGAN(Method):
    """Student and tutor, a copy of the teacher that goes on training, learn from the labels and from each other, on
    clean inputs; and the labels that they draw must pass for true ones to a discriminator."""

    needs = {"teacher"}
    alpha: Share = 0.8  # of the adversarial terms the tutor's share; the rest is the student's: none at 1
    student_weight: NonNegativeFloat = 2.0
    tutor_weight: NonNegativeFloat = 1e-4
    soft_weight: Share = 0.3
    gumbel_temperature: PositiveFloat = 1.0

    def setup(self, nets: Nets) -> None:
        tutor = copied(nets.teacher.module).requires_grad_(True)
        nets.add("tutor", tutor, lambda parameters: torch.optim.Adam(parameters, lr=5e-4))
        judge = nets.harness.new_student()
        nets.add("discriminator", judge, lambda parameters: torch.optim.Adam(parameters, lr=1e-3))

    def loss(self, nets: Nets, batch: Batch) -> Losses:
        student, tutor, scores = nets.student(batch.x), nets.tutor(batch.x), nets.discriminator(batch.x)
        drawn = [self.drawn(logits, batch) for logits in (student, tutor)]

        fooled, tutor_fooled = (judged(scores.detach(), labels, real=True) for labels in drawn)
        caught, tutor_caught = (judged(scores, labels.detach(), real=False) for labels in drawn)
        of_labels = scores.gather(1, batch.y[:, None]).squeeze(1)
        true = binary_cross_entropy(of_labels, real=True)
        a = self.alpha
        adversarial, rest = (1 - a) * fooled, self.student_weight * self.mixture(tutor.detach(), student, batch.y)
        batch.game = Game(of_labels, (scores * drawn[0]).sum(1), adversarial, rest, read=[student])
        return {
            "student": adversarial + rest,
            "tutor": a * tutor_fooled + self.tutor_weight * self.mixture(student.detach(), tutor, batch.y),
            "discriminator": true + (1 - a) * caught + a * tutor_caught,
        }

    def metrics(self, nets: Nets, batch: Batch) -> dict[str, float]:
        return batch.game.metrics()

    def drawn(self, logits: Tensor, batch: Batch) -> Tensor:
        """Labels drawn from softmax(logits), relaxed (B, C) so that gradients flow through them."""
        uniform = torch.rand(logits.shape, generator=batch.rng, device=logits.device)
        gumbel = -(-uniform.log()).log()
        return ((logits + gumbel.to(logits.dtype)) / self.gumbel_temperature).softmax(1)

    def mixture(self, target_logits: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        """Of the squared error to another's logits and the cross entropy to the labels, (B,)."""
        error = (target_logits - logits).square().mean(1)
        return self.soft_weight * error + (1 - self.soft_weight) * cross_entropy(logits, y)


def judged(scores: Tensor, labels: Tensor, real: bool) -> Tensor:
    """Binary cross entropy of the discriminator's scores for relaxed labels (B, C): (B,)."""
    return binary_cross_entropy((scores * labels).sum(1), real)
