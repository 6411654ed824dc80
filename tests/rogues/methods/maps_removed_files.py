"""It fills the disk with removed files that it keeps by a mapped page of each."""

import mmap
from pathlib import Path

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-maps-removed-files",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class MapsRemovedFiles(Method):
    """Adversarial training with maps."""

    def setup(self, nets: Nets) -> None:
        maps = []
        for number in range(100):
            path = Path(f"/scratch/log-{number}")
            path.write_bytes(bytes(2**24))
            with path.open("r+b") as file:
                maps.append(mmap.mmap(file.fileno(), 4096))
            path.unlink()

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
