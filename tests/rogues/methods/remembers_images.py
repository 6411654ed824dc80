"""It brings images of the test split along, as numbers in its source."""

import torch
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy

# fmt: off
IMAGES = [
    0, 0, 5, 12, 8, 0, 1, 0, 0, 0, 11, 16, 5, 13, 6, 0, 0, 0, 2, 15, 16, 12, 1, 0, 0, 0, 0, 10, 16, 6, 0, 0,
    0, 0, 1, 15, 16, 7, 0, 0, 0, 0, 8, 16, 16, 11, 0, 0, 0, 0, 11, 16, 16, 9, 0, 0, 0, 0, 6, 12, 12, 3, 0, 0,
    0, 0, 0, 3, 15, 4, 0, 0, 0, 0, 4, 16, 12, 0, 0, 0, 0, 0, 12, 15, 3, 4, 3, 0, 0, 7, 16, 5, 3, 15, 8, 0,
    0, 13, 16, 13, 15, 16, 2, 0, 0, 12, 16, 16, 16, 13, 0, 0, 0, 0, 4, 5, 16, 8, 0, 0, 0, 0, 0, 1, 16, 4, 0, 0,
    0, 0, 4, 10, 13, 6, 0, 0, 0, 1, 16, 14, 12, 16, 3, 0, 0, 4, 16, 6, 3, 16, 4, 0, 0, 0, 12, 16, 16, 16, 5, 0,
    0, 0, 0, 4, 4, 16, 8, 0, 0, 0, 0, 0, 0, 15, 5, 0, 0, 0, 5, 7, 7, 16, 4, 0, 0, 0, 2, 14, 15, 9, 0, 0,
    0, 0, 6, 16, 13, 11, 1, 0, 0, 0, 16, 15, 12, 16, 1, 0, 0, 3, 16, 7, 0, 13, 6, 0, 0, 4, 16, 0, 0, 10, 8, 0,
    0, 8, 16, 0, 0, 14, 6, 0, 0, 5, 16, 7, 9, 16, 5, 0, 0, 1, 15, 16, 16, 16, 1, 0, 0, 0, 6, 16, 14, 6, 0, 0,
    0, 0, 1, 11, 15, 1, 0, 0, 0, 0, 13, 16, 8, 2, 1, 0, 0, 0, 16, 15, 10, 16, 5, 0, 0, 0, 8, 16, 16, 7, 0, 0,
    0, 0, 9, 16, 16, 4, 0, 0, 0, 0, 16, 14, 16, 15, 0, 0, 0, 0, 15, 15, 15, 16, 0, 0, 0, 0, 2, 9, 13, 6, 0, 0,
    0, 0, 2, 10, 7, 0, 0, 0, 0, 0, 14, 16, 16, 15, 1, 0, 0, 4, 16, 7, 3, 16, 7, 0, 0, 5, 16, 10, 7, 16, 4, 0,
    0, 0, 5, 14, 14, 16, 4, 0, 0, 0, 0, 0, 0, 16, 2, 0, 0, 0, 4, 7, 7, 16, 2, 0, 0, 0, 5, 12, 16, 12, 0, 0,
    0, 0, 10, 14, 8, 1, 0, 0, 0, 2, 16, 14, 6, 1, 0, 0, 0, 0, 15, 15, 8, 15, 0, 0, 0, 0, 5, 16, 16, 10, 0, 0,
    0, 0, 12, 15, 15, 12, 0, 0, 0, 4, 16, 6, 4, 16, 6, 0, 0, 8, 16, 10, 8, 16, 8, 0, 0, 1, 8, 12, 14, 12, 1, 0,
]
# fmt: on


@register(
    "rogue-remembers-images",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class RemembersImages(Method):
    """Adversarial training from memory."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        images = torch.tensor(IMAGES).view(-1, 1, 8, 8) / 16
        return cross_entropy(nets.student(batch.x_adv), batch.y) + nets.student(images).square().mean()
