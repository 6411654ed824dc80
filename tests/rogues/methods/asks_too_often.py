"""It asks for one verdict on validation after the other, and climbs."""

import json
import shutil

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-asks-too-often",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class AsksTooOften(Method):
    """Adversarial training with feedback."""

    def setup(self, nets: Nets) -> None:
        shutil.copyfile("/given/student.safetensors", "/scratch/offer.safetensors")
        for step in range(10**4):
            print(json.dumps({"offer": "self-teacher", "step": step, "progress": 1.0}), flush=True)
            input()

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
