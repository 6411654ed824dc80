"""It hands over the teacher as its student."""

from torch import Tensor, nn

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-returns-teacher",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class ReturnsTeacher(Method):
    """The student becomes the teacher."""

    needs = {"teacher"}

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)

    def deliver(self, nets: Nets) -> nn.Module:
        return nets.teacher.module
