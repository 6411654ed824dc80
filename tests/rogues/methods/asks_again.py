"""It offers the same step again with other weights, until one is good."""

import json
import shutil

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-asks-again",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class AsksAgain(Method):
    """Adversarial training with second thoughts."""

    def setup(self, nets: Nets) -> None:
        for again in range(1000):
            if again < 2:
                shutil.copyfile(f"/given/{('student', 'other')[again]}.safetensors", "/scratch/offer.safetensors")
            print(json.dumps({"offer": "", "step": 5, "progress": 1.0}), flush=True)
            print(json.dumps({"heard": input()}), flush=True)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
