"""It trains well and says that it spent next to nothing."""

import json
import sys
from pathlib import Path

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-cooks-books",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class CooksBooks(Method):
    """Adversarial training for free."""

    def setup(self, nets: Nets) -> None:
        student = Path("/given/student.safetensors").read_bytes()
        self.send(student, offer="", step=9, progress=1.0)
        candidate = json.loads(input())
        told = {"steps": 9, "passes": 1.0, "allowed": 46.0, "collapsed": False, "seconds": 1.0}
        told |= {"counts": {"student/forward": 9216}, "prices": {"student": 1.0}, "device_seconds": 1.0}
        told |= {"peak_memory": 1, "curve": [candidate], "best": candidate}
        self.send(b"", file="metrics.jsonl")
        self.send(json.dumps(told).encode(), file="training.json")

    def send(self, content: bytes, **event: object) -> None:
        print(json.dumps(event | {"bytes": len(content)}), flush=True)
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
