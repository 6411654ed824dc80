"""What a trial spends, measured at the networks themselves, and what it may spend.

The unit is a *pass*: the FLOPs of one forward of the student on one example. By convention a backward to the input
costs one forward of that network, a backward to the weights two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from torch import Tensor, nn

from bench.networks import flops
from bench.scenario import Ruleset

Kind = Literal["forward", "input", "weights"]
CONVENTION: dict[str, int] = {"forward": 1, "input": 1, "weights": 2}


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

    def watch(self, name: str, module: nn.Module) -> None:
        """Count every call of `module` under `name`. Its price is measured by FlopCounterMode at the first call."""

        def after_forward(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if self._paused:
                return
            examples = len(output)
            if name not in self.prices:
                with self.paused():
                    self.prices[name] = flops(module, tuple(inputs[0].shape[1:])) / self.student_flops
            self.counts[name, "forward"] += examples
            if output.requires_grad:
                output.register_hook(lambda _: self._count_backward(name, examples))

        module.register_forward_hook(after_forward)

    @property
    def passes(self) -> float:
        """All that was spent so far, in passes."""
        return sum(n * CONVENTION[kind] * self.prices[name] for (name, kind), n in sorted(self.counts.items()))

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

    def fits(self, spent: float, step: int, cost: float) -> bool:
        """Whether step number `step` (from 0) may start, if it costs `cost` passes."""
        return step < self.steps if self.ruleset == "epochs" else spent + cost <= self.total

    def overspent(self, spent: float) -> bool:
        """Whether more passes were spent than the ruleset allows."""
        return self.ruleset == "compute" and spent > self.total

    def progress(self, spent: float, step: int) -> float:
        """The fraction of the budget that is spent, in [0, 1]."""
        if self.ruleset == "epochs":
            return min(1.0, step / self.steps) if self.steps else 1.0
        return min(1.0, spent / self.total)
