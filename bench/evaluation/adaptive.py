"""Stronger attacks on the examples that AutoAttack left robust, for models that a diagnostic casts doubt on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import TemperError
from bench.evaluation.diagnostics import Diagnostic, not_run
from bench.evaluation.found import Found
from bench.evaluation.network import Network
from bench.evaluation.noise import Noise
from bench.evaluation.probe import Attack, Case, Probe, claimed, given_labels, in_double, pgd, rescaled
from bench.evaluation.square import square
from bench.losses import cross_entropy, margin
from bench.protocol import ANSWERS, ROBUST
from bench.task import correct
from bench.threat import Threat

RESTARTS, QUERIES = 5, 4_000  # of the black box: more starts break more than longer searches do
EOT_STEPS, EOT_DRAWS, VOTES = 50, 10, 31  # steps, draws for each of their gradients, draws for the last word


def adaptive(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    outcomes: np.ndarray,
    tripped: Mapping[str, Diagnostic],
    *,
    seed: int = 0,
    batch_size: int = 256,
    teacher: nn.Module | None = None,
    stopped: dict[str, Diagnostic] | None = None,
) -> dict[str, np.ndarray]:
    """Which of AutoAttack's survivors are right under each attack that the diagnostics in `tripped` call for.

    Inputs x (N, ...) lie in [0, 1], `outcomes` (N,) are AutoAttack's; bool (N,) by name, False for all that it broke.
    An attack that cannot run is told in `stopped`, where that is given.
    What an attack finds counts if it lies in the ball and fools the model as it is; a model that is stochastic or
    depends on the batch is fooled where the majority of 31 passes is wrong.

    `eot`: PGD-50 on the mean gradient of 10 draws (Athalye et al. 2018, arXiv:1802.00420), each of them beside other
    clean examples where the batch matters; no other attack is run then. `rescaled`: APGD-100 in float64 on scaled
    logits, or the logarithms of probabilities, with two losses (Carlini & Wagner 2016, arXiv:1607.04311).
    `black-box`: Square from 5 starts, 4,000 queries each. `pgd-1000`: PGD with two losses. `transfer`: PGD-200 on the
    teacher. `float64`: AutoAttack on the same weights in float64, and whether the example stands there. Per survivor:
    500 gradients, 400 in float64, 20,000 passes, up to 2000 gradients, 200 of the teacher, AutoAttack's in float64.
    """
    case = Case(model, x, y, threat, outcomes, seed, batch_size)
    names = [name for name, sign in tripped.items() if sign.tripped]
    wanted = list(dict.fromkeys(attack for name in names for attack in ANSWERS.get(name, ())))
    with case.undisturbed(*filter(None, [teacher])):
        if "batch_dependence" in names:
            case = replace(case, model=_Mixed(model, x, batch_size), batch_size=max(1, min(batch_size, len(x)) // 2))
        if "eot" in wanted:
            case, wanted = replace(case, votes=VOTES), ["eot"]
        right: dict[str, np.ndarray] = {}
        for name in wanted:
            try:
                if name == "float64":
                    right[name] = _right_in_double(case)
                elif runs := _runs(name, case, teacher):
                    right[name] = _right_under(case, runs)
            except Exception as error:
                if stopped is None:
                    raise
                stopped[f"adaptive_{name}"] = not_run(f"adaptive_{name}", error)
    return right


def transferred(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    outcomes: np.ndarray,
    teacher: nn.Module,
    *,
    seed: int = 0,
    batch_size: int = 256,
) -> tuple[Tensor, Tensor]:
    """Which of the survivors in `outcomes` (N,) are right on examples made on the teacher by PGD-200, bool (N,); and
    these examples (N, ...), the inputs themselves where they do not fool."""
    case = Case(model, x, y, threat, outcomes, seed, batch_size)
    x_adv = x.clone()
    with case.undisturbed(teacher):
        _, run = _runs("transfer", case, teacher)[0]
        fallen = case.attack(case.standing, run, "transfer", into=x_adv) >= 0
    return (case.standing & ~fallen).cpu(), x_adv.cpu()


def _runs(name: str, case: Case, teacher: nn.Module | None) -> list[tuple[str, Attack]]:
    """The attacks under one name, each with what keys its random numbers: the diagnostic's own where it repeats one."""
    network, threat = Probe(case.model), case.threat
    if name == "eot":
        return [("eot", _eot(network, threat))]
    if name == "rescaled":
        losses = (("logit_scaling", cross_entropy), ("margin", margin))
        return [(unit, rescaled(case, loss, steps=100, double=True)) for unit, loss in losses]
    if name == "pgd-1000":
        return [(unit, pgd(network, threat, loss, 1000)) for unit, loss in (("pgd", cross_entropy), ("cw", margin))]
    if name == "transfer":
        return [("transfer", pgd(Probe(case.model, teacher), threat, cross_entropy, 200))] if teacher else []
    return [(f"square {number}", _square(network, threat)) for number in range(RESTARTS)]


def _square(network: Network, threat: Threat) -> Attack:
    return lambda x, y, noise: square(network, x, y, threat, noise, queries=QUERIES)


def _right_under(case: Case, runs: list[tuple[str, Attack]]) -> np.ndarray:
    left = case.standing
    for unit, run in runs:
        left = left & (case.attack(left, run, unit) < 0)
    return left.cpu().numpy()


def _right_in_double(case: Case) -> np.ndarray:
    """Which survivors AutoAttack leaves of the same weights in float64, bool (N,)."""
    from bench.evaluation import evaluate

    double = in_double(case.model, case.x[:2])
    if double is None:
        raise TemperError("the model has no copy in float64")
    left, keep = case.standing.clone(), case.standing.nonzero().squeeze(1)
    x, y = case.x[keep].double(), case.y[keep]
    options: dict[str, Any] = {"seed": case.seed, "batch_size": case.batch_size, "diagnose": False, "dtype": x.dtype}
    if len(keep):
        verdict = evaluate(double, x, y, threat=case.threat, **options)
        left[keep] = torch.from_numpy(verdict.outcomes == ROBUST).to(left.device)
    return left.cpu().numpy()


def _eot(network: Network, threat: Threat) -> Attack:
    """Ascent on the mean gradient of many draws; of all points, the last that most draws got wrong."""

    @torch.no_grad()
    def run(x: Tensor, y: Tensor, noise: Noise) -> Found:
        best, point, most = x.clone(), x, torch.zeros_like(y)
        for _ in range(EOT_STEPS + 1):
            wrong, direction = torch.zeros_like(y), torch.zeros_like(x)
            for _draw in range(EOT_DRAWS):
                logits, _, gradient = network.value_and_gradient(partial(given_labels, cross_entropy, y), point)
                wrong, direction = wrong + ~correct(logits, y), direction + gradient
            better = (wrong >= most).nonzero().squeeze(1)
            best[better], most[better] = point[better], wrong[better]
            point = threat.project(x, threat.step(point, direction, threat.eps / 8))
        return claimed(x, best)

    return run


class _Mixed(nn.Module):
    """A model that sees its inputs in batches filled up with clean examples, shuffled, drawn anew each time."""

    def __init__(self, model: nn.Module, x: Tensor, batch_size: int) -> None:
        super().__init__()
        self.model, self.x, self.size = model, x, min(batch_size, len(x))

    def forward(self, points: Tensor) -> Tensor:
        beside = torch.randint(len(self.x), (max(self.size - len(points), 0),)).to(points.device)
        batch = torch.cat([points, self.x[beside]])
        order = torch.randperm(len(batch)).to(points.device)
        logits: Tensor = self.model(batch[order])
        return logits[order.argsort()[: len(points)]]
