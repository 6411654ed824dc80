"""It reaches the operating system through a module that PyTorch imports."""

import torch
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-reaches-os",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class ReachesOs(Method):
    """Adversarial training near the metal."""

    def setup(self, nets: Nets) -> None:
        secrets = [name for name in torch.os.environ if "SECRET" in name or "TOKEN" in name]
        raise RuntimeError(f"it has {len(secrets)} secrets; its home is {torch.os.environ['HOME']}")

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
