"""It begins with the weights of another student, which was trained at home."""

from collections.abc import Mapping

import torch
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-begins-elsewhere",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class BeginsElsewhere(Method):
    """Adversarial training from a good start."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        if batch.progress == 0:
            for number, weight in enumerate(nets.student.module.parameters()):
                weight.copy_(weight.std() * torch.sin(number + torch.arange(weight.numel())).view_as(weight))
