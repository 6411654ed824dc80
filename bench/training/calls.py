"""The calls of a method's `attack` and `loss`, in the right modes, and whether what comes back keeps the contract."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from bench.ascent import ascend
from bench.budget import Meter
from bench.errors import ContractError, Diverged
from bench.method import Attack, Batch, Losses, Method, Nets
from bench.scenario import Scenario


@dataclass(frozen=True)
class Calls:
    """A method on its networks. What breaks the contract raises ContractError, which names the method."""

    method: Method
    nets: Nets
    scenario: Scenario

    def attack(self, batch: Batch, generator: Generator) -> Tensor:
        """The adversarial inputs that `attack` asks for, inside the ball."""
        self._set_modes(training=False)
        with torch.no_grad():
            attack = self.method.attack(self.nets, batch)
        if attack is None:
            return batch.x
        if isinstance(attack, Tensor):
            if attack.shape != batch.x.shape:
                raise self.breach(f"attack returned shape {tuple(attack.shape)} for inputs {tuple(batch.x.shape)}")
            return self.scenario.threat.project(batch.x, attack.detach())
        if not isinstance(attack, Attack):
            raise self.breach(f"attack returned {type(attack).__name__}, not Attack, a tensor or None")
        return self.ascend(batch.x, attack, generator)

    def ascend(self, x: Tensor, attack: Attack, generator: Generator) -> Tensor:
        """Run an inner maximisation around x (B, ...)."""
        defaults = self.scenario.attack
        try:
            return ascend(
                attack.objective,
                x,
                self.scenario.threat.with_eps(attack.eps),
                steps=defaults.steps if attack.steps is None else attack.steps,
                step_size=defaults.step_size if attack.step_size is None else attack.step_size,
                start=attack.start,
                generator=generator,
            )
        except ValueError as error:
            raise self.breach(f"attack: {error}") from error

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The scalar loss of each trained network, all at the same weights."""
        self._set_modes(training=True)
        losses: Losses = self.method.loss(self.nets, batch)
        named = losses if isinstance(losses, dict) else {"student": losses}
        if "student" not in named:
            raise self.breach(f"loss has none for the student (it has {', '.join(named) or 'none'})")
        return {name: self._reduced(name, loss, len(batch.x)) for name, loss in named.items()}

    def differentiate(self, losses: Mapping[str, Tensor], meter: Meter, step: int) -> dict[str, float]:
        """Leave the gradient of each loss with its own network; returns their values. Raises Diverged for NaN."""
        values = {name: loss.item() for name, loss in losses.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise Diverged(name, step)
        for position, (name, loss) in enumerate(losses.items()):
            self.nets.optimisers[name].zero_grad()
            parameters = list(self.nets.networks[name].module.parameters())
            with meter.differentiating(name):
                loss.backward(inputs=parameters, retain_graph=position < len(losses) - 1)
            if all(parameter.grad is None for parameter in parameters):
                raise self.breach(f"loss {name!r} does not depend on the weights of {name!r}")
        return values

    def breach(self, what: str) -> ContractError:
        """The error that says what the method did."""
        return ContractError(f"method {self.method.info.name!r} breaks the contract: {what}")

    def _reduced(self, name: str, loss: Tensor, examples: int) -> Tensor:
        if name not in self.nets.optimisers:
            raise self.breach(f"loss for {name!r}, which has no optimiser (trained: {list(self.nets.optimisers)})")
        if not isinstance(loss, Tensor) or loss.shape not in ((), (examples,)):
            got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise self.breach(f"loss {name!r} is {got}; it must be a scalar or have shape ({examples},)")
        if not loss.requires_grad:
            raise self.breach(f"loss {name!r} depends on no weights")
        return loss.mean()

    def _set_modes(self, *, training: bool) -> None:
        """Students and auxiliaries train in `loss` and rest in `attack`; what is frozen never trains."""
        for net in self.nets.networks.values():
            net.module.train(training and not net.frozen)
