"""It removes the hooks by which the meter counts."""

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-clears-hooks",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class ClearsHooks(Method):
    """Adversarial training without ballast."""

    def setup(self, nets: Nets) -> None:
        nets.student.module._forward_hooks.clear()
        nets.student.module._forward_pre_hooks.clear()

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
