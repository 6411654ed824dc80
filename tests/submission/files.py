"""Method files for the tests of submissions."""

from __future__ import annotations

from pathlib import Path

PLAIN = '''"""plain: adversarial training."""

from torch import Tensor

from bench import Attack, Batch, Method, Nets, register
from bench.inner import against_labels
from bench.losses import cross_entropy


@register("plain", version="1", family="teacher-free", reference="none", authors="A. Author", licence="MIT")
class Plain(Method):
    """Cross entropy on adversarial inputs."""

    weight: float = 1.0

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        return against_labels(nets, batch)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        return self.weight * cross_entropy(nets.student(batch.x_adv), batch.y)
'''


def written(folder: Path, text: str = PLAIN) -> Path:
    """`text` as a method file."""
    file = folder / "plain.py"
    file.write_text(text)
    return file
