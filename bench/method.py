"""What an author of a method sees: Method, Attack, Batch, Nets and the decorator that registers.

The harness owns the loop, the data, the modes, the attack, the meter, the optimiser and its schedule, the selection
and the clock. A method owns its losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Generator, Tensor, nn

from bench.ascent import Objective
from bench.errors import ContractError, TemperError
from bench.registry import Registry
from bench.scenario import Track
from bench.threat import Start


class Attack(NamedTuple):
    """An inner maximisation: what it maximises per example, and how. `None` takes the scenario's value.

    `objective` maps inputs (B, ...) to shape (B,). Student and teacher are in eval mode while it runs.
    """

    objective: Objective
    start: Start = "uniform"
    steps: int | None = None
    step_size: float | None = None
    eps: float | None = None


class Batch(SimpleNamespace):
    """One training batch, and free scratch fields for the method.

    x: clean inputs (B, ...), y: labels (B,), index: positions in the training split (B,), x_adv: the adversarial
    inputs (after `attack`; x itself for clean training), progress: fraction of the budget spent in [0, 1],
    rng: the method's own random stream of this step.
    """

    x: Tensor
    y: Tensor
    x_adv: Tensor
    index: Tensor
    progress: float
    rng: Generator


class Net:
    """A metered network: call it on inputs (B, ...) and get logits (B, C).

    In `loss`, every call of the student moves its batch-norm statistics unless `update_stats=False`.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, x: Tensor, *, update_stats: bool = True) -> Tensor:
        if update_stats:
            return self.module(x)
        with frozen_statistics(self.module):
            return self.module(x)


@dataclass
class Nets:
    """The networks of a trial by name: `student`, `teacher`, `natural_teacher`, and those that `setup` adds.

    `state` holds tensors that a method carries from step to step; they are checkpointed with the networks.
    """

    networks: dict[str, Net]
    shape: tuple[int, ...]  # of one input
    classes: int
    device: str = "cpu"
    optimisers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    state: dict[str, Tensor] = field(default_factory=dict)
    on_add: Callable[[str, nn.Module], None] = lambda name, module: None

    def add(
        self, name: str, module: nn.Module, optimiser: Callable[[Any], torch.optim.Optimizer] | None = None
    ) -> None:
        """Declare an auxiliary network, in `setup` only; with an optimiser it is trained by the loss of its name."""
        if name in self.networks:
            raise TemperError(f"there is a network {name!r} already")
        module.to(self.device)
        self.networks[name] = Net(module)
        self.on_add(name, module)
        if optimiser is not None:
            self.optimisers[name] = optimiser(module.parameters())

    def __getattr__(self, name: str) -> Net:
        networks = self.__dict__.get("networks", {})
        if name.startswith("__") or name not in networks:
            raise AttributeError(f"this trial has no network {name!r}; it has {', '.join(networks)}")
        return networks[name]


Losses = Tensor | dict[str, Tensor]


class Method(BaseModel):
    """A distillation method. Its annotated fields are the hyper-parameters: typed, validated, recorded.

    A method is frozen: what changes from step to step lives in networks and `nets.state`, declared in `setup`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs: ClassVar[set[str]] = set()
    info: ClassVar[MethodInfo]

    def setup(self, nets: Nets) -> None:
        """Declare auxiliary networks (`nets.add`) and initial state (`nets.state`), before the first step."""

    def attack(self, nets: Nets, batch: Batch) -> Attack | Tensor | None:
        """What the inner maximisation maximises; or inputs of the method's own; or None for clean training."""
        return None

    def loss(self, nets: Nets, batch: Batch) -> Losses:
        """Per-example losses (B,), or a scalar; or a dict of them, one per trained network, `student` among them."""
        raise NotImplementedError

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        """Move state after the optimisers stepped."""

    def epoch_end(self, nets: Nets) -> None:
        """Move state at the end of each pass over the training split."""

    def deliver(self, nets: Nets) -> nn.Module:
        """The network that is selected, saved and judged: the student, or an average of it."""
        return nets.student.module


@dataclass(frozen=True)
class MethodInfo:
    """What a registration says of a method."""

    name: str
    version: str
    family: str
    reference: str
    deviations: str = ""
    passes: str = ""  # per example and step, in K (attack steps), r and r_N (teachers' FLOPs over the student's)
    controls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    track: Track = "main"


METHODS: Registry[type[Method]] = Registry("method", group="temper.methods")

M = TypeVar("M", bound=Method)


def register(name: str, **info: Any) -> Callable[[type[M]], type[M]]:
    """Class decorator: `@register("rslad", version="zi2021", family="adversarial-kd", reference="arXiv:2108.07969")`.

    The keywords are the fields of `MethodInfo`. Raises TemperError when the name is taken, or the class is no Method.
    """

    def decorate(method: type[M]) -> type[M]:
        if not (isinstance(method, type) and issubclass(method, Method)):
            raise ContractError(f"method {name!r}: {method!r} is not a subclass of bench.Method")
        if "info" in method.__dict__:
            raise ContractError(
                f"{method!r} is registered as {method.info.name!r} already; give {name!r} its own class"
            )
        method.info = MethodInfo(name=name, **info)
        METHODS.add(name, method)
        return method

    return decorate


def make_method(name: str, fields: Mapping[str, Any] | None = None) -> Method:
    """The method of that name with these hyper-parameters. Raises TemperError for an unknown name or a bad field."""
    method = METHODS[name]
    try:
        return method(**(fields or {}))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        known = ", ".join(method.model_fields) or "none"
        raise TemperError(f"method {name!r}, field {where!r}: {problem['msg']} (its fields: {known})") from None


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, batch norm normalises as its mode says but moves no running statistics."""
    layers = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
