"""It starts a process that means to go on when the trial has ended."""

import subprocess
import time

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-leaves-worker",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class LeavesWorker(Method):
    """Adversarial training with a helper."""

    def setup(self, nets: Nets) -> None:
        beat = "while sleep 0.05; do date +%N > /scratch/heartbeat; done"
        subprocess.Popen(["/bin/sh", "-c", beat], start_new_session=True)
        time.sleep(1)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
