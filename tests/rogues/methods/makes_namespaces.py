"""It makes itself root in a namespace of its own, to mount what it likes."""

import ctypes
import os

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-makes-namespaces",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class MakesNamespaces(Method):
    """Adversarial training with a crown."""

    def setup(self, nets: Nets) -> None:
        kernel = ctypes.CDLL(None, use_errno=True)
        new_user, new_mount = 0x10000000, 0x00020000
        if kernel.unshare(new_user | new_mount) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
