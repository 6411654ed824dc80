"""It nests folders until their names are too long to be looked up, and writes there."""

import os
import time

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-digs-deep",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class DigsDeep(Method):
    """Adversarial training in depth."""

    def setup(self, nets: Nets) -> None:
        for _ in range(100):
            os.mkdir("d" * 200)  # noqa: PTH102
            os.chdir("d" * 200)
        time.sleep(60)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
