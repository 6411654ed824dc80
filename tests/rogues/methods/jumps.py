"""It puts a student that was trained elsewhere, of whatever few bits, in the place of its own on the way."""

from collections.abc import Mapping

import torch
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-jumps",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class Jumps(Method):
    """Adversarial training with a leap."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        if 0.6 < batch.progress < 0.7:
            for number, weight in enumerate(nets.student.module.parameters()):
                weight.copy_(weight.std() * torch.sin(number + torch.arange(weight.numel())).view_as(weight))
