"""After AutoAttack: attacks on the examples that it left standing, so that its upper bound comes down.

The probability margin attack (PMA, Xie et al. 2024, arXiv:2411.15210), APGD at the targets that look nearest (MALT,
Melamed et al. 2024, arXiv:2407.02240; up to 10 classes all are targets, as in AutoAttack), and AutoAttack's targeted
APGD once more from other starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from bench.errors import TemperError
from bench.evaluation.engine import TARGETS, FastEngine
from bench.evaluation.found import Found
from bench.evaluation.inputs import prepare
from bench.evaluation.network import Network, scaled
from bench.evaluation.noise import Keyed, Noise, example_keys
from bench.evaluation.probe import batches
from bench.evaluation.suite import SAMPLE
from bench.losses import margin_targeted
from bench.protocol import BEYOND
from bench.task import correct
from bench.threat import Threat

PMA_STEPS = 100  # of each of the two passes of PMA; the objective changes in the middle
CANDIDATES = 100  # classes that MALT measures the distance to: those with the highest logits

Run = Callable[[Tensor, Noise], Found]  # places (B,) of the examples to attack, and noise, to what was found
Report = Callable[[float], None]
Stage = Callable[["Hunt", FastEngine], None]


@dataclass(frozen=True)
class Beyond:
    """What is left of AutoAttack's survivors. Tensors lie on the CPU."""

    before: Tensor  # bool (N,), which examples were attacked
    standing: dict[str, Tensor]  # bool (N,) by stage, in the order of BEYOND: what no attack up to its end broke
    adversarial: Tensor  # (N, ...) inside the bounds, the inputs themselves where nothing was found

    @property
    def left(self) -> Tensor:
        """bool (N,), what still stands at the end."""
        return self.standing[BEYOND[-1]]

    @property
    def fallen(self) -> dict[str, int]:
        """How many examples each stage broke that no earlier one did."""
        left = [int(self.before.sum()), *(int(standing.sum()) for standing in self.standing.values())]
        return {stage: left[k] - left[k + 1] for k, stage in enumerate(self.standing)}


def beyond(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    standing: Tensor,
    *,
    seed: int = 0,
    batch_size: int = 256,
    restarts: int = 5,
    progress: Report | None = None,
) -> Beyond:
    """Attack the examples of x (N, ...) inside the bounds, labels y (N,), that `standing` (bool (N,)) names.

    They are to be classified right. An example is broken by any point of the threat model with another label, at
    whichever class an attack aimed. Random numbers depend on the seed and the example, not on batches. Passes per
    example, a forward and backward being two: at most 402 for PMA; 2 for each other class (100 at most) and 1818 for
    MALT; 1827 for each of the `restarts`. `progress` is called with the fraction done.

    Raises TemperError for inputs outside the bounds, labels without a logit, and shapes that do not fit.
    """
    with prepare(model, x, y, threat, batch_size) as judged:
        shape = tuple(judged.y.shape)
        if standing.shape != shape or standing.dtype != torch.bool:
            raise TemperError(f"standing must be bool {shape}, got {standing.dtype} {tuple(standing.shape)}")
        engine = FastEngine(judged.model, judged.threat, judged.x[:SAMPLE], judged.classes)
        units = 2 + len(engine.targets("apgd-t")) * (1 + restarts)
        hunt, left = Hunt(judged.model, judged.x, judged.y, standing, seed, batch_size, units, progress), {}
        stages: tuple[Stage, ...] = (_pma, _malt, partial(_restart, restarts))
        for name, stage in zip(BEYOND, stages, strict=True):
            stage(hunt, engine)
            left[name] = hunt.left.cpu().clone()
        adversarial = judged.restored(hunt.x_adv.cpu(), torch.arange(len(judged.x)))
    return Beyond(standing.cpu().clone(), left, adversarial)


@dataclass
class Hunt:
    """Examples that one attack after another goes for, but for those that an earlier one broke."""

    model: nn.Module
    x: Tensor  # (N, ...)
    y: Tensor  # (N,)
    left: Tensor  # bool (N,), what is to be attacked; copied
    seed: int
    batch_size: int
    units: int  # how many attacks there will be, for the progress reported
    progress: Report | None = None

    def __post_init__(self) -> None:
        self.left, self.x_adv = self.left.to(self.y.device, copy=True), self.x.clone()
        self.keys, self.done = example_keys(self.x, self.y), 0

    def batches(self) -> list[Tensor]:
        """The places (B,) of the examples that are left."""
        return batches(self.left, self.batch_size)

    @torch.no_grad()
    def attack(self, threat: Threat, run: Run, *unit: object) -> None:
        """Attack what is left. What lies in the ball and fools the model as it is breaks; `unit` names the noise."""
        for index in self.batches():
            found = run(index, Keyed(self.seed, self.keys[index], *unit))
            wrong = ~correct(self.model(found.x_adv), self.y[index])
            broken = found.fooled & wrong & threat.contains(self.x[index], found.x_adv)
            self.x_adv[index[broken]], self.left[index[broken]] = found.x_adv[broken], False
        self.done += 1
        if self.progress:
            self.progress(self.done / self.units)


def _pma(hunt: Hunt, engine: FastEngine) -> None:
    def run(index: Tensor, noise: Noise) -> Found:
        x = hunt.x[index]
        start = uniform_start(x, engine.threat, noise)
        return pma(engine.network, x, hunt.y[index], engine.threat, start, second=second)

    for second in (False, True):
        hunt.attack(engine.threat, run, "pma", int(second))


def _malt(hunt: Hunt, engine: FastEngine) -> None:
    ranks = len(engine.targets("apgd-t"))
    targets = hunt.y.new_zeros(len(hunt.y), ranks)
    for index in hunt.batches():
        targets[index] = malt_targets(engine.network, hunt.x[index], hunt.y[index], engine.threat)

    def run(index: Tensor, noise: Noise) -> Found:
        return engine.towards(targets[index, rank], hunt.x[index], hunt.y[index], noise)

    for rank in range(ranks):
        hunt.attack(engine.threat, run, "malt", rank)


def _restart(restarts: int, hunt: Hunt, engine: FastEngine) -> None:
    def run(index: Tensor, noise: Noise) -> Found:
        return engine.run("apgd-t", (rank,), hunt.x[index], hunt.y[index], [noise])

    for restart in range(restarts):
        for rank in engine.targets("apgd-t"):
            hunt.attack(engine.threat, run, "restarts", rank, restart)


@torch.no_grad()
def pma(network: Network, x: Tensor, y: Tensor, threat: Threat, start: Tensor, *, second: bool) -> Found:
    """One of the two passes of PMA around x (B, ...) from `start` (B, ...), labels y (B,).

    An example that is fooled leaves. For L2, which the paper leaves out, steps go along the normalised gradient.
    """
    found, index, point = Found.nothing(x), torch.arange(len(x), device=x.device), start
    for step in range(PMA_STEPS):
        label = y[index]
        objective = partial(pma_objective, y=label, step=step, second=second)
        logits, _, gradient = network.value_and_gradient(objective, point)
        margin = network.margin(logits, point, label)
        found.record(index, point, margin, margin < 0, step, backwards=1)
        ahead = threat.step(point, scaled(gradient), pma_step_size(step, threat.eps))
        index, point = index[margin >= 0], threat.project(x[index], ahead)[margin >= 0]
        if not len(index):
            return found
    margin = network.margin(network(point), point, y[index])
    found.record(index, point, margin, margin < 0, PMA_STEPS)
    return found


def pma_objective(logits: Tensor, y: Tensor, step: int, second: bool) -> Tensor:
    """What PMA ascends at a step (0 to 99), from logits (B, C) and labels (B,): (B,), as in the published code.

    First the probability of the label, for one step. Then its negative, or in the second pass that of the likeliest
    other class; from step 50 on their difference. In float64, as a sure network's float32 probabilities are flat.
    """
    probabilities = logits.double().softmax(1)
    right = probabilities.gather(1, y[:, None]).squeeze(1)
    wrong = probabilities.scatter(1, y[:, None], -1.0).amax(1)
    if step == 0:
        return right
    if step < PMA_STEPS // 2:
        return wrong if second else -right
    return wrong - right


def pma_step_size(step: int, eps: float) -> float:
    """From 2 eps to 0 along a cosine, twice; as in the published code it starts anew at step 51, not 50."""
    half = PMA_STEPS // 2
    phase = step - 1 if step <= half else step - 1 - half
    return eps * (1 + math.cos(math.pi * phase / half))


@torch.no_grad()
def malt_targets(network: Network, x: Tensor, y: Tensor, threat: Threat, count: int = TARGETS) -> Tensor:
    """The classes (B, T) whose linearised boundaries lie nearest to x (B, ...), labels y (B,): T = min(count, C - 1).

    Nearest first, among the CANDIDATES highest logits; a class whose gradient is that of the label comes last.
    """
    others = network(x).scatter(1, y[:, None], -torch.inf)
    candidates = others.topk(min(CANDIDATES, others.shape[1] - 1), dim=1).indices
    pairs = [torch.stack([y, candidate], 1) for candidate in candidates.unbind(1)]
    distances = torch.stack([_distance_to_boundary(network, x, pair, threat) for pair in pairs], 1)
    return candidates.gather(1, distances.sort(dim=1, stable=True).indices[:, :count])


def _distance_to_boundary(network: Network, x: Tensor, pair: Tensor, threat: Threat) -> Tensor:
    """How far it is (B,) from x (B, ...) to where two logits are equal, were they linear; infinity where they are
    parallel. `pair` (B, 2): the label and another class."""
    _, gap, gradient = network.value_and_gradient(partial(margin_targeted, classes=pair), x)
    distance = -gap / gradient.flatten(1).norm(p=1 if threat.norm == "Linf" else 2, dim=1)
    return torch.where(distance.isfinite(), distance, torch.inf)


def uniform_start(x: Tensor, threat: Threat, noise: Noise) -> Tensor:
    """A uniform point of the ball around each x (B, ...), cut with the bounds, as `Threat.start` draws it."""
    if threat.norm == "Linf":
        return threat.project(x, x + threat.eps * (2 * noise.each(*x.shape[1:]).to(x) - 1))
    direction, share = noise.normal(*x.shape[1:]).to(x), noise.each(1).to(x) ** (1 / x[0].numel())
    radius = threat.eps * share / direction.flatten(1).norm(dim=1, keepdim=True).clamp_min(1e-12)
    return threat.project(x, x + direction * radius.view(-1, *(1,) * (x.ndim - 1)))
