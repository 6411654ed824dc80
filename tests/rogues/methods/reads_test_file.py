"""It reads the test images of Fashion-MNIST where Debian puts them."""

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-reads-test-file",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class ReadsTestFile(Method):
    """Adversarial training with a look at what is to come."""

    def setup(self, nets: Nets) -> None:
        with open("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz", "rb") as file:  # noqa: PTH123
            self.test_images(file.read())

    def test_images(self, content: bytes) -> None:
        raise RuntimeError(f"it has {len(content)} bytes of test images")

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
