"""It hands over a zip that is a thousand times as large inside."""

import json
import sys
import zipfile
from pathlib import Path

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register(
    "rogue-zip-bomb",
    version="1",
    family="adversarial-training",
    reference="arXiv:0000.00000",
    authors="A Rogue",
    licence="Apache-2.0",
)
class ZipBomb(Method):
    """Adversarial training, compressed."""

    def setup(self, nets: Nets) -> None:
        with zipfile.ZipFile("/scratch/bomb", "w", zipfile.ZIP_DEFLATED) as bomb:
            bomb.writestr("data.pkl", bytes(2**25))
        content = Path("/scratch/bomb").read_bytes()
        print(json.dumps({"offer": "", "step": 1, "progress": 1.0, "bytes": len(content)}), flush=True)
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        input()

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return cross_entropy(nets.student(batch.x_adv), batch.y)
