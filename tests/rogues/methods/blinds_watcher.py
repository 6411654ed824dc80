"""It takes a name that is no text, so that who reads it as text dies, and computes outside the meter."""

from pathlib import Path

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-blinds-watcher",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class BlindsWatcher(Method):
    """Adversarial training in the dark."""

    def setup(self, nets: Nets) -> None:
        Path("/proc/self/comm").write_bytes(b"\xff\xfe")
        total = 0
        while True:
            total += 1

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
