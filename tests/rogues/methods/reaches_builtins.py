"""It reaches what Python can do at all through a module that PyTorch imports."""

import torch
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-reaches-builtins",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class ReachesBuiltins(Method):
    """Adversarial training from the ground up."""

    def setup(self, nets: Nets) -> None:
        code = "import socket; socket.create_connection(('192.0.2.1', 443), timeout=5)"
        torch.builtins.exec(code)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
