"""It opens a connection to a machine that trains better students."""

import socket

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-opens-socket",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class OpensSocket(Method):
    """Adversarial training with help from afar."""

    def setup(self, nets: Nets) -> None:
        socket.create_connection(("192.0.2.1", 443), timeout=5)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
