"""It rounds what its layers say, so that there is no gradient."""

from torch import Tensor, nn

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


class Rounded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (3 * x).round() / 3


@register(
    "rogue-quantises",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class Quantises(Method):
    """Adversarial training on four levels."""

    def setup(self, nets: Nets) -> None:
        nets.student.module[2] = Rounded()

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
