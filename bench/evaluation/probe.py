"""Attacks on what AutoAttack left of a model that may hide its gradient; for diagnostics and adaptive attacks."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from bench.evaluation.apgd import Objective, apgd, start_on_the_sphere
from bench.evaluation.found import Found
from bench.evaluation.network import Network, raw_gradient, scaled
from bench.evaluation.noise import Keyed, Noise, example_keys
from bench.hashing import derive
from bench.protocol import MISCLASSIFIED, ROBUST
from bench.task import correct
from bench.threat import Threat

Attack = Callable[[Tensor, Tensor, Noise], Found]  # inputs (B, ...), labels (B,) and noise to what was found

GAP = 10.0  # median gap of the two highest logits after rescaling: cross-entropy is weaker with 1, and with 100
PLATEAU = 0.05  # PGD gives an example up when its margin fell by less than this share while the steps doubled


@dataclass(frozen=True)
class Case:
    """A model, frozen and in eval mode, and the examples that AutoAttack judged it on."""

    model: nn.Module
    x: Tensor  # (N, ...) in [0, 1]
    y: Tensor  # (N,)
    threat: Threat
    outcomes: np.ndarray  # (N,)
    seed: int
    batch_size: int
    votes: int = 1  # passes that decide by majority whether an example is right

    @property
    def standing(self) -> Tensor:
        """Which examples AutoAttack left robust, bool (N,)."""
        return torch.as_tensor(self.outcomes == ROBUST).to(self.y.device)

    @property
    def right(self) -> Tensor:
        """Which examples are classified right without attack, bool (N,)."""
        return torch.as_tensor(self.outcomes != MISCLASSIFIED).to(self.y.device)

    @torch.no_grad()
    def logits(self, order: Tensor | None = None, batch_size: int | None = None) -> Tensor:
        """Logits (N, C) of all examples, computed in this order and in batches of this size."""
        order = torch.arange(len(self.x), device=self.x.device) if order is None else order
        parts = [self.model(self.x[index]) for index in order.split(batch_size or self.batch_size)]
        return torch.cat(parts)[order.argsort()]

    def attack(self, mask: Tensor, run: Attack, *unit: object, into: Tensor | None = None) -> Tensor:
        """At which step `run` broke the examples of `mask` (N,), int64 (N,); -1 where it did not.

        What it found must lie in the ball and fool the model as it is; it is written `into` (N, ...). `unit` names its
        random numbers.
        """
        step = torch.full_like(self.y, -1)
        for index in batches(mask, self.batch_size):
            x, y = self.x[index], self.y[index]
            found = run(x, y, Keyed(self.seed, example_keys(x, y), "diagnostics", *unit))
            x_adv = found.x_adv.to(x)
            with torch.no_grad():
                votes = torch.stack([~correct(self.model(x_adv), y) for _ in range(self.votes)]).sum(0)
            broken = found.fooled & (votes > self.votes // 2) & self.threat.contains(x, x_adv)
            step[index[broken]] = found.iteration[broken]
            if into is not None:
                into[index[broken]] = x_adv[broken]
        return step

    @contextmanager
    def undisturbed(self, *others: nn.Module) -> Iterator[None]:
        """Inside, random numbers follow the seed; afterwards their states, buffers and modes are as they were."""
        modules = [module for model in (self.model, *others) for module in model.modules()]
        modes = [module.training for module in modules]
        buffers = [(m, name, b, b.clone()) for m in modules for name, b in m.named_buffers(recurse=False)]
        states, devices = (random.getstate(), np.random.get_state()), [self.x.device] if self.x.is_cuda else []
        try:
            with torch.random.fork_rng(devices=devices):
                seed_everything(derive(self.seed, "diagnostics"), cuda=self.x.is_cuda)
                yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
            for module, name, buffer, value in buffers:
                setattr(module, name, buffer.copy_(value))


def batches(mask: Tensor, size: int) -> list[Tensor]:
    """The places (B,) of the examples in `mask` (N,), `size` at a time; none where there is none."""
    places = mask.nonzero().squeeze(1)
    return list(places.split(size)) if len(places) else []


def seed_everything(seed: int, cuda: bool) -> None:
    """Seed Python's, NumPy's and PyTorch's global random numbers, which only stochastic models draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if cuda:
        torch.cuda.manual_seed(seed)


class Probe(Network):
    """A network whose gradient is 0 where there is none or it is not finite, and has largest entry 1 elsewhere.

    With a `surrogate`, gradients are the surrogate's, and what counts as fooled is still the model's word.
    """

    def __init__(self, model: nn.Module, surrogate: nn.Module | None = None, dtype: torch.dtype | None = None) -> None:
        super().__init__(model, surrogate)
        self.dtype = dtype

    def value_and_gradient(self, loss: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, value, gradient = raw_gradient(self.fast, loss, x)
        return logits, value, scaled(gradient)

    def margin(self, logits: Tensor, x: Tensor, y: Tensor) -> Tensor:
        if self.fast is self.model:
            return super().margin(logits, x, y)
        return self.exact_margin(x.to(self.dtype or x.dtype), y).to(x)


def pgd(network: Network, threat: Threat, objective: Objective, steps: int) -> Attack:
    """Projected gradient ascent of eps/8 a step from the edge of the ball; an example leaves once it is fooled.

    It also leaves after 50, 100, 200 ... steps if its smallest margin hardly fell in the last half of them.
    """

    @torch.no_grad()
    def run(x: Tensor, y: Tensor, noise: Noise) -> Found:
        found, index = Found.nothing(x), torch.arange(len(x), device=x.device)
        point, moment, before = start_on_the_sphere(x, threat, noise), 25, found.margin.clone()
        for step in range(steps + 1):
            logits, _, gradient = network.value_and_gradient(partial(given_labels, objective, y[index]), point)
            distance = network.margin(logits, point, y[index])
            found.record(index, point, distance, distance < 0, step, backwards=1)
            point = threat.project(x[index], threat.step(point, gradient, threat.eps / 8))
            staying = distance >= 0
            if step == moment:
                staying &= (found.margin < (1 - PLATEAU) * before)[index]
                moment, before = 2 * moment, found.margin.clone()
            index, point = index[staying], point[staying]
            if not len(index):
                break
        return found

    return run


def given_labels(objective: Objective, y: Tensor, logits: Tensor) -> Tensor:
    """The objective (B,) of logits (B, C), for use with `partial`."""
    return objective(logits, y)


def claimed(x: Tensor, x_adv: Tensor) -> Found:
    """x_adv (B, ...) as what an attack claims to have found for x (B, ...)."""
    found = Found.nothing(x)
    found.x_adv = x_adv
    found.fooled[:], found.iteration[:] = True, 0
    return found


def rescaled(case: Case, objective: Objective, *, steps: int, double: bool = False) -> Attack:
    """APGD on logits scaled to a median gap of 10 between the two highest; `double` computes them in float64.

    Rows of probabilities become their logarithms first.
    """
    model = _like_in_double(case.model, case.x[:2]) if double else case.model
    dtype = torch.float64 if model is not case.model else case.x.dtype
    log = bool(are_probabilities(case.logits()).all())
    scale = GAP / gap(replace(case, model=_Rescaled(model, dtype, log)).logits())
    network = Probe(case.model, _Rescaled(model, dtype, log, scale), case.x.dtype)

    def run(x: Tensor, y: Tensor, noise: Noise) -> Found:
        start = start_on_the_sphere(x, case.threat, noise).to(dtype)
        return apgd(network, x.to(dtype), y, case.threat, objective, start, steps=steps)

    return run


class _Rescaled(nn.Module):
    def __init__(self, model: nn.Module, dtype: torch.dtype, log: bool, scale: float = 1.0) -> None:
        super().__init__()
        self.model, self.dtype, self.log, self.scale = model, dtype, log, scale

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x.to(self.dtype))
        if self.log:
            logits = logits.clamp_min(torch.finfo(logits.dtype).tiny).log()
        return logits * self.scale


def gap(logits: Tensor) -> float:
    """The median gap between the two highest of logits (N, C); 10 where it is 0 or not finite."""
    top = logits.topk(2, 1).values
    value = float((top[:, 0] - top[:, 1]).median())
    return value if 0 < value < float("inf") else GAP


def are_probabilities(logits: Tensor) -> Tensor:
    """Which rows of (N, C) lie in [0, 1] and sum to 1, bool (N,)."""
    return ((logits >= 0) & (logits <= 1)).all(1) & ((logits.sum(1) - 1).abs() < 1e-3)


def _like_in_double(model: nn.Module, x: Tensor) -> nn.Module:
    """A float64 copy of the model, or the model itself where there is none that says the same of x (B, ...)."""
    double = in_double(model, x)
    if double is None:
        return model
    with torch.no_grad():
        same = torch.allclose(double(x.double()), model(x).double(), rtol=1e-3, atol=1e-3)
    return double if same else model


@torch.no_grad()
def in_double(model: nn.Module, x: Tensor) -> nn.Module | None:
    """A copy of the model with the same weights in float64; None where there can be none. It is tried on x (B, ...)."""
    try:
        double = copy.deepcopy(model).double()
        logits = double(x.double())
    except Exception:
        return None
    return double if logits.dtype == torch.float64 else None
