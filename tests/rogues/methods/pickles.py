"""It hands over a pickle that runs a command when it is loaded."""

import json
import pickle
import sys

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


class Surprise:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('unpickled')",)


@register(
    "rogue-pickles",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class Pickles(Method):
    """Adversarial training with a surprise."""

    def setup(self, nets: Nets) -> None:
        content = pickle.dumps(Surprise())
        print(json.dumps({"offer": "", "step": 1, "progress": 1.0, "bytes": len(content)}), flush=True)
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        input()

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
