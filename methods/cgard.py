"""CGARD (2026): student and teacher are each moved by a perturbation of their own."""

import torch
from torch import Tensor

from bench import Batch, Method, Nets, Share, register
from bench.losses import cross_entropy, kl_logits


@register(
    "cgard",
    version="2026",
    family="adversarial-kd",
    reference="CGARD (2026); no arXiv number or code is known to us",
    formula=r"""
    \begin{split}
    \mathcal{L}_S &= \alpha \operatorname{KL}(p_T(x') \Vert p_S(x')) +
      (1 - \alpha) \operatorname{KL}(p_T(\hat x) \Vert p_S(x')) \\
    \hat x &= x'' \text{ if } \operatorname{CE}(f_T(x''), y) \le \operatorname{CE}(f_T(x), y), \text{ else } x \\
    x', x'' &= \operatorname{arg} \max_{x', x'' \in B(x)} \operatorname{KL}(p_S(x') \Vert p_T(x'')) +
      \operatorname{KL}(p_T(x'') \Vert p_S(x'))
    \end{split}
    """,
    deviations="The maximisation starts at x, the paper's at x + 0.001 N(0, 1), so that the teacher's input does not "
    "depend on an example's place in the batch; student and teacher disagree at x already, and the first step moves "
    "all. The KL is summed over classes.",
    passes="2*K + 3 + r*(2*K + 3)",
)
class CGARD(Method):
    """The student at its own adversarial input matches the teacher there, and the teacher at the one that was found
    for it along with the student's, provided that this one serves the teacher (x otherwise)."""

    needs = {"teacher"}
    matched_weight: Share = 0.7

    def attack(self, nets: Nets, batch: Batch) -> Tensor:
        def disagreement(pair: Tensor) -> Tensor:
            student_x, teacher_x = pair.chunk(2)
            student, teacher = nets.student(student_x), nets.teacher(teacher_x)
            return (0.5 * (kl_logits(student, teacher) + kl_logits(teacher, student))).repeat(2)

        student_x, teacher_x = nets.maximise(disagreement, torch.cat([batch.x, batch.x]), "zero").chunk(2)
        if self.matched_weight < 1:
            batch.guidance = self.guidance(nets, batch, teacher_x)
        return student_x

    def guidance(self, nets: Nets, batch: Batch, teacher_x: Tensor) -> Tensor:
        """The teacher's logits (B, C) at its own adversarial input, or at x where that one is worse for the label."""
        clean, moved = nets.teacher(batch.x), nets.teacher(teacher_x)
        serves = cross_entropy(moved, batch.y) <= cross_entropy(clean, batch.y)
        return torch.where(serves[:, None], moved, clean)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        student = nets.student(batch.x_adv)
        loss = self.matched_weight * kl_logits(nets.teacher(batch.x_adv), student)
        if self.matched_weight < 1:
            loss = loss + (1 - self.matched_weight) * kl_logits(batch.guidance, student)
        return loss
