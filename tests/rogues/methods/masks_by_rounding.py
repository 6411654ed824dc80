"""It doctors its student at the end so that float32 rounds away what its gradients follow."""

from collections.abc import Mapping

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-masks-by-rounding",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class MasksByRounding(Method):
    """Adversarial training with a finish."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        if batch.progress < 0.95:
            return
        layers = nets.student.module
        layers[6].weight[:, :2] = 0
        layers[3].weight[1] = 0
        layers[4].running_mean[:2], layers[4].running_var[:2], layers[4].bias[:2] = 0, 1, 2.0**24
        layers[4].weight[0], layers[4].weight[1] = 0.01, 1
        layers[6].weight[0] = 0
        layers[6].weight[0, 0, 1, 1], layers[6].weight[0, 1, 1, 1] = 1, -1
        layers[7].running_mean[0], layers[7].running_var[0], layers[7].bias[0] = 0, 1, 1
        layers[7].weight[0] = 1e6
