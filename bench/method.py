"""The interface for authors of methods: Method, Attack, Batch, Nets and the decorator `register`.

The harness controls the loop, the data, the modes, the attack, the meter, the optimiser and its schedule, the selection
and the clock. A method defines its losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from inspect import cleandoc
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Generator, Tensor, nn

from bench.ascent import Objective
from bench.errors import ContractError, TemperError
from bench.registry import FILES as FILES
from bench.registry import Registry
from bench.scenario import Track
from bench.threat import Start, Threat
from bench.words import check_printable, one_line, texts

IN_TABLES = ("name", "version", "family", "reference", "authors", "licence", "passes")  # of `MethodInfo`: one line
Share = Annotated[float, Field(ge=0, le=1)]  # of a sum, a budget, a progress: a hyper-parameter from 0 to 1


class Attack(NamedTuple):
    """An inner maximisation: its objective per example, and its settings. `None` takes the scenario's value.

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


class Averaging(NamedTuple):
    """How the student's weights and buffers are averaged after every step, from progress `start` on; before it, the
    average equals the student."""

    decay: float | None = 0.999  # exponential, less at first: (1 + n) / (10 + n) at update n; None: all steps alike
    start: float = 0.0


class Net:
    """A metered network: call it on inputs (B, ...) and get logits (B, C).

    In `loss`, every call of the student updates its batch-norm statistics unless `update_stats=False`. A frozen network
    is never trained.
    """

    def __init__(
        self, module: nn.Module, *, frozen: bool = False, on_double: Callable[[int], None] = lambda examples: None
    ) -> None:
        self.module, self.frozen, self.on_double = module, frozen, on_double

    def __call__(self, x: Tensor, *, update_stats: bool = True) -> Tensor:
        if update_stats:
            return self.module(x)
        with frozen_statistics(self.module):
            return self.module(x)

    def input_gradient(self, loss: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C) at x, and the gradient (B, ...) of `loss(logits)` (B,) with respect to x.

        The gradient can be differentiated, and its double backward is charged, unless the network is frozen or
        gradients are off (as in `attack`, or in `torch.no_grad()`).
        """
        differentiable = torch.is_grad_enabled() and not self.frozen
        point = x.detach().requires_grad_()
        with torch.enable_grad():
            logits = self(point * 1)  # FlopCounterMode cannot follow a leaf into a module
            (gradient,) = torch.autograd.grad(loss(logits).sum(), point, create_graph=differentiable)
        if not differentiable:
            return logits.detach(), gradient.detach()
        self.on_double(len(x))
        return logits, gradient


@dataclass
class Nets:
    """The networks of a trial by name: `student`, `teacher`, `natural_teacher`, and those that `setup` adds.

    `state` contains the tensors that a method keeps between steps; they are checkpointed with the networks.
    """

    networks: dict[str, Net]
    shape: tuple[int, ...]  # of one input
    classes: int
    threat: Threat
    harness: Harness
    device: str = "cpu"
    optimisers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)
    state: dict[str, Tensor] = field(default_factory=dict)

    def add(
        self,
        name: str,
        module: nn.Module,
        optimiser: Callable[[Any], torch.optim.Optimizer] | None = None,
        *,
        frozen: bool = False,
    ) -> None:
        """Declare an auxiliary network, only in `setup`; with an optimiser it is trained on the loss of its name.

        A frozen one keeps its weights and stays in eval mode, like a teacher.
        """
        if name in self.networks:
            raise TemperError(f"there is a network {name!r} already")
        if frozen:
            module.eval().requires_grad_(False)
        module.to(self.device)
        self.networks[name] = Net(module, frozen=frozen, on_double=partial(self.harness.on_double, name))
        self.harness.on_add(name, module)
        if optimiser is not None:
            self.optimisers[name] = optimiser(module.parameters())

    def add_student(self, name: str) -> None:
        """Declare another network of the student's architecture, with its own weights. It is trained like the student,
        with the scenario's optimiser and learning rate, on the loss of its name."""
        self.add(name, self.harness.new_student(), self.harness.optimiser)

    def pretrain(self, name: str, method: str, share: float) -> None:
        """Declare a self-teacher: a network of the student's architecture that `method` trains first, for this share of
        the trial's budget. Its best weights (on validation) are kept and frozen. Its training is charged."""
        self.add(name, self.harness.new_student(), frozen=True)
        self.harness.on_pretrain(name, method, share)

    def feature_channels(self, name: str) -> int:
        """D, the number of feature channels of network `name`; see `bench.networks.features.feature_map`."""
        return self.harness.feature_channels(self.networks[name].module)

    def maximise(self, objective: Objective, x: Tensor, start: Start = "uniform") -> Tensor:
        """The harness's inner maximisation around x (B, ...), for an `attack` that `Attack` cannot describe."""
        return self.harness.maximise(objective, x, start)

    def __getattr__(self, name: str) -> Net:
        networks = self.__dict__.get("networks", {})
        if name.startswith("__") or name not in networks:
            raise AttributeError(f"this trial has no network {name!r}; it has {', '.join(networks)}")
        return networks[name]


@dataclass(frozen=True)
class Harness:
    """What `Nets` asks of whoever trains."""

    on_add: Callable[[str, nn.Module], None]
    on_double: Callable[[str, int], None]
    on_pretrain: Callable[[str, str, float], None]
    new_student: Callable[[], nn.Module]
    optimiser: Callable[[Any], torch.optim.Optimizer]
    maximise: Callable[[Objective, Tensor, Start], Tensor]
    feature_channels: Callable[[nn.Module], int]


Losses = Tensor | dict[str, Tensor]


class Method(BaseModel):
    """A distillation method. Its annotated fields are the hyper-parameters: typed, validated, recorded.

    A method is frozen: state that changes between steps is in networks and `nets.state`, declared in `setup`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs: ClassVar[set[str]] = set()
    info: ClassVar[MethodInfo]

    @model_validator(mode="after")
    def _settings_in_a_line(self) -> Self:
        for text in texts(self.__dict__):
            one_line(text)
        return self

    def setup(self, nets: Nets) -> None:
        """Declare auxiliary networks (`nets.add`) and initial state (`nets.state`), before the first step."""

    def attack(self, nets: Nets, batch: Batch) -> Attack | Tensor | None:
        """The inner maximisation; or the method's own inputs; or None for clean training."""
        return None

    def loss(self, nets: Nets, batch: Batch) -> Losses:
        """Per-example losses (B,), or a scalar; or a dict of them, one per trained network, including `student`."""
        raise NotImplementedError

    def after_step(self, nets: Nets, batch: Batch, losses: Mapping[str, float]) -> None:
        """Update state after the optimisers have stepped."""

    def epoch_end(self, nets: Nets) -> None:
        """Update state after each epoch."""

    def metrics(self, nets: Nets, batch: Batch) -> dict[str, float]:
        """Numbers for the learning curve, a hundred times per trial, uncharged. `loss` was just called on the batch
        (with the networks after the step), so its scratch fields and their graphs are available."""
        return {}

    def averaging(self) -> Averaging | None:
        """How the student is averaged, if at all. The average is then `nets.average` and is delivered by default."""
        return None

    def weight_perturbation(self) -> float:
        """The size of adversarial weight perturbation before each gradient, relative to the norm of the weights: gamma
        of Wu et al. 2020 (arXiv:2004.05884, Eq. 8 to 10). 0 means none."""
        return 0.0

    def deliver(self, nets: Nets) -> nn.Module:
        """The network that is selected, saved and judged: the student, or its average."""
        return nets.networks.get("average", nets.student).module


@dataclass(frozen=True)
class MethodInfo:
    """The registered facts about a method."""

    name: str
    version: str
    family: str
    reference: str
    authors: str = ""
    licence: str = ""  # of the file
    formula: str = ""  # the losses and the inner maximisation as LaTeX, what the code computes
    deviations: str = ""
    passes: str = ""  # per example and step, in K (attack steps), r and r_N (teachers' FLOPs over the student's), ...
    controls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    track: Track = "main"

    def __post_init__(self) -> None:
        object.__setattr__(self, "formula", cleandoc(self.formula))


METHODS: Registry[type[Method]] = Registry("method", group="temper.methods")

M = TypeVar("M", bound=Method)


def register(name: str, **info: Any) -> Callable[[type[M]], type[M]]:
    """Class decorator: `@register("rslad", version="zi2021", family="adversarial-kd", reference="arXiv:2108.07969")`.

    The keywords are the fields of `MethodInfo`. Raises TemperError if the name is taken, a field is not text that can
    stand in a table, or the class is not a Method.

    >>> import bench
    >>> from bench.losses import kl
    >>> @bench.register("soft-labels", version="1", family="kd", reference="arXiv:1503.02531")
    ... class SoftLabels(bench.Method):
    ...     "The student matches the teacher's soft labels on clean inputs."
    ...     needs = {"teacher"}
    ...     temperature: float = 2.0
    ...
    ...     def loss(self, nets, batch):
    ...         target = (nets.teacher(batch.x) / self.temperature).softmax(1)
    ...         return kl(target, nets.student(batch.x), self.temperature)
    >>> SoftLabels(temperature=4).model_dump()
    {'temperature': 4.0}
    """

    def decorate(method: type[M]) -> type[M]:
        if not (isinstance(method, type) and issubclass(method, Method)):
            raise ContractError(f"method {name!r}: {method!r} is not a subclass of bench.Method")
        if "info" in method.__dict__:
            raise ContractError(
                f"{method!r} is registered as {method.info.name!r} already; give {name!r} its own class"
            )
        method.info = MethodInfo(name=name, **info)
        _check_texts(method.info)
        METHODS.add(name, method)
        return method

    return decorate


def _check_texts(info: MethodInfo) -> None:
    """Raise ContractError unless every field can stand in a table."""
    for key, value in vars(info).items():
        try:
            one_line(value) if key in IN_TABLES else check_printable(value)
        except ValueError as error:
            raise ContractError(f"method {info.name!r}: {key} {error}") from None


def make_method(name: str, fields: Mapping[str, Any] | None = None) -> Method:
    """The method of that name with these hyper-parameters. Raises TemperError for an unknown name or a bad field."""
    method = METHODS[name]
    try:
        return method(**(fields or {}))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        known = ", ".join(method.model_fields) or "none"
        said = f"{problem['msg']}, got {problem['input']!r}"
        raise TemperError(f"method {name!r}, field {where!r}: {said} (its fields: {known})") from None


@contextmanager
def frozen_statistics(*modules: nn.Module) -> Iterator[None]:
    """Inside, batch norm normalises according to its mode but does not update running statistics."""
    inside = [layer for module in modules for layer in module.modules()]
    layers = [m for m in inside if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
