"""One batch, and the networks of a trial in float64, for a method and for the oracle written from its formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.method import Attack, Batch, Harness, Method, Nets
from bench.networks.cnn import cnn
from bench.networks.features import feature_channels
from bench.threat import Linf

SHAPE, CLASSES, EXAMPLES, EPS = (1, 8, 8), 5, 12, 0.15


def harness(new_student: Callable[[], nn.Module], shape: tuple[int, ...] = SHAPE) -> Harness:
    """A harness that counts nothing; its inner maximisation takes one large step from x."""

    def maximise(objective: Callable[[Tensor], Tensor], x: Tensor, start: str) -> Tensor:
        point = x.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(objective(point).sum(), point)
        return (x + EPS * gradient.sign()).clamp(0, 1)

    return Harness(
        on_add=lambda name, module: None,
        on_double=lambda name, examples: None,
        on_pretrain=lambda name, method, share: None,
        new_student=new_student,
        optimiser=lambda parameters: torch.optim.SGD(parameters, 0.1),
        maximise=maximise,
        feature_channels=lambda module: feature_channels(module, shape),
    )


def network(seed: int, widths: tuple[int, ...] = (4, 6)) -> nn.Module:
    """A small network with random weights; its logits differ enough to matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = cnn(SHAPE, CLASSES, widths=widths, strides=[2] * len(widths)).double()
        with torch.no_grad():
            module[-1].weight.mul_(4.0)
    return module


@dataclass
class Facts:
    """What an oracle is told: one batch, and networks as plain modules (student in training mode, as in `loss`)."""

    x: Tensor
    y: Tensor
    x_adv: Tensor
    index: Tensor
    progress: float
    networks: dict[str, nn.Module]
    state: dict[str, Tensor]
    rng: torch.Generator  # at the position where the method's `attack` found its own
    threat: Any = field(default_factory=lambda: Linf(EPS))

    def __getattr__(self, name: str) -> nn.Module:
        """`facts.student`, `facts.teacher`, `facts.natural_teacher` and the method's own networks."""
        try:
            return self.__dict__["networks"][name]
        except KeyError:
            raise AttributeError(name) from None


Oracle = Callable[[Facts], Mapping[str, Tensor]]  # per-example losses (B,), or scalars, by network
Inner = Callable[[Facts, Tensor], Tensor]  # what the attack maximises at inputs (B, ...): (B,)


@dataclass
class Golden:
    """A formula: losses; what the attack maximises (None: no `Attack`) and where it starts; Attack fields not default;
    hyper-parameters other than the defaults; `prepare` puts state where its terms show."""

    loss: Oracle
    inner: Inner | None = None
    start: str | None = None
    options: Mapping[str, float] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[Nets], None] = lambda nets: None
    progress: float = 0.4


class Setting:
    """A method with its networks and one batch."""

    def __init__(self, method: Method, golden: Golden) -> None:
        self.method = method
        self.nets = Nets({}, SHAPE, CLASSES, Linf(EPS), harness(lambda: network(7)))
        self.nets.add("student", network(1))
        if method.averaging():
            self.nets.add("average", network(4), frozen=True)
        for seed, role in enumerate(sorted(method.needs), start=2):
            self.nets.add(role, network(seed, (6, 8)), frozen=True)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            method.setup(self.nets)
        for net in self.nets.networks.values():
            net.module.double()
        self.nets.state = {k: v.double() if v.is_floating_point() else v for k, v in self.nets.state.items()}
        golden.prepare(self.nets)
        generator = torch.Generator().manual_seed(3)
        self.x = torch.rand(EXAMPLES, *SHAPE, generator=generator, dtype=torch.float64)
        noise = torch.rand(self.x.shape, generator=generator, dtype=torch.float64)
        self.x_adv = (self.x + EPS * (2 * noise - 1)).clamp(0, 1)
        self.y = torch.arange(EXAMPLES) % CLASSES
        self.batch = Batch(
            x=self.x,
            y=self.y,
            x_adv=self.x,
            index=torch.arange(EXAMPLES),
            progress=golden.progress,
            rng=torch.Generator().manual_seed(5),
        )

    def attack(self) -> Attack | Tensor | None:
        """The method's `attack`, as the trainer calls it; then x_adv is given, unless the method made it itself."""
        for net in self.nets.networks.values():
            net.module.eval()
        with torch.no_grad():
            attack = self.method.attack(self.nets, self.batch)
        if attack is None:
            self.x_adv = self.x
        elif isinstance(attack, Tensor):
            self.x_adv = Linf(EPS).project(self.batch.x, attack.detach())
        self.batch.x_adv = self.x_adv
        return attack

    def losses(self) -> dict[str, Tensor]:
        """The method's losses by network, as the trainer asks for them."""
        self.attack()
        for net in self.nets.networks.values():
            net.module.train(not net.frozen)
        found = self.method.loss(self.nets, self.batch)
        return found if isinstance(found, dict) else {"student": found}

    def facts(self) -> Facts:
        """The same for an oracle."""
        modules = {name: net.module for name, net in self.nets.networks.items()}
        return Facts(
            self.batch.x,
            self.y,
            self.x_adv,
            self.batch.index,
            self.batch.progress,
            modules,
            self.nets.state,
            torch.Generator().manual_seed(5),
        )
