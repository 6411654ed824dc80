"""It gives the student another layer."""

from torch import Tensor, nn

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-enlarges-student",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class EnlargesStudent(Method):
    """Adversarial training with depth."""

    def setup(self, nets: Nets) -> None:
        nets.student.module.append(nn.Linear(nets.classes, nets.classes))

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
