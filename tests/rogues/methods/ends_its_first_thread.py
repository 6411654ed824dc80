"""It ends its first thread and computes in another, so that who asks for the process finds one that has ended."""

import ctypes
import threading

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-ends-its-first-thread",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class EndsItsFirstThread(Method):
    """Adversarial training by a successor."""

    def setup(self, nets: Nets) -> None:
        def work() -> None:
            while True:
                pass

        threading.Thread(target=work).start()
        ctypes.CDLL(None).pthread_exit(None)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
