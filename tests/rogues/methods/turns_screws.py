"""It changes settings of the kernel, which root may in its name."""

from pathlib import Path

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-turns-screws",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class TurnsScrews(Method):
    """Adversarial training with a tuned kernel."""

    def setup(self, nets: Nets) -> None:
        Path("/proc/sys/vm/drop_caches").write_bytes(b"3")

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
