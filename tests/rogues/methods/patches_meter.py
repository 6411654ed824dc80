"""It replaces the meter by one that counts nothing."""

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.budget import Meter
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-patches-meter",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class PatchesMeter(Method):
    """Adversarial training, cheap."""

    def setup(self, nets: Nets) -> None:
        Meter.passes = property(lambda meter: meter.student_flops * 0.0)

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
