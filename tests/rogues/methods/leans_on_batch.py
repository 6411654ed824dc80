"""It normalises by the batch at hand, at inference too."""

from torch import Tensor, nn

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-leans-on-batch",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class LeansOnBatch(Method):
    """Adversarial training in company."""

    def setup(self, nets: Nets) -> None:
        for layer in nets.student.module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean = layer.running_var = None

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
