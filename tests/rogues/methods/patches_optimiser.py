"""It replaces the step of the optimiser by a longer one."""

import torch
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy

plain = torch.optim.SGD.step


def twice(self: torch.optim.SGD) -> None:
    plain(self)
    plain(self)


@register(
    "rogue-patches-optimiser",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class PatchesOptimiser(Method):
    """Adversarial training with drive."""

    def setup(self, nets: Nets) -> None:
        torch.optim.SGD.step = twice

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
