"""It hands over weights that are not numbers."""

from collections.abc import Mapping

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-spoils-weights",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class SpoilsWeights(Method):
    """Adversarial training beyond numbers."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        if batch.progress > 0.5:
            for weight in nets.student.module.parameters():
                weight.fill_(float("nan"))
