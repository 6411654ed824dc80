"""AutoAttack `standard` by our own attacks: what they do to one batch, attack by attack and target by target."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.errors import TemperError
from bench.evaluation.apgd import apgd, start_on_the_sphere
from bench.evaluation.fab import fab
from bench.evaluation.found import Found
from bench.evaluation.network import make_network
from bench.evaluation.noise import Noise, Together
from bench.evaluation.square import square
from bench.losses import cross_entropy, dlr_targeted, margin_targeted
from bench.threat import Threat
from bench.words import counted

TARGETS = 9  # of the targeted attacks: the classes that come next in the clean logits
DLR_CLASSES = 4  # the targeted DLR loss needs as many


class FastEngine:
    """The attacks of `bench.evaluation`, with the same outcomes as the reference and less arithmetic."""

    def __init__(self, model: nn.Module, threat: Threat, x: Tensor, classes: int) -> None:
        """`x` (B, C, H, W): some of the examples, on which the rewritten network is compared with the model."""
        self.network, self.threat, self.classes = make_network(model, x), threat, classes
        self.loss = dlr_targeted if classes >= DLR_CLASSES else margin_targeted

    def targets(self, attack: str) -> range:
        """The ranks of the targets that an attack goes through, 1 for the runner-up; 0 alone if it has no target."""
        return range(1, min(TARGETS, self.classes - 1) + 1) if attack in ("apgd-t", "fab-t") else range(1)

    def run(self, attack: str, ranks: Sequence[int], x: Tensor, y: Tensor, noises: Sequence[Noise]) -> Found:
        """One attack, with the targets of these ranks in one batch and the random numbers of each, on inputs
        (B, C, H, W) that the model classifies as y (B,).

        The same examples fall as when one target follows another, by the first target that breaks them.
        """
        if attack == "apgd-ce":
            start = start_on_the_sphere(x, self.threat, noises[0])
            return apgd(self.network, x, y, self.threat, cross_entropy, start)
        if attack == "square":
            return square(self.network, x, y, self.threat, noises[0])
        target = torch.cat([self.target(x, rank) for rank in ranks])
        inputs, labels = torch.cat([x] * len(ranks)), y.repeat(len(ranks))
        if attack == "fab-t":
            found = fab(self.network, inputs, labels, target, self.threat)
        else:
            found = self.towards(target, inputs, labels, Together(noises))
        found.target = target
        return found.first(len(ranks))

    def towards(self, target: Tensor, x: Tensor, y: Tensor, noise: Noise) -> Found:
        """AutoAttack's targeted APGD at classes (B,) of the caller's choice."""
        start, pair = start_on_the_sphere(x, self.threat, noise), torch.stack([y, target], 1)
        return apgd(self.network, x, y, self.threat, self.loss, start, classes=pair)

    @torch.no_grad()
    def target(self, x: Tensor, rank: int) -> Tensor:
        """The class (B,) that has this rank in the logits of the model on x."""
        order: Tensor = self.network.model(x).sort(dim=1).indices
        return order[:, -rank - 1]


def deviations(threat: Threat, shape: tuple[int, ...], classes: int) -> tuple[str, ...]:
    """In words, where AutoAttack `standard` is not defined for such inputs and classes, and what is done instead."""
    if len(shape) != 3:
        raise TemperError(
            f"AutoAttack's Square attack needs images (N, C, H, W), got inputs (N, {', '.join(map(str, shape))})"
        )
    notes = []
    if classes <= TARGETS:
        notes.append(f"{counted(classes - 1, 'target')} instead of {TARGETS}, of {classes} classes")
    if classes < DLR_CLASSES:
        notes.append("margin instead of the targeted DLR loss, which needs 4 classes")
    height, width = shape[1:]
    size = max(height // 5, 1)
    first = (height - 5 * size) // 2
    if threat.norm == "L2" and (first + height // size * size > height or first + width // size * size > width):
        notes.append(f"Square's first tiling clipped at the edge of {height}x{width} images")
    return tuple(notes)
