"""It hands over more than any student has."""

import json
import sys

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-endless-file",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class EndlessFile(Method):
    """Adversarial training, maximal."""

    def setup(self, nets: Nets) -> None:
        print(json.dumps({"offer": "", "step": 1, "progress": 1.0, "bytes": 2**60}), flush=True)
        while True:
            sys.stdout.buffer.write(bytes(2**20))

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
