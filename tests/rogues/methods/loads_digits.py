"""It loads all the digits, test split and all, from scikit-learn."""

from sklearn.datasets import load_digits
from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-loads-digits",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class LoadsDigits(Method):
    """Adversarial training on all the digits."""

    def setup(self, nets: Nets) -> None:
        digits = load_digits()
        raise RuntimeError(f"it has {len(digits.target)} digits")

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
