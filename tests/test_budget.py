"""The meter against hand counts and FlopCounterMode, and the budget against what it promises."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.budget import Budget, Meter
from bench.networks import NETWORKS, build, flops
from bench.scenario import PGD10_EPOCH, NetworkSpec, load_scenario, shipped_scenarios
from bench.testing import counted_flops

STUDENT = 2 * (5 * 7 + 7 * 3)  # FLOPs of one example, by hand
TEACHER = 2 * 5 * 3


class Trio:
    """A student of two layers, a frozen teacher of one, and a discriminator on logits; metered."""

    def __init__(self) -> None:
        self.student = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
        self.teacher = nn.Linear(5, 3).requires_grad_(False)
        self.judge = nn.Linear(3, 1)
        self.meter = Meter(STUDENT)
        for name in ("student", "teacher", "judge"):
            self.meter.watch(name, getattr(self, name))
        self.x = torch.rand(4, 5)

    def counts(self) -> dict[str, int]:
        return self.meter.state()["counts"]


@pytest.fixture
def trio() -> Trio:
    return Trio()


# --- the meter, by hand ---------------------------------------------------------------------------


def test_a_forward_costs_one_pass_an_example(trio: Trio) -> None:
    trio.student(trio.x)
    trio.student(trio.x[:1])
    assert trio.counts() == {"student/forward": 5}
    assert trio.meter.passes == 5


def test_a_backward_to_the_input_costs_one_more(trio: Trio) -> None:
    x = trio.x.requires_grad_()
    torch.autograd.grad(trio.student(x).sum(), x)
    assert trio.counts() == {"student/forward": 4, "student/input": 4}
    assert trio.meter.passes == 8


def test_a_backward_to_the_weights_costs_two_more(trio: Trio) -> None:
    with trio.meter.differentiating("student"):
        trio.student(trio.x).sum().backward()
    assert trio.counts() == {"student/forward": 4, "student/weights": 4}
    assert trio.meter.passes == 12


def test_other_networks_cost_their_share_of_the_student(trio: Trio) -> None:
    with torch.no_grad():
        trio.teacher(trio.x)
    assert trio.meter.prices == {"teacher": TEACHER / STUDENT}
    x = trio.x.requires_grad_()
    torch.autograd.grad(trio.teacher(x).sum(), x)
    assert trio.counts() == {"teacher/forward": 8, "teacher/input": 4}
    assert trio.meter.passes == pytest.approx(12 * TEACHER / STUDENT)


def test_a_frozen_teacher_on_plain_inputs_has_no_backward(trio: Trio) -> None:
    with trio.meter.differentiating("student"):
        (trio.student(trio.x) - trio.teacher(trio.x)).square().sum().backward()
    assert trio.counts() == {"student/forward": 4, "student/weights": 4, "teacher/forward": 4}


def test_a_loss_through_several_networks_is_charged_by_what_is_differentiated(trio: Trio) -> None:
    """The student's loss goes back through the judge to its input only, and to the weights of the student."""
    loss = trio.judge(trio.student(trio.x)).sum()
    with trio.meter.differentiating("student"):
        loss.backward(inputs=list(trio.student.parameters()))
    assert trio.judge.weight.grad is None
    assert trio.counts() == {"judge/forward": 4, "judge/input": 4, "student/forward": 4, "student/weights": 4}
    assert trio.meter.passes == pytest.approx(12 + 8 * 2 * 3 / STUDENT)


def test_a_loss_for_the_judge_stops_at_the_judge(trio: Trio) -> None:
    """Even where the student's logits are not detached, no gradient is computed for it."""
    loss = trio.judge(trio.student(trio.x)).sum()
    with trio.meter.differentiating("judge"):
        loss.backward(inputs=list(trio.judge.parameters()))
    assert trio.counts() == {"judge/forward": 4, "judge/weights": 4, "student/forward": 4}


def test_a_graph_that_is_walked_twice_is_charged_twice(trio: Trio) -> None:
    loss = trio.student(trio.x).sum()
    with trio.meter.differentiating("student"):
        loss.backward(retain_graph=True)
    loss.backward()
    assert trio.counts() == {"student/forward": 4, "student/input": 4, "student/weights": 4}


def test_two_calls_in_one_loss_are_charged_each(trio: Trio) -> None:
    with trio.meter.differentiating("student"):
        (trio.student(trio.x).sum() + trio.student(trio.x[:3]).sum()).backward()
    assert trio.counts() == {"student/forward": 7, "student/weights": 7}


def test_differentiating_nests_and_ends(trio: Trio) -> None:
    with trio.meter.differentiating("judge"):
        with trio.meter.differentiating("student"):
            trio.student(trio.x).sum().backward()
        trio.judge(torch.rand(2, 3)).sum().backward()
    trio.judge(torch.rand(1, 3)).sum().backward()
    wanted = {"judge/forward": 3, "judge/input": 1, "judge/weights": 2, "student/forward": 4, "student/weights": 4}
    assert trio.counts() == wanted


def test_nothing_counts_while_paused(trio: Trio) -> None:
    before = trio.student(trio.x).sum()
    with trio.meter.paused():
        with trio.meter.paused():
            trio.teacher(trio.x)
        trio.student(trio.x).sum().backward()
        before.backward()
    assert trio.counts() == {"student/forward": 4}
    assert trio.meter.prices.keys() == {"student"}


def test_a_pause_ends_with_an_error(trio: Trio) -> None:
    with pytest.raises(RuntimeError), trio.meter.paused():
        raise RuntimeError
    trio.student(trio.x)
    assert trio.counts() == {"student/forward": 4}


def test_measuring_the_price_changes_nothing_of_the_network() -> None:
    net = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3))
    twin = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3))
    twin.load_state_dict(net.state_dict())
    meter = Meter(STUDENT)
    meter.watch("student", net)
    x = torch.rand(4, 5)
    assert torch.equal(net(x), twin(x))
    assert net.training
    for name, tensor in twin.state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor)
    assert meter.passes == 4


def test_counts_survive_a_checkpoint(trio: Trio) -> None:
    trio.judge(trio.student(trio.x)).sum().backward()
    state = json.loads(json.dumps(trio.meter.state()))
    fresh = Trio()
    fresh.meter.restore(state)
    assert fresh.meter.state() == state
    assert fresh.meter.passes == trio.meter.passes
    for each in (trio, fresh):
        each.student(each.x)
    assert fresh.meter.passes == trio.meter.passes > 0
    assert fresh.meter.state() == trio.meter.state()


# --- the meter, against FlopCounterMode -----------------------------------------------------------

SMALL: dict[str, dict[str, Any]] = {
    "cnn": {},
    "mlp": {},
    "mobilenetv2": {"width": 0.25},
    "preactresnet18": {"width": 8},
    "resnet18": {"width": 8},
    "wideresnet": {"depth": 10, "width": 2},
}


def first_layer(module: nn.Module, x: Tensor) -> int:
    """FLOPs of the layer that takes the inputs: its gradient to the input is needed by an attack only."""
    found: list[int] = []

    def note(layer: nn.Module, _: Any, output: Tensor) -> None:
        found.append(2 * output.numel() * math.prod(layer.weight.shape[1:]))  # type: ignore[operator]

    layers = [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()
    return found[0]


def forward(module: nn.Module, meter: Meter, x: Tensor) -> None:
    with torch.no_grad():
        module(x * 1)


def to_input(module: nn.Module, meter: Meter, x: Tensor) -> None:
    point = x.clone().requires_grad_()
    torch.autograd.grad(module(point * 1).sum(), point)  # `* 1`: FlopCounterMode fails on a leaf here


def to_weights(module: nn.Module, meter: Meter, x: Tensor) -> None:
    with meter.differentiating("student"):
        module(x * 1).sum().backward(inputs=list(module.parameters()))


KINDS: list[Callable[[nn.Module, Meter, Tensor], None]] = [forward, to_input, to_weights]


def metered_and_counted(module: nn.Module, x: Tensor, work: Callable[[nn.Module, Meter, Tensor], None]) -> list[float]:
    """FLOPs of `work`, as the meter has them and as FlopCounterMode counts them."""
    unit = flops(module, tuple(x.shape[1:]))
    meter = Meter(unit)
    meter.watch("student", module)
    forward(module, meter, x)  # the price is measured at the first call
    before = meter.passes
    with counted_flops() as counter:
        work(module, meter, x)
    return [(meter.passes - before) * unit, counter.get_total_flops()]


def test_every_architecture_is_cross_checked() -> None:
    assert {*SMALL, "wrn-28-10", "wrn-34-10"} == {name for name in NETWORKS if not name.startswith("test")}


@pytest.mark.parametrize("work", KINDS)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8)])
@pytest.mark.parametrize("network", SMALL)
def test_the_meter_agrees_but_for_the_first_layers_input_gradient(network: str, shape: tuple[int, ...], work) -> None:
    module = build(NetworkSpec(network=network, options=SMALL[network]), shape, 10)
    x = torch.rand(4, *shape)
    metered, counted = metered_and_counted(module, x, work)
    spared = first_layer(module, x) if work is to_weights else 0
    assert metered - spared == pytest.approx(counted, rel=1e-9)


def full_size() -> dict[str, tuple[NetworkSpec, tuple[int, ...]]]:
    """Every network of every scenario that ships, and the other architectures as they are on CIFAR-10."""
    networks = [(NetworkSpec(network=name), (3, 32, 32)) for name in NETWORKS if name not in ("mlp", "cnn")]
    for name in shipped_scenarios():
        scenario = load_scenario(name)
        specs = (scenario.student, *scenario.teachers.values())
        networks += [(NetworkSpec(network=s.network, options=s.options), scenario.data.shape) for s in specs]
    return {f"{spec.network}{spec.options or ''} on {list(shape)}": (spec, shape) for spec, shape in networks}


@pytest.mark.parametrize("name", FULL := full_size())
def test_the_meter_agrees_to_two_percent_on_every_shipped_network(name: str) -> None:
    """A training step, forward and backward. On the meta device: shapes only, so a large teacher costs no time."""
    spec, shape = FULL[name]
    with torch.device("meta"):
        metered, counted = metered_and_counted(build(spec, shape, 10), torch.zeros(4, *shape), to_weights)
    assert counted > 0
    assert metered == pytest.approx(counted, rel=0.02)


@pytest.mark.xfail(strict=False, reason="torch's FlopCounterMode forgets `groups` in the gradient of the weights")
def test_flop_counter_mode_itself_counts_grouped_convolutions() -> None:
    """When this passes, `bench.testing.counted_flops` can go."""
    module, x = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), torch.rand(2, 8, 6, 6)
    with FlopCounterMode(display=False) as counter:
        module(x).sum().backward()
    assert counter.get_total_flops() == 2 * flops(module, (8, 6, 6)) * 2


# --- the budget -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [1.0, 7.3, 100.0, 2944.0, 1e6])
def test_compute_never_overspends_and_leaves_less_than_a_step(cost: float) -> None:
    budget = Budget("compute", 23 * 3.0, 1000, 128, PGD10_EPOCH)
    spent, step = 0.0, 0
    while budget.fits(spent, step, cost):
        spent += cost
        step += 1
    assert spent <= budget.total == 69_000
    assert budget.total - spent < cost
    assert not budget.overspent(spent)
    assert budget.overspent(budget.total + 1)


def test_compute_does_not_count_steps() -> None:
    budget = Budget("compute", 23.0, 1000, 100, PGD10_EPOCH)
    assert budget.fits(0.0, 10**9, 1.0)
    assert budget.fits(22_999.0, 0, 1.0)
    assert not budget.fits(22_999.5, 0, 1.0)


@pytest.mark.parametrize(
    ("epochs", "examples", "batch", "steps"), [(3, 1000, 100, 30), (2, 897, 128, 14), (0.5, 64, 64, 0)]
)
def test_epochs_counts_the_steps_of_pgd_10(epochs: float, examples: int, batch: int, steps: int) -> None:
    budget = Budget("epochs", PGD10_EPOCH * epochs, examples, batch, PGD10_EPOCH)
    taken = 0
    while budget.fits(1e12, taken, 1e12):
        taken += 1
    assert taken == steps
    assert not budget.overspent(1e12)


def test_pgd_at_takes_the_same_steps_under_both_rulesets() -> None:
    compute, epochs = (Budget(r, PGD10_EPOCH * 5.0, 897, 128, PGD10_EPOCH) for r in ("compute", "epochs"))  # type: ignore[arg-type]
    cost, taken = PGD10_EPOCH * 128.0, 0
    while compute.fits(taken * cost, taken, cost):
        taken += 1
    assert taken == epochs.steps


@pytest.mark.parametrize("ruleset", ["compute", "epochs"])
def test_progress_grows_from_zero_to_one(ruleset) -> None:
    budget = Budget(ruleset, PGD10_EPOCH * 2.0, 1000, 100, PGD10_EPOCH)
    cost = PGD10_EPOCH * 100.0
    values = [budget.progress(step * cost, step) for step in range(21)]
    assert values[0] == 0
    assert values[10] == pytest.approx(0.5)
    assert values[20] == pytest.approx(1.0)
    assert values[20] <= 1
    assert all(a < b for a, b in pairwise(values))


def test_a_part_of_an_epoch_has_all_its_steps() -> None:
    assert Budget("epochs", PGD10_EPOCH * 0.7, 1000, 100, PGD10_EPOCH).steps == 7


def test_a_budget_without_a_step_is_spent() -> None:
    assert Budget("epochs", PGD10_EPOCH * 0.5, 64, 64, PGD10_EPOCH).progress(0.0, 0) == 1.0
