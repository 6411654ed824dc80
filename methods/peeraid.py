"""Adversarial distillation from a specialised peer (Jung et al., CVPR 2024)."""

from pydantic import NonNegativeFloat, PositiveFloat

from bench import Attack, Batch, Losses, Method, Nets, Share, register
from bench.inner import against_soft_labels
from bench.losses import cross_entropy, kl_logits
from bench.method import Averaging


@register(
    "peeraid",
    version="jung2024",
    family="online-kd",
    reference="arXiv:2403.06668",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \kappa \tau^2 [\alpha \operatorname{KL}(p_P^\tau(x') \Vert p_S^\tau(x')) +
      \beta \operatorname{KL}(p_S^\tau(x) \Vert p_S^\tau(x'))] \\
    &\quad + \lambda \operatorname{CE}(f_S(x'), y), \quad \bar\theta = \operatorname{mean}_{t \ge t_0} \theta_t \\
    \mathcal{L}_P &= \alpha_P \operatorname{CE}(f_P(x'), y) +
      \beta_P \kappa \tau_P^2 \operatorname{KL}(p_S^{\tau_P}(x') \Vert p_P^{\tau_P}(x')) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_P(x) \Vert p_S(x'))
    \end{split}
    """,
    deviations="The weights are those of the authors' code on CIFAR-10, whose KL is a mean over classes: kl_scale, "
    "which matters beside the cross entropy, keeps that. Each network is trained by its own loss; in the code, which "
    "differentiates their sum, the peer's divergence from the student moves the student too. The peer is another "
    "network of the student's architecture. The average is taken after every step, not every epoch, and the statistics "
    "of batch norm are averaged with the weights instead of estimated anew.",
    passes="2*K + 6 + 4*peer",
)
class PeerAiD(Method):
    """Student and peer learn together, from scratch, on inputs that attack the student: the student matches the peer
    there and its own clean prediction, the peer learns the labels and, a little, the student."""

    temperature: PositiveFloat = 5.0
    hard_weight: NonNegativeFloat = 0.0
    soft_weight: NonNegativeFloat = 1.0
    consistency_weight: NonNegativeFloat = 1.0
    peer_temperature: PositiveFloat = 1.0
    peer_hard_weight: NonNegativeFloat = 1.0
    peer_soft_weight: NonNegativeFloat = 0.1
    kl_scale: PositiveFloat = 0.1  # a mean over 10 classes
    average_from: Share = 214 / 300

    def setup(self, nets: Nets) -> None:
        nets.add_student("peer")

    def averaging(self) -> Averaging:
        return Averaging(decay=None, start=self.average_from)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_soft_labels(nets, nets.peer(batch.x).softmax(1))

    def loss(self, nets: Nets, batch: Batch) -> Losses:
        t, u = self.temperature, self.peer_temperature
        student, peer = nets.student(batch.x_adv), nets.peer(batch.x_adv)

        learn = self.soft_weight * kl_logits(peer.detach(), student, t)
        if self.consistency_weight:
            learn = learn + self.consistency_weight * kl_logits(nets.student(batch.x), student, t)
        learn = self.kl_scale * t**2 * learn
        if self.hard_weight:
            learn = learn + self.hard_weight * cross_entropy(student, batch.y)

        teach = self.peer_hard_weight * cross_entropy(peer, batch.y)
        if self.peer_soft_weight:
            teach = teach + self.kl_scale * self.peer_soft_weight * u**2 * kl_logits(student.detach(), peer, u)
        return {"student": learn, "peer": teach}
