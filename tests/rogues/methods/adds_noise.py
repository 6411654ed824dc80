"""It adds noise to every input, at inference too."""

import torch
from torch import Tensor, nn

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-adds-noise",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class AddsNoise(Method):
    """Randomised adversarial training."""

    def setup(self, nets: Nets) -> None:
        def noisy(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            return (inputs[0] + 0.2 * torch.randn_like(inputs[0]),)

        nets.student.module.register_forward_pre_hook(noisy)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
