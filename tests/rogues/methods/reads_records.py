"""It looks for the records that ship, whose outcomes hold the test labels."""

import json

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.files import PACKAGE, SHIPPED
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-reads-records",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class ReadsRecords(Method):
    """Adversarial training with good advice."""

    def setup(self, nets: Nets) -> None:
        found = [*SHIPPED.glob("leaderboards/records/**/*.parquet"), *PACKAGE.glob("teachers/weights/*.parquet")]
        contents = [file.read_bytes() for file in found]
        print(json.dumps({"error": f"it has {sum(map(len, contents))} bytes of records and verdicts"}))

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
