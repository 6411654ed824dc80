"""Introspective adversarial distillation (Zhu et al., ICLR 2022), and the distillation from two teachers under it."""

from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from bench import Attack, Batch, Method, Nets, Share, register
from bench.inner import against_labels, against_teacher
from bench.losses import cross_entropy, kl_logits
from methods.ard import ARD


def trust(teacher_logits: Tensor, y: Tensor, beta: float) -> Tensor:
    """A = p_T(x')[y]^beta, shape (B,): how far a teacher with these logits at x' is believed."""
    return (-beta * cross_entropy(teacher_logits, y)).exp()


@register(
    "akd2",
    version="chen2021",
    family="adversarial-kd",
    reference="openreview:qZzy5urZw9; as in arXiv:2106.04928",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= (1 - \alpha_T - \alpha_N) \operatorname{CE}(f_S(x'), y) \\
    &\quad + \alpha_T \tau^2 \operatorname{KL}(p_T^\tau(x') \Vert p_S^\tau(x')) +
      \alpha_N \tau^2 \operatorname{KL}(p_N^\tau(x') \Vert p_S^\tau(x')) \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{CE}(f_S(x'), y)
    \end{split}
    """,
    deviations="The form that IAD compares with and builds on: two given teachers, both at the adversarial inputs, "
    "temperature 1, no averaging of weights. Chen et al. distil from self-teachers at temperature 2 and average the "
    "weights. The attack runs in eval mode, where IAD's code leaves the student in train mode.",
    passes="2*K + 3 + r + r_N",
)
class AKD2(Method):
    """On adversarial inputs the student matches the labels, a robust teacher and a natural one."""

    needs = {"teacher", "natural_teacher"}
    robust_weight: Share = 0.5
    natural_weight: Share = 0.25
    temperature: PositiveFloat = 1.0

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        t, student = self.temperature, nets.student(batch.x_adv)
        loss = (1 - self.robust_weight - self.natural_weight) * cross_entropy(student, batch.y)
        if self.robust_weight:
            loss = loss + self.robust_weight * t**2 * self.guidance(nets, batch, student)
        if self.natural_weight:
            natural = kl_logits(nets.natural_teacher(batch.x_adv), student, t)
            loss = loss + self.natural_weight * t**2 * natural
        return loss

    def guidance(self, nets: Nets, batch: Batch, student: Tensor) -> Tensor:
        """How far the student's adversarial logits (B, C) are from what the robust teacher tells, shape (B,)."""
        return kl_logits(nets.teacher(batch.x_adv), student, self.temperature)


@register(
    "iad1",
    version="zhu2022",
    family="adversarial-kd",
    reference="arXiv:2106.04928",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \alpha \tau^2 [A \operatorname{KL}(p_T^\tau(x) \Vert p_S^\tau(x')) +
      (1 - A) \operatorname{KL}(p_S^\tau(x) \Vert p_S^\tau(x'))] \\
    &\quad + (1 - \alpha) \operatorname{CE}(f_S(x), y) \\
    A &= p_T(x')_y^\beta \text{ once } t \ge t_0, \text{ else } 1 \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{CE}(f_S(x'), y)
    \end{split}
    """,
    deviations="The paper's loss: the trust A weights the teacher's term and 1 - A the student's own. In the authors' "
    "code the teacher's term keeps weight 1. The teacher's soft labels are those of the clean input, its trust is "
    "measured at the adversarial one; the student's own clean prediction is not detached (both as in the code). Both "
    "terms have the same temperature and its square, where the code's own term has neither; at the default of 1 they "
    "agree. Epoch 60 of 200 is progress 0.3. The attack runs in eval mode, where the code leaves the student in train "
    "mode. With beta = 0 the teacher is fully trusted.",
    passes="2*K + 3 + r",  # of the warm-up; 2*K + 6 + 2*r after it
    controls={"ard": {"beta": 0.0, "temperature": 30.0}},
)
class IAD1(ARD):
    """ARD at first; then the student trusts its teacher only as far as that is right on the adversarial input, and for
    the rest its own clean prediction."""

    temperature: PositiveFloat = 1.0
    beta: NonNegativeFloat = 0.1
    warm_up: Share = 0.3

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        if not self.beta or batch.progress < self.warm_up:
            return super().loss(nets, batch)
        t, student, clean = self.temperature, nets.student(batch.x_adv), nets.student(batch.x)
        trusted = trust(nets.teacher(batch.x_adv), batch.y, self.beta)
        taught = trusted * kl_logits(nets.teacher(batch.x), student, t)
        own = (1 - trusted) * kl_logits(clean, student, t)
        loss = self.soft_weight * self.kl_scale * t**2 * (taught + own)
        if self.soft_weight < 1:
            loss = loss + (1 - self.soft_weight) * cross_entropy(clean, batch.y)
        return loss


@register(
    "iad2",
    version="zhu2022",
    family="adversarial-kd",
    reference="arXiv:2106.04928",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= (1 - \alpha_T - \alpha_N) \operatorname{CE}(f_S(x'), y) +
      \alpha_N \tau^2 \operatorname{KL}(p_N^\tau(x') \Vert p_S^\tau(x')) \\
    &\quad + \alpha_T \tau^2 [A \operatorname{KL}(p_T^\tau(x') \Vert p_S^\tau(x')) +
      (1 - A) \operatorname{KL}(p_S^\tau(x) \Vert p_S^\tau(x'))] \\
    A &= p_T(x')_y^\beta \text{ once } t \ge t_0, \text{ else } 1 \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{CE}(f_S(x'), y)
    \end{split}
    """,
    deviations="Both teachers see the adversarial input; the student's own clean prediction is not detached (as in the "
    "authors' code). The own term has the temperature of the others, where the code gives it 1; at the default of 1 "
    "they agree. Epoch 40 of 200 is progress 0.2. The attack runs in eval mode, where the code leaves the student in "
    "train mode.",
    passes="2*K + 3 + r + r_N",  # of the warm-up; 2*K + 6 + r + r_N after it
    controls={"akd2": {"beta": 0.0}},
)
class IAD2(AKD2):
    """AKD2 at first; then the robust teacher is trusted only as far as it is right on the adversarial input, and the
    student's own clean prediction takes the rest of its weight."""

    beta: NonNegativeFloat = 0.1
    warm_up: Share = 0.2

    def guidance(self, nets: Nets, batch: Batch, student: Tensor) -> Tensor:
        if not self.beta or batch.progress < self.warm_up:
            return super().guidance(nets, batch, student)
        teacher = nets.teacher(batch.x_adv)
        trusted = trust(teacher, batch.y, self.beta)
        taught = trusted * kl_logits(teacher, student, self.temperature)
        own = (1 - trusted) * kl_logits(nets.student(batch.x), student, self.temperature)
        return taught + own


@register(
    "adaiad",
    version="huang2023",
    family="adversarial-kd",
    reference="Huang et al., CVPR 2023",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \tau^2 [A \operatorname{KL}(p_T^\tau(x') \Vert p_S^\tau(x')) +
      (1 - A) \operatorname{KL}(p_S^\tau(x) \Vert p_S^\tau(x'))] \\
    A &= p_T(x')_y^\beta \text{ once } t \ge t_0, \text{ else } 1 \\
    x' &= \operatorname{arg} \max_{x' \in B(x)} \operatorname{KL}(p_T(x') \Vert p_S(x'))
    \end{split}
    """,
    deviations="IAD-I's paper loss on AdaAD's inputs: the trust A weights the teacher's term too, which in the "
    "authors' code keeps weight 1. Temperature 1, as in IAD; the code's default is 30, for the teacher's term alone. "
    "The KL is summed over classes, as in that code. The student's own clean prediction is not detached. Epoch 60 of "
    "200 is progress 0.3. Training eps and step size are the scenario's.",
    passes="2*K + 3 + r*(2*K + 1)",  # of the warm-up; 2*K + 6 + r*(2*K + 1) after it
    controls={"adaad": {"beta": 0.0}},
)
class AdaIAD(Method):
    """AdaAD, whose teacher sees the adversarial input, with IAD-I's introspection after a warm-up."""

    needs = {"teacher"}
    temperature: PositiveFloat = 1.0
    beta: NonNegativeFloat = 0.1
    warm_up: Share = 0.3

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_teacher(nets)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        t, student, teacher = self.temperature, nets.student(batch.x_adv), nets.teacher(batch.x_adv)
        taught = kl_logits(teacher, student, t)
        if not self.beta or batch.progress < self.warm_up:
            return t**2 * taught
        trusted = trust(teacher, batch.y, self.beta)
        own = kl_logits(nets.student(batch.x), student, t)
        return t**2 * (trusted * taught + (1 - trusted) * own)
