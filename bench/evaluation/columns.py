"""Numbers beside the score: accuracy against eps, the smallest perturbations found, the worst class, corruptions.

None of them is AutoAttack's. Costs are in passes: a forward is one, a forward and backward to the input are two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bench.errors import TemperError
from bench.evaluation.apgd import Objective, apgd, start_on_the_sphere
from bench.evaluation.beyond import Hunt, malt_targets
from bench.evaluation.engine import FastEngine
from bench.evaluation.fab import fab
from bench.evaluation.found import Found
from bench.evaluation.inputs import prepare
from bench.evaluation.network import Network
from bench.evaluation.noise import Noise
from bench.evaluation.probe import batches
from bench.evaluation.suite import SAMPLE
from bench.losses import margin
from bench.protocol import ROBUST
from bench.task import correct
from bench.threat import Threat

CURVE_ATTACK = "apgd-margin + apgd-t at the nearest class"  # what `accuracy_curve` runs: two attacks
CURVE_STEPS = 50  # of each of them
MULTIPLES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # of eps, where the curve is drawn unless told otherwise
BISECTIONS = 12  # halvings of the way from an input to its adversarial example


@dataclass(frozen=True)
class Curve:
    """Accuracy against the radius, under one attack that is no AutoAttack."""

    radii: tuple[float, ...]  # ascending, in the units of the input
    broken_at: Tensor  # float64 (N,), the first of `radii` at which an example was broken: 0 clean, infinity at none
    attack: str = CURVE_ATTACK

    @property
    def accuracy(self) -> dict[float, float]:
        """The share of examples that stands at each radius: it never rises."""
        return {radius: float((self.broken_at > radius).double().mean()) for radius in self.radii}

    def to_frame(self) -> pd.DataFrame:
        """One row a radius: `eps`, `accuracy`, `attack`."""
        return pd.DataFrame({"eps": self.radii, "accuracy": list(self.accuracy.values()), "attack": self.attack})


def curve_radii(threat: Threat, shape: tuple[int, ...]) -> tuple[float, ...]:
    """Where the curve is drawn for inputs of this shape: at 0, at multiples of eps up to 2, and at half the input
    range, where every ball holds the grey input and nothing can stand but one class: in [0, 1] 0.5, in L2 0.5 sqrt(D).
    """
    low, high = threat.bounds
    half = 0.5 * (high - low)
    half *= 1.0 if threat.norm == "Linf" else float(np.sqrt(np.prod(shape)))
    return tuple(sorted({*(k * threat.eps for k in MULTIPLES if k * threat.eps < half), threat.eps, half}))


def accuracy_curve(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    *,
    radii: Sequence[float] | None = None,
    seed: int = 0,
    batch_size: int = 256,
    progress: Callable[[float], None] | None = None,
) -> Curve:
    """Accuracy of `model` on x (N, ...), labels y (N,), in balls of the threat's norm and growing radius.

    At each radius, APGD on the margin and APGD on the targeted DLR loss of the class that is nearest by MALT, 50 steps
    each, attack what stood at the smaller ones: an example that is broken there is broken in every larger ball, which
    holds the same adversarial example. At most 204 passes per example and radius, and before that 2 for each other
    class (100 at most). Random numbers depend on seed, example and radius, not on batches. `radii` are `curve_radii`
    unless given; `progress` is called with the fraction done.

    Raises TemperError for inputs, labels or radii that make no sense.
    """
    with prepare(model, x, y, threat, batch_size) as judged:
        shape = tuple(judged.x.shape[1:])
        radii = tuple(sorted(set(curve_radii(threat, shape) if radii is None else map(float, radii))))
        balls = {radius: _ball(judged.threat, radius / judged.scale) for radius in radii if radius != 0}
        right = judged.right
        broken_at = torch.where(right, torch.inf, 0.0).double()
        engine = FastEngine(judged.model, judged.threat, judged.x[:SAMPLE], judged.classes)
        hunt = Hunt(judged.model, judged.x, judged.y, right, seed, batch_size, 2 * len(balls), progress)
        pairs = _nearest_pairs(hunt, engine)
        for radius, ball in balls.items():
            before = hunt.left.clone()
            for name, loss, told in (("margin", margin, judged.y), ("nearest", engine.loss, pairs)):
                hunt.attack(ball, partial(_apgd, hunt, engine.network, ball, loss, told), "curve", name, ball.eps)
            broken_at[before & ~hunt.left] = radius
    return Curve(radii, broken_at.cpu())


def _nearest_pairs(hunt: Hunt, engine: FastEngine) -> Tensor:
    """The label and the nearest other class (N, 2) of the examples that are left; the label twice for the others."""
    pairs = torch.stack([hunt.y, hunt.y], 1)
    for index in hunt.batches():
        pairs[index, 1] = malt_targets(engine.network, hunt.x[index], hunt.y[index], engine.threat, 1)[:, 0]
    return pairs


def _apgd(
    hunt: Hunt, network: Network, ball: Threat, loss: Objective, told: Tensor, index: Tensor, noise: Noise
) -> Found:
    x = hunt.x[index]
    start = start_on_the_sphere(x, ball, noise)
    return apgd(network, x, hunt.y[index], ball, loss, start, classes=told[index], steps=CURVE_STEPS)


def minimal_norm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    *,
    batch_size: int = 256,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """The size (N,), in the threat's norm, of the smallest perturbation found of each x (N, ...), labels y.

    FAB-T without early stop towards each of the 9 likeliest other classes (or all, if there are fewer), 100 steps each,
    and 12 bisections of the way back from the nearest point found. 0 where the model is wrong anyway, infinity where
    nothing was found; `eps` plays no part. At most 2712 passes per example and no random numbers; `progress` is called
    with the fraction done. On the CPU, in the model's precision.

    Raises TemperError for inputs or labels that make no sense.
    """
    with prepare(model, x, y, threat, batch_size) as judged:
        x, y, unit = judged.x, judged.y, judged.threat
        sizes = torch.where(judged.right, torch.inf, 0.0).to(x)
        engine = FastEngine(judged.model, unit, x[:SAMPLE], judged.classes)
        places = batches(judged.right, batch_size)
        for done, index in enumerate(places, start=1):
            nearest, size = _nearest(engine, x[index], y[index])
            nearest = bisected(judged.model, x[index], y[index], nearest)
            sizes[index] = torch.where(size.isfinite(), unit.distance(x[index], nearest), size)
            if progress:
                progress(done / len(places))
    return (sizes * judged.scale).cpu()


@torch.no_grad()
def _nearest(engine: FastEngine, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest adversarial examples (B, ...) that FAB-T finds, and their distance (B,): infinity for none."""
    nearest, smallest = x.clone(), torch.full(y.shape, torch.inf, dtype=x.dtype, device=x.device)
    for rank in engine.targets("fab-t"):
        found = fab(engine.network, x, y, engine.target(x, rank), engine.threat, stop=False)
        wrong = found.fooled & ~correct(engine.network.model(found.x_adv), y)
        size = torch.where(wrong, engine.threat.distance(x, found.x_adv), torch.inf)
        nearest[size < smallest] = found.x_adv[size < smallest]
        smallest = torch.minimum(smallest, size)
    return nearest, smallest


@torch.no_grad()
def bisected(model: nn.Module, x: Tensor, y: Tensor, x_adv: Tensor, steps: int = BISECTIONS) -> Tensor:
    """Points (B, ...) on the way from x to x_adv (B, ...) that the model gives another label than y (B,), nearer to x.

    After `steps` halvings within 2^-steps of the way from a point that it gives the label y. What x_adv was stays
    where no such point was met: no distance grows.
    """
    best, low, high = x_adv, x.new_zeros(len(x)), x.new_ones(len(x))
    for _ in range(steps):
        middle = (low + high) / 2
        point = x + middle.view(-1, *(1,) * (x.ndim - 1)) * (x_adv - x)
        wrong = ~correct(model(point), y)
        best = torch.where(wrong.view(-1, *(1,) * (x.ndim - 1)), point, best)
        low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
    return best


def class_accuracy(outcomes: np.ndarray, labels: np.ndarray) -> dict[int, float]:
    """The share of each class that is robust, from outcomes (N,) and labels (N,), by class. No passes."""
    if not len(labels) or outcomes.shape != labels.shape:
        raise TemperError(f"need an outcome for each label, got {outcomes.shape} and {labels.shape}")
    return {int(k): float(np.mean(outcomes[labels == k] == ROBUST)) for k in np.unique(labels)}


def worst_class(outcomes: np.ndarray, labels: np.ndarray) -> tuple[int, float]:
    """The class with the lowest robust accuracy, and that accuracy; of several the first. No passes."""
    shares = class_accuracy(outcomes, labels)
    return min(shares.items(), key=lambda item: (item[1], item[0]))


def corruption_accuracy(
    model: nn.Module,
    corrupted: Tensor,
    y: Tensor,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    batch_size: int = 256,
) -> tuple[float, Tensor]:
    """The share of corrupted inputs (N, ...) inside `bounds` that the model gives their labels y (N,), and which, bool
    (N,).

    One pass per example. Raises TemperError for inputs or labels that make no sense.
    """
    with prepare(model, corrupted, y, Threat(norm="Linf", eps=0.0, bounds=bounds), batch_size) as judged:
        right = judged.right.cpu()
    return float(right.double().mean()), right


def _ball(threat: Threat, radius: float) -> Threat:
    try:
        return threat.with_eps(radius)
    except ValueError:
        raise TemperError(f"no ball of {threat.norm} radius {radius} in inputs from 0 to 1") from None
