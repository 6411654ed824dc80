"""It stops the gradient in a function of its own."""

import torch
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


class Stop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return 0 * gradient


@register(
    "rogue-kills-gradient",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class KillsGradient(Method):
    """Adversarial training without a way back."""

    def setup(self, nets: Nets) -> None:
        nets.student.module.register_forward_pre_hook(lambda module, inputs: (Stop.apply(inputs[0]),))

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
