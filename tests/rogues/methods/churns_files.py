"""It makes and removes files without pause, so that who counts them loses the thread, and fills the disk."""

import threading
from pathlib import Path

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-churns-files",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class ChurnsFiles(Method):
    """Adversarial training with much paper."""

    def setup(self, nets: Nets) -> None:
        def churn() -> None:
            while True:
                for number in range(30):
                    Path(f"/scratch/c{number}").touch()
                    Path(f"/scratch/c{number}").unlink()

        threading.Thread(target=churn, daemon=True).start()
        for number in range(100):
            Path(f"/scratch/log-{number}").write_bytes(bytes(2**24))

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
