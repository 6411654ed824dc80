"""It hands over an empty file."""

import json

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-empty-file",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class EmptyFile(Method):
    """Adversarial training, minimal."""

    def setup(self, nets: Nets) -> None:
        print(json.dumps({"offer": "", "step": 1, "progress": 1.0, "bytes": 0}), flush=True)
        input()

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
