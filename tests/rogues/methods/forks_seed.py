"""It draws from a random state of its own choice instead of the trial's."""

import torch
from torch import Tensor

from bench import Batch, Method, Nets, register
from bench.losses import cross_entropy


@register(
    "rogue-forks-seed",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class ForksSeed(Method):
    """Adversarial training with a lucky number."""

    def attack(self, nets: Nets, batch: Batch) -> Tensor:
        torch.manual_seed(7)
        return batch.x + nets.threat.eps * torch.randn_like(batch.x).sign()

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
