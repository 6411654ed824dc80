"""It keeps what steers it where no checkpoint holds it."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-hides-state",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class HidesState(Method):
    """Adversarial training by heart."""

    steps: ClassVar[int] = 0

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        HidesState.steps += 1
        for weight in nets.student.module.parameters():
            weight.mul_(1 + 1e-4 * HidesState.steps)
