"""It fills the memory with shared segments that no process maps."""

import ctypes
import os

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-hides-in-segments",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class HidesInSegments(Method):
    """Adversarial training in segments."""

    def setup(self, nets: Nets) -> None:
        kernel = ctypes.CDLL(None, use_errno=True)
        for _ in range(100):
            if kernel.shmget(0, ctypes.c_size_t(2**24), 0o1600) < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
