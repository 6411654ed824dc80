"""It offers the same step again with other weights, until one is good."""

import json
import sys
from pathlib import Path

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
            weights = Path(f"/given/{('student', 'other')[min(again, 1)]}.safetensors").read_bytes()
            print(json.dumps({"offer": "", "step": 5, "progress": 1.0, "bytes": len(weights)}), flush=True)
            sys.stdout.buffer.write(weights)
            sys.stdout.buffer.flush()
            print(json.dumps({"heard": input()}), flush=True)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
