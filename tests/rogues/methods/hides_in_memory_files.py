"""It fills the memory with files that no process maps."""

import os

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-hides-in-memory-files",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class HidesInMemoryFiles(Method):
    """Adversarial training beyond memory."""

    def setup(self, nets: Nets) -> None:
        for number in range(100):
            os.write(os.memfd_create(f"log-{number}"), bytes(2**24))

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
