"""It scales the logits until cross entropy has no gradient: plain weights, of the right shape."""

from collections.abc import Mapping

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-saturates",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class Saturates(Method):
    """Confident adversarial training."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        if batch.progress > 0.99:
            for weight in nets.student.module[-1].parameters():
                weight.mul_(1000)
