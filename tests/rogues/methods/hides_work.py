"""It works in children that nobody waits for, so that their time is on no account."""

import os
import signal
import time

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-hides-work",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class HidesWork(Method):
    """Adversarial training by a crowd."""

    def setup(self, nets: Nets) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            if os.fork() == 0:
                while time.process_time() < 0.7:
                    pass
                os._exit(0)
            time.sleep(0.5)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
