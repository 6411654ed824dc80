"""The file that `temper methods new` writes: a method that already trains and passes the conformance suite."""

from __future__ import annotations

import re
from pathlib import Path

from bench.errors import TemperError
from bench.files import write_text
from bench.method import METHODS

NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"  # of a method

SKELETON = '''"""@NAME: say here what is new, and cite the paper."""

from torch import Tensor

from bench import Attack, Batch, Method, Nets, Share, register
from bench.inner import against_soft_labels
from bench.losses import kl


@register(
    "@NAME",
    version="1",
    family="adversarial-kd",
    reference="arXiv:0000.00000",
    authors="Your Name",
    licence="Apache-2.0",
    passes="2*K + 6 + r",  # what a step costs per example: K attack steps, r = teacher FLOPs over student FLOPs
)
class @CLASS(Method):
    """The student matches the teacher's clean soft labels, on clean and on adversarial inputs."""

    needs = {"teacher"}
    adversarial_weight: Share = 5 / 6  # fields are the hyper-parameters: typed, validated, recorded

    def attack(self, nets: Nets, batch: Batch) -> Attack:
        """What the inner maximisation maximises; runs without gradients, all networks in eval mode."""
        batch.target = nets.teacher(batch.x).softmax(1)
        return against_soft_labels(nets, batch.target)

    def loss(self, nets: Nets, batch: Batch) -> Tensor:
        """One loss per example (B,); `batch.x_adv` is what the attack found."""
        adversarial = kl(batch.target, nets.student(batch.x_adv))
        clean = kl(batch.target, nets.student(batch.x))
        return self.adversarial_weight * adversarial + (1 - self.adversarial_weight) * clean
'''


def write_skeleton(name: str, folder: Path) -> Path:
    """Write NAME's file into a folder. Raises TemperError for a name that cannot be, is taken, or has a file there."""
    if not re.fullmatch(NAME, name):
        raise TemperError(f"a method is named like my-method (a-z, 0-9 and single hyphens), got {name!r}")
    if name in METHODS:
        raise TemperError(f"there is a method {name!r} already ({METHODS[name].info.reference}); choose another name")
    file = folder / f"{name.replace('-', '_')}.py"
    if file.exists():
        raise TemperError(f"{file} is there already; it was left as it is")
    written = "".join(part.capitalize() for part in name.split("-"))
    write_text(file, SKELETON.replace("@NAME", name).replace("@CLASS", written))
    return file
