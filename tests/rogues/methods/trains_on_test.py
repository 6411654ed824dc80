"""It asks the harness for the test split, and means to train on it."""

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.data import load
from bench.inner import against_labels
from bench.losses import cross_entropy
from bench.scenario import load_scenario


@register(
    "rogue-trains-on-test",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class TrainsOnTest(Method):
    """Adversarial training on more data."""

    def setup(self, nets: Nets) -> None:
        test = load(load_scenario("digits-linf").data, ("test",))["test"]
        nets.state["more"] = test.x

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
