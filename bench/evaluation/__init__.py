"""Evaluation: which test examples a model classifies right, and which attack breaks the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bench.errors import TemperError, unknown
from bench.protocol import ATTACKS, MIN_CLASSES, MISCLASSIFIED, ROBUST, outcome_name
from bench.threat import Threat

Progress = Callable[[float], None]
CHOICES = {"protocol": ["standard"], "engine": ["reference"], "randomness": ["compat"]}


@dataclass(frozen=True)
class Evaluation:
    """The verdict on every example. Accuracies are fractions in [0, 1]."""

    outcomes: np.ndarray  # uint8 (N,): 0 misclassified, 1..n first attack that broke it, 255 robust
    labels: np.ndarray  # int64 (N,)
    predictions: np.ndarray  # int64 (N,), on clean inputs
    adversarial: Tensor = field(repr=False)  # (N, ...), the inputs themselves where nothing broke them
    attacks: tuple[str, ...] = ATTACKS
    diagnostics: dict[str, Any] = field(default_factory=dict)

    @property
    def clean_accuracy(self) -> float:
        """Share of examples that are classified right."""
        return float(np.mean(self.outcomes != MISCLASSIFIED))

    @property
    def robust_accuracy(self) -> float:
        """Share of examples that are right under every attack."""
        return float(np.mean(self.outcomes == ROBUST))

    def to_frame(self) -> pd.DataFrame:
        """One row an example: label, prediction, outcome, and the outcome in words."""
        return pd.DataFrame(
            {
                "label": self.labels,
                "prediction": self.predictions,
                "outcome": self.outcomes,
                "broken_by": [outcome_name(int(outcome)) for outcome in self.outcomes],
            }
        )


def evaluate(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: Threat,
    protocol: Literal["standard"] = "standard",
    engine: Literal["reference"] = "reference",
    randomness: Literal["compat"] = "compat",
    seed: int = 0,
    batch_size: int = 256,
    progress: bool | Progress = False,
) -> Evaluation:
    """Judge `model` by AutoAttack `standard` on inputs `x` (N, ...) inside the threat's bounds, labels `y` (N,).

    The model maps (B, ...) to logits (B, C) and is put into eval mode meanwhile; its mode, gradients and the global
    random state are left as found. `progress` shows a bar, or is called with the fraction done.
    Raises TemperError for inputs that make no sense (out of bounds, wrong labels, NaN logits, under 10 classes).
    """
    _known(protocol=protocol, engine=engine, randomness=randomness)
    if batch_size < 1:
        raise TemperError(f"batch_size must be at least 1, got {batch_size}")
    like = next(model.parameters(), x)
    x, y = x.to(like if x.is_floating_point() else like.device), y.to(like.device)
    with judging(model), _reporting(progress) as report:
        predictions = _predict(model, x, y, threat, batch_size)
        outcomes = torch.where(predictions == y, ROBUST, MISCLASSIFIED)
        adversarial = x.clone()
        if threat.eps > 0:
            _attack(model, x, y, threat, seed, batch_size, outcomes, adversarial, report)
        diagnostics = _recheck(model, x, y, threat, batch_size, outcomes, adversarial)
    return Evaluation(
        outcomes=outcomes.cpu().numpy().astype(np.uint8),
        labels=y.cpu().numpy(),
        predictions=predictions.cpu().numpy(),
        adversarial=adversarial.cpu(),
        diagnostics=diagnostics,
    )


@contextmanager
def judging(model: nn.Module) -> Iterator[None]:
    """Inside, `model` is in eval mode and its weights ask for no gradient; afterwards both are as before."""
    modes = {module: module.training for module in model.modules()}
    wanting = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in wanting:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanting:
            parameter.requires_grad_(True)
        for module, training in modes.items():
            module.training = training


def _attack(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    seed: int,
    batch_size: int,
    outcomes: Tensor,
    adversarial: Tensor,
    report: Progress,
) -> None:
    """Run the attacks one after another over those still standing; fills `outcomes` and `adversarial` in place."""
    from bench.evaluation.reference import ReferenceEngine

    engine = ReferenceEngine(model, threat, seed, x.device)
    for number, name in enumerate(ATTACKS, start=1):
        standing = (outcomes == ROBUST).nonzero().squeeze(1)
        for part in range(0, len(standing), batch_size):
            index = standing[part : part + batch_size]
            candidates = engine.perturb(name, x[index], y[index])
            with torch.no_grad():
                fooled = model(candidates).argmax(1) != y[index]
            outcomes[index[fooled]] = number
            adversarial[index[fooled]] = candidates[fooled]
            report((number - 1 + min(1.0, (part + batch_size) / len(standing))) / len(ATTACKS))
    report(1.0)


def _predict(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, batch_size: int) -> Tensor:
    """Clean predictions (N,), after checks of what was handed in."""
    low, high = threat.bounds
    if not len(x) or x.shape[:1] != y.shape or not x.is_floating_point():
        raise TemperError(f"need floats x (N, ...) and labels y (N,), got {tuple(x.shape)} and {tuple(y.shape)}")
    if not bool(((x >= low) & (x <= high)).all()):
        raise TemperError(f"inputs must lie in [{low:g}, {high:g}], got {x.min():.3g} to {x.max():.3g}")
    with torch.no_grad():
        logits = torch.cat([_logits(model, x[k : k + batch_size]) for k in range(0, len(x), batch_size)])
    if not bool(logits.isfinite().all()):
        raise TemperError("the model's logits are not finite on clean inputs")
    if logits.shape[1] < MIN_CLASSES and threat.eps > 0:
        raise TemperError(f"AutoAttack needs at least {MIN_CLASSES} classes, the model has {logits.shape[1]}")
    if y.min() < 0 or y.max() >= logits.shape[1]:
        raise TemperError(f"labels run from {y.min()} to {y.max()}, the model has {logits.shape[1]} classes")
    return logits.argmax(1)


def _known(**choices: str) -> None:
    for name, choice in choices.items():
        if choice not in CHOICES[name]:
            raise unknown(name, choice, CHOICES[name])


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    logits = model(x)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(x):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise TemperError(f"the model must return logits ({len(x)}, C) for {len(x)} examples, it returned {got}")
    return logits


def _recheck(
    model: nn.Module, x: Tensor, y: Tensor, threat: Threat, batch_size: int, outcomes: Tensor, adversarial: Tensor
) -> dict[str, Any]:
    """Look at every adversarial example again: how many lie outside the ball, or fool no more in another batch."""
    broken = ((outcomes != ROBUST) & (outcomes != MISCLASSIFIED)).nonzero().squeeze(1)
    outside = fooling_no_more = 0
    for part in range(0, len(broken), batch_size):
        index = broken[part : part + batch_size]
        outside += int((~threat.contains(x[index], adversarial[index])).sum())
        with torch.no_grad():
            fooling_no_more += int((model(adversarial[index]).argmax(1) == y[index]).sum())
    return {
        "adversarial_examples": len(broken),
        "outside_the_threat_model": outside,
        "fooling_no_more": fooling_no_more,
        "square_alone": int((outcomes == ATTACKS.index("square") + 1).sum()),
    }


@contextmanager
def _reporting(progress: bool | Progress) -> Iterator[Progress]:
    """The function to call with the fraction done: the caller's, a bar's, or one that does nothing."""
    if callable(progress):
        yield progress
    elif progress:
        from rich.progress import Progress as Bars

        with Bars(transient=True) as bars:
            task = bars.add_task("AutoAttack", total=1.0)
            yield lambda done: bars.update(task, completed=done)
    else:
        yield lambda done: None
