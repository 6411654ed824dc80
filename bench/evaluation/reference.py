"""The implementation of record: AutoAttack as published on PyPI under the name `pyautoattack`, attack by attack.

`AutoAttack.run_standard_evaluation` runs the same four attacks in the same order over the same batches; it is not
called because it forgets which attack broke which example, cannot be watched, and cannot resume.
"""

from __future__ import annotations

import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

from bench.threat import Threat


class ReferenceEngine:
    """AutoAttack `standard` on one model. Attacks are seeded anew for each batch, as the reference does."""

    def __init__(self, model: nn.Module, threat: Threat, seed: int, device: torch.device) -> None:
        self.seed = seed
        self.suite = AutoAttack(model, norm=threat.norm, eps=threat.eps, seed=seed, device=device, version="standard")
        self.suite.apgd.loss = "ce"
        self.suite.fab.targeted = True
        self.runners = {
            "apgd-ce": self.suite.apgd,
            "apgd-t": self.suite.apgd_targeted,
            "fab-t": self.suite.fab,
            "square": self.suite.square,
        }

    def perturb(self, attack: str, x: Tensor, y: Tensor) -> Tensor:
        """Adversarial candidates for inputs (B, ...) that the model classifies as y (B,), by one attack."""
        runner = self.runners[attack]
        runner.seed = self.seed
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []), torch.no_grad():
            return runner.perturb(x.clone(), y.clone()).detach()
