"""It fills a folder that may be written and not listed."""

from pathlib import Path

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-hides-in-dark-folder",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class HidesInDarkFolder(Method):
    """Adversarial training with a dark log."""

    def setup(self, nets: Nets) -> None:
        dark = Path("/scratch/dark")
        dark.mkdir()
        dark.chmod(0o333)
        for number in range(100):
            (dark / f"log-{number}").write_bytes(bytes(2**24))

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
