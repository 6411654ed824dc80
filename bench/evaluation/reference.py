"""The implementation of record: AutoAttack as published on PyPI under the name `pyautoattack`, attack by attack.

`AutoAttack.run_standard_evaluation` runs the same four attacks in the same order over the same batches; it is not
called because it forgets which attack broke which example, cannot be watched, and cannot resume.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

from bench.errors import TemperError
from bench.evaluation.engine import TARGETS
from bench.evaluation.found import Found
from bench.evaluation.noise import Noise
from bench.task import correct, lead
from bench.threat import Threat


class ReferenceEngine:
    """AutoAttack `standard` on one model. Attacks are seeded anew for each batch, and run all their targets at once."""

    def __init__(self, model: nn.Module, threat: Threat, seed: int, device: torch.device, classes: int) -> None:
        if classes <= TARGETS:
            raise TemperError(
                f"the reference engine needs at least {TARGETS + 1} classes, the model has {classes}; use engine='fast'"
            )
        self.model, self.seed = model, seed
        self.suite = AutoAttack(model, norm=threat.norm, eps=threat.eps, seed=seed, device=device, version="standard")
        self.suite.apgd.loss = "ce"
        self.suite.fab.targeted = True
        self.runners = {
            "apgd-ce": self.suite.apgd,
            "apgd-t": self.suite.apgd_targeted,
            "fab-t": self.suite.fab,
            "square": self.suite.square,
        }

    def targets(self, attack: str) -> range:
        """One unit of work an attack."""
        return range(1)

    def run(self, attack: str, ranks: Sequence[int], x: Tensor, y: Tensor, noises: Sequence[Noise]) -> Found:
        """What an attack found on inputs (B, ...) that the model classifies as y (B,). Iterations are not known."""
        found = Found.nothing(x)
        candidates = self.perturb(attack, x, y)
        with torch.no_grad():
            logits = self.model(candidates)
        found.x_adv, found.fooled, found.margin = candidates, ~correct(logits, y), lead(logits, y)
        return found

    def perturb(self, attack: str, x: Tensor, y: Tensor) -> Tensor:
        """Adversarial candidates for inputs (B, ...) that the model classifies as y (B,), by one attack."""
        runner = self.runners[attack]
        runner.seed = self.seed
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []), torch.no_grad():
            return runner.perturb(x.clone(), y.clone()).detach()
