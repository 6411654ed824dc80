"""The conformance suite: the contract of every registered method, shipped or not.

    from bench.testing import check_method
    check_method("my-method")            # raises ContractError with the broken clause

Runs on the digits in seconds, with the shipped teachers.
"""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.budget import DOUBLE
from bench.data import Split, load
from bench.errors import ContractError, Diverged
from bench.hashing import rng, tensor_digest
from bench.method import Attack, Batch, Method, Net, make_method
from bench.networks import counted_flops
from bench.scenario import Scenario, load_scenario
from bench.teachers import load_teachers
from bench.training import checkpoint
from bench.training.loop import ROLES, Trainer

STEPS = 4  # of a short training, on each side of an interruption
BATCH_SIZE = 32  # of it
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of batch norm
Check = Callable[["Subject"], None]


class Subject:
    """A method under test: makes fresh trainers for it on a scenario, with small batches."""

    def __init__(
        self,
        name: str,
        fields: Mapping[str, Any],
        scenario: Scenario,
        splits: Mapping[str, Split] | None = None,
        device: str = "cpu",
    ) -> None:
        self.name, self.scenario, self.device = name, scenario.with_optimiser({"batch_size": BATCH_SIZE}), device
        self.method = make_method(name, fields)
        self.splits = splits or load(scenario.data, ("train", "validation"))

    def trainer(self, method: Method | None = None, seed: int = 1) -> Trainer:
        """A trainer before its first step; for another method if one is given."""
        method = method or self.method
        teachers = load_teachers(self.scenario, method.needs)
        passes = self.scenario.passes("s")
        return Trainer(self.scenario, method, self.splits, teachers, seed=seed, passes=passes, device=self.device)

    def require(self, holds: bool, clause: str) -> None:
        """Raise ContractError with the method and the clause unless it holds."""
        if not holds:
            raise ContractError(f"method {self.name!r} breaks the contract: {clause}")


def check_method(name: str, fields: Mapping[str, Any] | None = None, scenario: str = "digits-linf") -> list[str]:
    """Run every check on a registered method; return their names. Raises ContractError at the first broken clause."""
    return check_subject(Subject(name, fields or {}, load_scenario(scenario)))


def check_subject(subject: Subject) -> list[str]:
    """`check_method` of a subject."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for check in CHECKS:
            check(subject)
    except Diverged as error:
        subject.require(False, str(error))
    finally:
        torch.set_num_threads(threads)
    return [check.__name__ for check in CHECKS]


def stays_inside_the_ball(subject: Subject) -> None:
    """Adversarial inputs are inside the ball (of the method's training eps, if it sets one) and the bounds."""
    trainer = subject.trainer()
    batch = trainer.batch()
    with torch.no_grad():
        attack = subject.method.attack(trainer.nets, batch)
    threat = subject.scenario.threat.with_eps(attack.eps if isinstance(attack, Attack) else None)
    x_adv = trainer.perturb(batch)
    subject.require(bool(threat.contains(batch.x, x_adv).all()), "an adversarial input lies outside the ball")


def leaves_teachers_alone(subject: Subject) -> None:
    """Training leaves weights and buffers of every teacher unchanged, bit for bit."""
    trainer = subject.trainer()
    before = _weights(trainer, teachers=True)
    _train(trainer, STEPS)
    subject.require(_weights(trainer, teachers=True) == before, "a teacher moved")


def keeps_the_networks_as_built(subject: Subject) -> None:
    """Student and teachers keep the layers, attributes, forward and hooks that the harness gave them."""
    own, plain = subject.trainer(), subject.trainer(make_method("pgd-at"))
    before = _anatomy(own)
    _train(own, STEPS)
    subject.require(_anatomy(own) == before, "a network was changed: a layer, an attribute, its forward or a hook")
    student = own.nets.networks["student"].module
    subject.require(student is own.student, "nets.student is another network than the student")
    same = _parts(student) == _parts(plain.student)
    subject.require(same, "the student has another layer, attribute, forward or hook than the scenario's")


def repeats_itself(subject: Subject) -> None:
    """The same seed gives the same weights; another seed gives different ones."""
    first, again, other = (subject.trainer(seed=seed) for seed in (1, 1, 2))
    for trainer in (first, again, other):
        _train(trainer, STEPS)
    subject.require(_weights(first) == _weights(again), "the same seed gave other weights")
    subject.require(_weights(first) != _weights(other), "another seed gave the same weights")


def resumes_exactly(subject: Subject) -> None:
    """Stopping, saving, and continuing in a new process gives the weights of an uninterrupted run, bit for bit."""
    whole = subject.trainer()
    _train(whole, 2 * STEPS)
    first, second = subject.trainer(), subject.trainer()
    _train(first, STEPS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        checkpoint.save(path, first.state())
        second.restore(checkpoint.load(path, subject.device))
    _train(second, STEPS)
    subject.require(_weights(second) == _weights(whole), "a resumed run differs from an uninterrupted one")
    subject.require(second.meter.passes == whole.meter.passes, "a resumed run has spent another budget")


def leaves_no_state(subject: Subject) -> None:
    """Calling `attack` and `loss` twice gives the same losses and changes only batch statistics of trained networks."""
    trainer = subject.trainer()
    _train(trainer, STEPS)
    before = _weights(trainer, statistics=False)
    trained = [net.module for net in trainer.nets.networks.values() if not net.frozen]
    kept = copy.deepcopy([module.state_dict() for module in trained])
    batch = trainer.batch()
    results = []
    for _ in range(2):
        for module, weights in zip(trained, kept, strict=True):
            module.load_state_dict(weights)
        batch.rng = rng(trainer.seed, "method", trainer.step_index)
        batch.x_adv = trainer.perturb(batch)
        results.append({name: loss.item() for name, loss in trainer.losses(batch).items()})
    subject.require(_weights(trainer, statistics=False) == before, "`attack` or `loss` changed state")
    subject.require(results[0] == results[1], f"`loss` called twice gave {results[0]}, then {results[1]}")


def keeps_off_global_randomness(subject: Subject) -> None:
    """Random numbers come from `batch.rng`; the global streams of Python, NumPy and torch do not change."""

    def streams() -> tuple[Any, ...]:
        numpy = np.random.get_state(legacy=False)["state"]
        return random.getstate(), numpy["pos"], numpy["key"].tobytes(), torch.get_rng_state().numpy().tobytes()

    trainer = subject.trainer()
    found = random.getstate(), np.random.get_state(), torch.get_rng_state()
    torch.rand(1), np.random.rand(), random.random()  # detects a method that seeds them again
    before = streams()
    _train(trainer, 1)
    after = streams()
    random.setstate(found[0])
    np.random.set_state(found[1])
    torch.set_rng_state(found[2])
    subject.require(after == before, "it draws from a global random state; use batch.rng")


def ignores_the_order_of_the_batch(subject: Subject) -> None:
    """Permuting the batch permutes the losses (float64, relative 1e-9, batch norm in eval mode).

    A method that draws random numbers is exempt: they depend on the position in the batch.
    """
    trainer = subject.trainer()
    _train(trainer, 1)
    _cast(trainer, torch.float64)
    batch = _cast_batch(trainer.batch(), torch.float64)
    order = torch.randperm(len(batch.x), generator=rng(0, "permutation"))
    noise = torch.rand(batch.x.shape, generator=rng(0, "noise"), dtype=torch.float64) - 0.5
    moved = subject.scenario.threat.project(batch.x, batch.x + noise)
    stream = batch.rng.get_state()
    plain = _raw_losses(trainer, batch, moved)
    if not torch.equal(batch.rng.get_state(), stream):
        return
    permuted = _raw_losses(trainer, _permuted(batch, order), moved[order])
    for name, loss in plain.items():
        expected = loss[order] if loss.ndim else loss
        close = torch.allclose(permuted[name], expected, rtol=1e-9, atol=1e-12)
        subject.require(close, f"loss {name!r} depends on the order of the batch")


def survives_bfloat16(subject: Subject) -> None:
    """Losses are finite in bfloat16."""
    trainer = subject.trainer()
    _train(trainer, 1)
    _cast(trainer, torch.bfloat16)
    batch = _cast_batch(trainer.batch(), torch.bfloat16)
    batch.x_adv = trainer.perturb(batch)
    for name, loss in trainer.losses(batch).items():
        subject.require(bool(loss.isfinite()), f"loss {name!r} is not finite in bfloat16")


def equals_its_controls(subject: Subject) -> None:
    """With the settings of `controls`, the student equals that of the named method bit for bit."""
    for control, fields in subject.method.info.controls.items():
        switched_off = subject.trainer(make_method(subject.name, fields))
        plain = subject.trainer(make_method(control))
        for trainer in (switched_off, plain):
            _train(trainer, STEPS)
        same = tensor_digest(switched_off.student.state_dict()) == tensor_digest(plain.student.state_dict())
        subject.require(same, f"with {dict(fields)} it is not {control!r} bit for bit")
        same_cost = switched_off.meter.passes == plain.meter.passes
        subject.require(same_cost, f"with {dict(fields)} it costs more than {control!r}")


def costs_its_formula(subject: Subject) -> None:
    """One step costs what `passes` claims."""
    if not subject.method.info.passes:
        return
    trainer = subject.trainer()
    _train(trainer, 2)
    before = trainer.meter.passes
    _train(trainer, 1)
    spent = (trainer.meter.passes - before) / trainer.batch_size
    expected = formula_passes(subject.method.info.passes, trainer)
    agree = abs(spent - expected) <= 1e-9 * expected
    subject.require(agree, f"a step spends {spent:.4f} passes per example, its formula gives {expected:.4f}")


def costs_what_it_computes(subject: Subject) -> None:
    """The meter agrees with FlopCounterMode to 2%."""
    ratio = metered_over_counted(subject)
    subject.require(abs(ratio - 1) <= 0.02, f"the meter charges {ratio:.4f} of the FLOPs of a step")


CHECKS: tuple[Check, ...] = (
    stays_inside_the_ball,
    leaves_teachers_alone,
    keeps_the_networks_as_built,
    repeats_itself,
    resumes_exactly,
    leaves_no_state,
    keeps_off_global_randomness,
    ignores_the_order_of_the_batch,
    survives_bfloat16,
    equals_its_controls,
    costs_its_formula,
    costs_what_it_computes,
)


def formula_passes(formula: str, trainer: Trainer) -> float:
    """The value of a registration's `passes`: K attack steps, r and r_N teachers, other networks by their names."""
    prices = trainer.meter.prices
    symbols = {"teacher": "r", "natural_teacher": "r_N", DOUBLE.format("student"): "double"}
    values = {symbols.get(name, name): price for name, price in prices.items()} | {"K": trainer.scenario.attack.steps}
    try:
        return float(eval(formula, {"__builtins__": {}}, values))  # a registration is code already
    except (NameError, SyntaxError, TypeError, ArithmeticError) as error:
        raise ContractError(
            f"method {trainer.name!r} breaks the contract: its formula of passes {formula!r} fails: {error}"
        ) from None


def metered_over_counted(subject: Subject) -> float:
    """Passes that the meter charges for one step, over what FlopCounterMode counts in the very same step."""
    trainer = subject.trainer()
    _train(trainer, 2)
    for name, net in trainer.nets.networks.items():
        trainer.nets.networks[name] = _OffLeaf(net.module, frozen=net.frozen, on_double=net.on_double)
    before = trainer.meter.passes
    with counted_flops() as counter:
        _train(trainer, 1)
    return (trainer.meter.passes - before) * trainer.meter.student_flops / counter.get_total_flops()


class _OffLeaf(Net):
    """FlopCounterMode cannot follow a leaf tensor into a module under `autograd.grad`; this hands it a copy."""

    def __call__(self, x: Tensor, *, update_stats: bool = True) -> Tensor:
        return super().__call__(x * 1, update_stats=update_stats)


def _anatomy(trainer: Trainer) -> dict[str, Any]:
    """What the student and the teachers are made of."""
    return {
        name: _parts(trainer.nets.networks[name].module)
        for name in ("student", *ROLES)
        if name in trainer.nets.networks
    }


def _parts(module: nn.Module) -> dict[str, Any]:
    """Of each layer: its class, its forward, its attributes, and how many tensors and hooks it has."""
    return {
        name: (
            type(layer),
            type(layer).forward,
            {key: len(value) if isinstance(value, dict) else None for key, value in vars(layer).items()},
        )
        for name, layer in module.named_modules()
    }


def _train(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.step()


def _weights(trainer: Trainer, *, teachers: bool = False, statistics: bool = True) -> str:
    """A hash of the teachers, or else of all that is trained and all state; without batch statistics that may move."""
    tensors: dict[str, Tensor] = {} if teachers else {f"state/{k}": v for k, v in trainer.nets.state.items()}
    for name, net in trainer.nets.networks.items():
        if (name in ROLES) is teachers:
            kept = net.module.state_dict()
            if not (net.frozen or statistics):
                kept = {key: value for key, value in kept.items() if not key.endswith(STATISTICS)}
            tensors |= {f"{name}/{key}": value for key, value in kept.items()}
    return tensor_digest(tensors)


def _cast(trainer: Trainer, dtype: torch.dtype) -> None:
    for net in trainer.nets.networks.values():
        net.module.to(dtype)
    trainer.nets.state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in trainer.nets.state.items()}


def _cast_batch(batch: Batch, dtype: torch.dtype) -> Batch:
    batch.x = batch.x_adv = batch.x.to(dtype)
    return batch


def _permuted(batch: Batch, order: Tensor) -> Batch:
    shuffled = copy.copy(batch)
    shuffled.x, shuffled.y, shuffled.index = batch.x[order], batch.y[order], batch.index[order]
    return shuffled


def _raw_losses(trainer: Trainer, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
    """The method's losses, unreduced, all networks in eval mode, on adversarial inputs that are given."""
    for net in trainer.nets.networks.values():
        net.module.eval()
    with torch.no_grad():
        trainer.method.attack(trainer.nets, batch)
    batch.x_adv = x_adv
    losses = trainer.method.loss(trainer.nets, batch)
    return losses if isinstance(losses, dict) else {"student": losses}
