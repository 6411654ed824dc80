"""It gives the student a buffer that is in no architecture."""

import torch
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-hides-buffer",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class HidesBuffer(Method):
    """Adversarial training with a memory."""

    def setup(self, nets: Nets) -> None:
        nets.student.module.register_buffer("memory", torch.zeros(1000, 64))

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
