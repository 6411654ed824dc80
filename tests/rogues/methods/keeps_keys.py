"""It keeps what it learned in a keyring, which outlives its process."""

import ctypes
import os

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-keeps-keys",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class KeepsKeys(Method):
    """Adversarial training with a memory."""

    def setup(self, nets: Nets) -> None:
        kernel = ctypes.CDLL(None, use_errno=True)
        add_key, session = 248, -3
        if kernel.syscall(add_key, b"user", b"rogue", b"weights", 7, session) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
