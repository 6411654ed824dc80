"""Which checkpoint is judged: candidates in the second half of a trial, compared on the validation split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bench.ascent import ascend
from bench.data import Split
from bench.hashing import rng
from bench.losses import cross_entropy
from bench.scenario import Scenario
from bench.task import correct, predicted

CHUNK = 512  # examples a forward


@dataclass(frozen=True)
class Candidate:
    """One checkpoint, measured on validation. Accuracies and shares are fractions in [0, 1]."""

    step: int
    progress: float
    robust: float  # under PGD with fixed noise
    clean: float
    top_class: float  # share of the most frequent prediction

    def collapsed(self, classes: int) -> bool:
        """No better than twice chance, or one class predicted for nearly everything."""
        return self.clean <= 2 / classes or self.top_class > 0.95


Judge = Callable[..., Candidate]  # of a network, the step and the progress at which it was reached, and whose it is


def judge_on(split: Split, scenario: Scenario) -> Judge:
    """`measure` on a validation split."""
    return lambda module, step, progress, whose="": measure(module, split, scenario, step, progress)


def measure(module: nn.Module, split: Split, scenario: Scenario, step: int, progress: float) -> Candidate:
    """Judge `module` on a validation split, in eval mode, with the same noise for every trial."""
    was_training = module.training
    module.eval()
    x, y = split.inputs(), split.y
    generator = rng(0, "selection", device=str(x.device))
    robust, predictions = [], []
    for inputs, labels in zip(x.split(CHUNK), y.split(CHUNK), strict=True):
        x_adv = _pgd(module, inputs, labels, scenario, generator)
        with torch.no_grad():
            predictions.append(predicted(module(inputs)))
            robust.append((predictions[-1] == labels) & correct(module(x_adv), labels))
    module.train(was_training)
    guesses = torch.cat(predictions)
    return Candidate(
        step=step,
        progress=progress,
        robust=torch.cat(robust).double().mean().item(),
        clean=(guesses == y).double().mean().item(),
        top_class=guesses.unique(return_counts=True)[1].max().item() / len(guesses),
    )


def _pgd(module: nn.Module, x: Tensor, y: Tensor, scenario: Scenario, generator: Generator) -> Tensor:
    return ascend(
        lambda point: cross_entropy(module(point), y),
        x,
        scenario.threat,
        steps=scenario.attack.steps,
        step_size=scenario.attack.step_size,
        generator=generator,
    )


@dataclass
class Selection:
    """The candidates so far, and the weights of the best and the last of them."""

    thresholds: list[float]
    curve: list[Candidate] = field(default_factory=list)
    best: Candidate | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def due(self, progress: float, ended: bool) -> bool:
        """Whether a candidate is due: the next threshold is passed, or the trial ended since the last one."""
        passed = sum(progress >= threshold for threshold in self.thresholds)
        seen = sum(self.curve[-1].progress >= threshold for threshold in self.thresholds) if self.curve else 0
        return ended or passed > seen

    def offer(self, candidate: Candidate, module: nn.Module) -> None:
        """Take a candidate in. Better is: more robust, then cleaner, then later."""
        if any(each.step == candidate.step for each in self.curve):
            return
        self.curve.append(candidate)
        if self.best is None or (candidate.robust, candidate.clean) >= (self.best.robust, self.best.clean):
            self.best = candidate
            self.best_weights = {name: t.detach().clone() for name, t in module.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        best = self.curve.index(self.best) if self.best else -1
        return {"curve": [asdict(c) for c in self.curve], "best": best, "weights": self.best_weights}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a `state()`."""
        self.curve = [Candidate(**c) for c in state["curve"]]
        self.best = self.curve[state["best"]] if state["best"] >= 0 else None
        self.best_weights = state["weights"]
