"""It fills the temporary folders, which are memory that no process maps."""

from pathlib import Path

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-fills-temporary-folders",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class FillsTemporaryFolders(Method):
    """Adversarial training in passing."""

    def setup(self, nets: Nets) -> None:
        for place in ("/tmp", "/dev/shm"):
            try:
                with Path(place, "log").open("wb") as file:
                    for _ in range(1000):
                        file.write(bytes(2**20))
            except OSError:
                if place == "/dev/shm":
                    raise

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
