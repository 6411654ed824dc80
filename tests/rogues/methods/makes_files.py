"""It makes files without end, empty ones, each of which costs memory."""

from pathlib import Path

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-makes-files",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class MakesFiles(Method):
    """Adversarial training in pieces."""

    def setup(self, nets: Nets) -> None:
        for number in range(10**7):
            Path(f"/scratch/{number}").touch()

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
