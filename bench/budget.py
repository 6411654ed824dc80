"""What a trial spends, measured at the networks themselves, and what it may spend.

The unit is a *pass*: the FLOPs of one forward of the student on one example. By convention a backward to the input
costs one forward of that network, a backward to the weights two. What a gradient of a gradient costs on top of those
is measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from torch import Tensor, nn

from bench.networks import double_backward_flops, flops
from bench.scenario import Ruleset

Kind = Literal["forward", "input", "weights", "double"]
CONVENTION: dict[str, int] = {"forward": 1, "input": 1, "weights": 2}
DOUBLE = "{}, double backward"  # under this name stands the price of what the convention does not cover


class Meter:
    """Counts the examples that go forward and backward through every network that it watches.

    It hangs on hooks of the modules, so that a call counts whoever makes it. A backward is to the weights of the
    network that is being `differentiating`, and to the input of every other.
    """

    def __init__(self, student_flops: int) -> None:
        self.student_flops = student_flops
        self.counts: Counter[tuple[str, str]] = Counter()
        self.prices: dict[str, float] = {}
        self._paused = False
        self._differentiated = ""
        self._watched: dict[str, tuple[nn.Module, tuple[int, ...]]] = {}

    def watch(self, name: str, module: nn.Module) -> None:
        """Count every call of `module` under `name`. Its price is measured by FlopCounterMode at the first call."""

        def after_forward(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if self._paused:
                return
            examples = len(output)
            self._watched[name] = module, tuple(inputs[0].shape[1:])
            if name not in self.prices:
                with self.paused():
                    self.prices[name] = flops(*self._watched[name]) / self.student_flops
            self.counts[name, "forward"] += examples
            if output.requires_grad:
                output.register_hook(lambda _: self._count_backward(name, examples))

        module.register_forward_hook(after_forward)

    @property
    def passes(self) -> float:
        """All that was spent so far, in passes."""
        return sum(n * self._price(name, kind) for (name, kind), n in sorted(self.counts.items()))

    def _price(self, name: str, kind: str) -> float:
        return self.prices[DOUBLE.format(name)] if kind == "double" else CONVENTION[kind] * self.prices[name]

    def double(self, name: str, examples: int) -> None:
        """Count gradients of network `name` that will be differentiated; their price is measured at the first."""
        if self._paused:
            return
        if DOUBLE.format(name) not in self.prices:
            with self.paused():
                total = double_backward_flops(*self._watched[name]) / self.student_flops
            self.prices[DOUBLE.format(name)] = total - sum(CONVENTION.values()) * self.prices[name]
        self.counts[name, "double"] += examples

    @contextmanager
    def differentiating(self, name: str) -> Iterator[None]:
        """Inside, backwards through network `name` are to its weights."""
        self._differentiated, before = name, self._differentiated
        try:
            yield
        finally:
            self._differentiated = before

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, nothing counts: validation, teacher checks."""
        self._paused, before = True, self._paused
        try:
            yield
        finally:
            self._paused = before

    def state(self) -> dict[str, Any]:
        """The counts and prices, as JSON."""
        return {
            "counts": {f"{name}/{kind}": n for (name, kind), n in sorted(self.counts.items())},
            "prices": dict(sorted(self.prices.items())),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the counts of `state()`."""
        split = {tuple(key.rsplit("/", 1)): n for key, n in state["counts"].items()}
        self.counts = Counter({(name, kind): n for (name, kind), n in split.items()})
        self.prices = dict(state["prices"])

    def _count_backward(self, name: str, examples: int) -> None:
        if not self._paused:
            self.counts[name, "weights" if name == self._differentiated else "input"] += examples


class Budget:
    """How much a trial may spend. `compute`: so many passes per training example, whatever the steps.
    `epochs`: the steps that PGD-AT could make of them, whatever the passes."""

    def __init__(self, ruleset: Ruleset, passes: float, examples: int, batch_size: int, epoch_passes: int) -> None:
        self.ruleset = ruleset
        self.total = passes * examples
        self.steps = int(self.total / (epoch_passes * batch_size) + 1e-9)  # 7 for 6.999..., which means 7
        self.spent_before, self.steps_before = 0.0, 0  # on self-teachers, before the first step

    def begin(self, spent: float, steps: int) -> None:
        """Progress starts from here: so much went into self-teachers."""
        self.spent_before, self.steps_before = spent, steps

    def fits(self, spent: float, step: int, cost: float) -> bool:
        """Whether step number `step` (from 0) may start, if it costs `cost` passes."""
        if self.ruleset == "epochs":
            return self.steps_before + step < self.steps
        return spent + cost <= self.total

    def overspent(self, spent: float) -> bool:
        """Whether more passes were spent than the ruleset allows."""
        return self.ruleset == "compute" and spent > self.total

    def progress(self, spent: float, step: int) -> float:
        """The fraction of the budget (less what was spent before) that is spent, in [0, 1]."""
        done, whole = spent - self.spent_before, self.total - self.spent_before
        if self.ruleset == "epochs":
            done, whole = step, self.steps - self.steps_before
        return min(1.0, done / whole) if whole > 0 else 1.0
