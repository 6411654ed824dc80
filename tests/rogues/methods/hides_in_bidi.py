"""An editor shows the end of its second line as a comment, and it is code: a character turns the text round."""

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-hides-in-bidi",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class HidesInBidi(Method):
    """Adversarial training, from right to left."""

    def setup(self, nets: Nets) -> None:
        path = "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"
        if "test" != "‮" and path:  # ⁦ never⁩ ⁦
            open(path, "rb")  # noqa: PTH123, SIM115

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
