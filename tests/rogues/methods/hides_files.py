"""It fills the disk with files that are in no folder any more."""

from pathlib import Path

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-hides-files",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class HidesFiles(Method):
    """Adversarial training with a hidden log."""

    def setup(self, nets: Nets) -> None:
        logs = []
        for number in range(500):
            path = Path(f"/scratch/log-{number}")
            logs.append(path.open("wb"))
            path.unlink()
            logs[-1].write(bytes(2**24))

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
