"""Attacks shown beside the score: FGSM, PGD-20 and CW (PGD on the margin), all seeded.

FGSM is torchattacks': one signed step of size eps, the standard one. Its PGD is unseeded, its CW is an unbounded L2
attack and its AutoAttack has 10 steps, so none of those is used under the standard names.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torchattacks
from torch import Tensor, nn

from bench.ascent import ascend
from bench.hashing import rng
from bench.losses import cross_entropy, margin
from bench.task import correct
from bench.threat import Threat

STEPS = 20


def further_attacks(
    model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, seed: int = 0, batch_size: int = 256
) -> dict[str, np.ndarray]:
    """Which examples are right under each attack, and clean: bool (N,) by name; `fgsm` for Linf in [0, 1] only.

    PGD and CW take 20 steps of eps/4 (2/255 for 8/255) from a uniform start.
    """
    verdicts: dict[str, list[Tensor]] = {}
    for part in range(0, len(x), batch_size):
        inputs, labels = x[part : part + batch_size], y[part : part + batch_size]
        with torch.no_grad():
            clean = correct(model(inputs), labels)
        for name, x_adv in _candidates(model, inputs, labels, threat, seed, part).items():
            with torch.no_grad():
                right = correct(model(x_adv), labels)
            verdicts.setdefault(name, []).append(clean & (right | ~threat.contains(inputs, x_adv)))
    return {name: torch.cat(parts).cpu().numpy() for name, parts in verdicts.items()}


class _Placed(nn.Module):
    """A model with a weight: torchattacks asks the first one for its device."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.place, self.model = nn.Parameter(x.new_zeros(()), requires_grad=False), model
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits


def _loss_at(loss: Callable[[Tensor, Tensor], Tensor], model: nn.Module, y: Tensor, x: Tensor) -> Tensor:
    return loss(model(x), y)


def _candidates(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, seed: int, part: int) -> dict[str, Tensor]:
    candidates = {}
    if threat.norm == "Linf" and threat.bounds == (0.0, 1.0):
        candidates["fgsm"] = torchattacks.FGSM(_Placed(model, x), eps=threat.eps)(x, y)
    for name, loss in (("pgd-20", cross_entropy), ("cw", margin)):
        candidates[name] = ascend(
            partial(_loss_at, loss, model, y),
            x,
            threat,
            steps=STEPS,
            step_size=threat.eps / 4,
            generator=rng(seed, name, part, device=str(x.device)),
        )
    return candidates
