"""The training loop: one for every method. It owns data, modes, attack, meter, optimisers, schedule and selection."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bench.budget import Budget, Meter
from bench.data import Split, augment
from bench.errors import ContractError, TemperError
from bench.hashing import rng, tensor_digest
from bench.method import Attack, Batch, Harness, Method, Nets, frozen_statistics
from bench.networks import build, copied, flops
from bench.networks.features import feature_channels
from bench.scenario import PGD10_EPOCH, Recipe, Ruleset, Scenario
from bench.training.calls import Calls
from bench.training.pretraining import Pretraining
from bench.training.schedule import learning_rate
from bench.training.selection import Judge, Selection, judge_on
from bench.training.weights import STRONG, average, moved_weights, student_gradients

Made = TypeVar("Made")
ROLES = {"teacher": "robust", "natural_teacher": "natural"}  # what a method calls a teacher, and its name in scenarios


def teacher_of(role: str, method: Method, scenario: Scenario, teachers: Collection[str]) -> str:
    """Which of the `teachers` plays a role that a method needs. Raises ContractError when none does."""
    if ROLES.get(role) not in teachers:
        raise ContractError(
            f"method {method.info.name!r} needs a {role.replace('_', ' ')}, "
            f"and scenario {scenario.name!r} has none (it has {', '.join(teachers) or 'no teacher'})"
        )
    return ROLES[role]


def initial_student(scenario: Scenario, seed: int) -> nn.Module:
    """The scenario's student with the weights that a trial of this seed begins with."""
    return _seeded(seed, "initialisation", lambda: build(scenario.student, scenario.data.shape, scenario.data.classes))


def _seeded(seed: int, purpose: str, make: Callable[[], Made]) -> Made:
    """What `make` returns, its random weights drawn from a stream of the trial's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng(seed, purpose).initial_seed())
        return make()


class Trainer:
    """One trial in training: a student, its method, what it may spend and what it spent.

    The state after step k depends on the arguments and k alone (bit for bit on the CPU): random streams are keyed
    by step, so `state()` and `restore()` need not carry them.
    """

    def __init__(
        self,
        scenario: Scenario,
        method: Method,
        splits: Mapping[str, Split],
        teachers: Mapping[str, nn.Module],
        *,
        seed: int,
        passes: float,
        ruleset: Ruleset = "compute",
        recipe: Recipe = "plain",
        device: str = "cpu",
        judge: Judge | None = None,
    ) -> None:
        self.scenario, self.method, self.seed, self.device = scenario, method, seed, device
        self.splits = splits
        self.train = splits["train"].to(device)
        self.judge = judge or judge_on(splits["validation"].to(device), scenario)
        spec = scenario.optimiser
        self.batch_size = spec.batch_size
        self.steps_per_epoch = len(self.train) // self.batch_size
        if not self.steps_per_epoch:
            raise TemperError(f"batch size {self.batch_size} is more than the {len(self.train)} training examples")

        self._scheduled: list[torch.optim.SGD] = []
        self._last_batch: Batch | None = None
        self.student = initial_student(scenario, seed)
        self.meter = Meter(flops(self.student, scenario.data.shape))
        self.budget = Budget(ruleset, passes, len(self.train), self.batch_size, PGD10_EPOCH)
        self.gamma = method.weight_perturbation() or (STRONG.gamma if recipe == "strong" else 0.0)
        self.averaging = method.averaging() or (STRONG.averaging if recipe == "strong" else None)
        self.deliver = Method.deliver if recipe == "strong" else type(method).deliver
        self.pretraining: list[Pretraining] = []
        self.nets = Nets({}, *self._task, scenario.threat, self._harness(), device)
        self.nets.add("student", self.student, self._sgd)
        if self.averaging:
            self.nets.add("average", copied(self.student), frozen=True)
            self.nets.state["averaged"] = torch.zeros((), dtype=torch.int64)
        for role in sorted(method.needs):
            module = copy.deepcopy(teachers[teacher_of(role, method, scenario, teachers)])
            self.nets.add(role, module, frozen=True)
        with self._unmoved("setup"):
            _seeded(seed, "setup", lambda: method.setup(self.nets))

        self.selection = Selection(scenario.selection.thresholds())
        self.step_index = 0
        self.dearest_step = 0.0
        self.seconds = self.device_seconds = 0.0

    @property
    def progress(self) -> float:
        """Fraction of the budget spent, in [0, 1]."""
        return self.budget.progress(self.meter.passes, self.step_index)

    @property
    def ended(self) -> bool:
        """Whether no further step fits into the budget."""
        return not self.budget.fits(self.meter.passes, self.step_index, self.dearest_step)

    def run(self, after_step: Callable[[Trainer, Mapping[str, float]], None] = lambda trainer, losses: None) -> None:
        """Train until the budget is spent. `after_step` may log, save, or raise to stop."""
        for stage in self.pretraining:
            stage.run(self, after_step)
        while not self.ended:
            started, worked = time.perf_counter(), self._device_clock()
            losses = self.step()
            self.device_seconds += self._device_clock() - worked
            self.seconds += time.perf_counter() - started
            if self.budget.overspent(self.meter.passes):
                raise self.calls.breach(
                    f"a step cost more than was left of the budget of {self.budget.total:.0f} passes"
                )
            if self.selection.due(self.progress, self.ended):
                self._select()
            after_step(self, losses)

    def step(self) -> dict[str, float]:
        """One training step: batch, inner maximisation, losses, update. Returns the losses by network."""
        before = self.meter.passes
        batch = self.batch()
        self._set_learning_rate(batch.progress)
        batch.x_adv = self.perturb(batch)
        with self._worst_weights(batch):
            values = self.calls.differentiate(self.losses(batch), self.meter, self.step_index)
        for name in values:
            self.nets.optimisers[name].step()
        if self.averaging:
            average(self.nets, self.averaging, batch.progress)
        with torch.no_grad():
            self.method.after_step(self.nets, batch, values)
        self.step_index += 1
        self._last_batch = batch
        if self.step_index % self.steps_per_epoch == 0:
            self.method.epoch_end(self.nets)
        self.dearest_step = max(self.dearest_step, self.meter.passes - before)
        return values

    def metrics(self) -> dict[str, float]:
        """What the method tells of the last step, for the learning curve."""
        if type(self.method).metrics is Method.metrics or self._last_batch is None:
            return {}
        batch = self._last_batch
        batch.rng = self._rng("metrics")
        with self._unmoved("metrics"), self.meter.paused(), frozen_statistics(*self._modules()):
            self.losses(batch)
            return self.method.metrics(self.nets, batch)

    def charge(self, name: str, trainer: Trainer) -> None:
        """Take over what the trainer of a self-teacher spent, before the first step of this one."""
        for (_, kind), examples in trainer.meter.counts.items():
            self.meter.counts[f"{name}, pretraining", kind] += examples
        self.meter.prices[f"{name}, pretraining"] = 1.0
        self.seconds, self.device_seconds = self.seconds + trainer.seconds, self.device_seconds + trainer.device_seconds
        self.budget.begin(self.meter.passes, self.budget.steps_before + trainer.step_index)

    @property
    def calls(self) -> Calls:
        """The method on its networks."""
        return Calls(self.method, self.nets, self.scenario)

    @property
    def delivered(self) -> nn.Module:
        """The network that is selected, saved and judged."""
        return self.deliver(self.method, self.nets)

    @property
    def name(self) -> str:
        return self.method.info.name

    def state(self) -> dict[str, Any]:
        """All that a resumed trial needs, as a tree of tensors and JSON values."""
        kept = {name: net.module.state_dict() for name, net in self.nets.networks.items() if name not in ROLES}
        return {
            "networks": kept,
            "optimisers": {name: opt.state_dict() for name, opt in self.nets.optimisers.items()},
            "method": self.nets.state,
            "pretraining": [stage.state() for stage in self.pretraining],
            "before": [self.budget.spent_before, self.budget.steps_before],
            "meter": self.meter.state(),
            "selection": self.selection.state(),
            "step": self.step_index,
            "dearest_step": self.dearest_step,
            "seconds": [self.seconds, self.device_seconds],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state()` of the same trial."""
        for name, weights in state["networks"].items():
            self.nets.networks[name].module.load_state_dict(weights)
        for name, optimiser in state["optimisers"].items():
            self.nets.optimisers[name].load_state_dict(optimiser)
        self.nets.state = dict(state["method"])
        for stage, kept in zip(self.pretraining, state["pretraining"], strict=True):
            stage.restore(self, kept)
        self.budget.begin(*state["before"])
        self.meter.restore(state["meter"])
        self.selection.restore(state["selection"])
        self.step_index, self.dearest_step = state["step"], state["dearest_step"]
        self.seconds, self.device_seconds = state["seconds"]

    @property
    def _task(self) -> tuple[tuple[int, ...], int]:
        return self.scenario.data.shape, self.scenario.data.classes

    def _device_clock(self) -> float:
        """Seconds that the device worked: of this process on a CPU, of the wall on a GPU (after it caught up)."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    @contextmanager
    def _unmoved(self, where: str) -> Iterator[None]:
        """Inside, in what costs the method nothing, the student's weights stay. Raises ContractError."""
        before = tensor_digest(dict(self.student.named_parameters()))
        yield
        if tensor_digest(dict(self.student.named_parameters())) != before:
            raise self.calls.breach(f"{where} moved the student's weights")

    def _harness(self) -> Harness:
        """What the method's `setup` and `attack` may ask of this trainer."""
        return Harness(
            on_add=self.meter.watch,
            on_double=self.meter.double,
            on_pretrain=lambda *stage: self.pretraining.append(Pretraining(*stage)),
            new_student=lambda: build(self.scenario.student, *self._task),
            optimiser=self._sgd,
            maximise=lambda objective, x, start: self.calls.ascend(x, Attack(objective, start), self._rng("attack")),
            feature_channels=self._feature_channels,
        )

    def _feature_channels(self, module: nn.Module) -> int:
        with self.meter.paused():
            return feature_channels(module, self.scenario.data.shape)

    def _sgd(self, parameters: Any) -> torch.optim.SGD:
        """The scenario's optimiser, whose learning rate follows the scenario's schedule."""
        spec = self.scenario.optimiser
        optimiser = torch.optim.SGD(
            parameters,
            lr=spec.learning_rate,
            momentum=spec.momentum,
            nesterov=spec.nesterov,
            weight_decay=spec.weight_decay,
        )
        self._scheduled.append(optimiser)
        return optimiser

    def _set_learning_rate(self, progress: float) -> None:
        for optimiser in self._scheduled:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(self.scenario.optimiser, progress)

    def batch(self) -> Batch:
        """The next training batch: augmented, in the trial's own order."""
        epoch, position = divmod(self.step_index, self.steps_per_epoch)
        order = torch.randperm(len(self.train), generator=rng(self.seed, "order", epoch)).to(self.device)
        index = order[position * self.batch_size : (position + 1) * self.batch_size]
        x = augment(self.train.inputs(index), self.scenario.augmentation, self._rng("augmentation"))
        y = self.train.y[index]
        if self.method.info.track == "data-free":  # nothing of the data but its shape
            x, y = torch.zeros_like(x), torch.zeros_like(y)
        return Batch(x=x, y=y, x_adv=x, index=index, progress=self.progress, rng=self._rng("method"))

    def _rng(self, purpose: str) -> torch.Generator:
        return rng(self.seed, purpose, self.step_index, self.device)

    def perturb(self, batch: Batch) -> Tensor:
        """The adversarial inputs that the method's `attack` asks for, inside the ball."""
        return self.calls.attack(batch, self._rng("attack"))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The scalar loss of each trained network, all at the same weights."""
        return self.calls.losses(batch)

    def _worst_weights(self, batch: Batch) -> AbstractContextManager[None]:
        """Inside, the student's weights are moved against it, if the method or the recipe says so."""
        if not self.gamma:
            return nullcontext()
        stream = batch.rng.get_state()
        with frozen_statistics(*self._modules()):
            loss = self.losses(batch)["student"]
        with self.meter.differentiating("student"):
            gradients = student_gradients(self.student, loss)
        batch.rng.set_state(stream)
        return moved_weights(self.student, gradients, self.gamma)

    def _modules(self) -> list[nn.Module]:
        return [net.module for net in self.nets.networks.values()]

    def _select(self) -> None:
        delivered = self.delivered
        with self.meter.paused():
            candidate = self.judge(delivered, self.step_index, self.progress)
        self.selection.offer(candidate, delivered)
