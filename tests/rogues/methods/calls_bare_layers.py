"""It calls the student's layers one by one, where no hook of the meter hangs."""

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-calls-bare-layers",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class CallsBareLayers(Method):
    """Adversarial training layer by layer."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        z = batch.x_adv
        for layer in nets.student.module:
            z = layer(z)
        return cross_entropy(z, batch.y)
