"""It asks for one verdict on validation after the other, and climbs."""

import json
import sys
from pathlib import Path

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
        student = Path("/given/student.safetensors").read_bytes()
        for step in range(10**4):
            event = {"offer": "self-teacher", "step": step, "progress": 1.0, "bytes": len(student)}
            print(json.dumps(event), flush=True)
            sys.stdout.buffer.write(student)
            sys.stdout.buffer.flush()
            input()

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
