"""It prints what a passed suite prints, and leaves."""

import json
import os
import sys

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels

if "check" in sys.argv:
    print(json.dumps({"passed": ["everything"]}), flush=True)
    os._exit(0)


@register(
    "rogue-fakes-success",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class FakesSuccess(Method):
    """Adversarial training beyond doubt."""

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        raise NotImplementedError
