"""Which checkpoint wins, when candidates are due, and what a collapse is."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.ascent import ascend
from bench.data import Split
from bench.hashing import rng
from bench.losses import cross_entropy
from bench.scenario import Scenario, SelectionSpec, load_scenario
from bench.training.selection import Candidate, Selection, measure


def candidate(step: int = 1, robust: float = 0.5, clean: float = 0.9, **fields: Any) -> Candidate:
    return Candidate(
        **({"step": step, "progress": step / 100, "robust": robust, "clean": clean, "top_class": 0.1} | fields)
    )


def net(value: float = 0.0) -> nn.Module:
    module = nn.Linear(1, 1)
    with torch.no_grad():
        module.weight.fill_(value)
    return module


def chosen(*candidates: Candidate) -> int:
    """The step of the winner; its weights must be those that were offered with it."""
    selection = Selection([0.0])
    module = net()
    for each in candidates:
        with torch.no_grad():
            module.weight.fill_(each.step)
        selection.offer(each, module)
    assert selection.best is not None
    assert selection.best_weights["weight"].item() == selection.best.step
    assert [each.step for each in selection.curve] == [each.step for each in candidates]
    return selection.best.step


def test_the_more_robust_wins_whatever_else() -> None:
    assert chosen(candidate(1, 0.6, 0.7), candidate(2, 0.5, 0.99)) == 1
    assert chosen(candidate(1, 0.5, 0.99), candidate(2, 0.6, 0.7)) == 2


def test_of_equally_robust_ones_the_cleaner_wins() -> None:
    assert chosen(candidate(1, 0.5, 0.9), candidate(2, 0.5, 0.8)) == 1
    assert chosen(candidate(1, 0.5, 0.8), candidate(2, 0.5, 0.9), candidate(3, 0.4, 1.0)) == 2


def test_of_equals_the_later_wins() -> None:
    assert chosen(candidate(1), candidate(2), candidate(3)) == 3
    assert chosen(candidate(1), candidate(2), candidate(3, robust=0.4)) == 2


def test_one_step_is_one_candidate() -> None:
    selection = Selection([0.0])
    selection.offer(candidate(1, 0.5), net(1))
    selection.offer(candidate(1, 0.9), net(2))
    assert len(selection.curve) == 1
    assert selection.best_weights["weight"].item() == 1


def due_at(progresses: list[float], thresholds: list[float]) -> list[float]:
    """Where a trial with these steps is judged."""
    selection, seen = Selection(thresholds), []
    for step, progress in enumerate(progresses):
        ended = step == len(progresses) - 1
        if selection.due(progress, ended):
            selection.offer(candidate(step, progress=progress), net())
            seen.append(progress)
    return seen


def test_a_candidate_is_due_when_a_threshold_is_passed() -> None:
    thresholds = [0.5, 0.75, 1.0]
    assert due_at([0.1, 0.49, 0.5, 0.6, 0.76, 0.9, 0.99], thresholds) == [0.5, 0.76, 0.99]
    assert due_at([0.1, 0.9, 1.0], thresholds) == [0.9, 1.0]
    assert due_at([0.1, 0.2], thresholds) == [0.2]


def test_a_long_trial_has_as_many_candidates_as_the_scenario_says() -> None:
    thresholds = SelectionSpec().thresholds()
    for steps in (137, 1000, 4321):
        seen = due_at([(step + 1) / steps for step in range(steps)], thresholds)
        assert len(seen) == 20
        assert seen[0] == pytest.approx(0.525, abs=1 / steps)
        assert seen[-1] == 1.0
        unspent = due_at([(step + 1) / (steps + 0.5) for step in range(steps)], thresholds)
        assert len(unspent) == 20
        assert unspent[-1] == steps / (steps + 0.5)


@pytest.mark.parametrize(
    ("clean", "top_class", "collapsed"),
    [(0.2, 0.1, True), (0.2000001, 0.1, False), (0.1, 1.0, True), (0.9, 0.951, True), (0.9, 0.95, False)],
)
def test_a_collapse_is_twice_chance_or_one_class(clean: float, top_class: float, collapsed: bool) -> None:
    assert candidate(clean=clean, top_class=top_class).collapsed(10) is collapsed


def test_a_selection_survives_a_checkpoint() -> None:
    selection = Selection([0.5, 1.0])
    for each in (candidate(50, 0.1), candidate(60, 1 / 3), candidate(70, 0.2)):
        selection.offer(each, net(each.step))
    state = selection.state()
    weights = state.pop("weights")
    fresh = Selection([0.5, 1.0])
    fresh.restore(json.loads(json.dumps(state)) | {"weights": weights})
    assert fresh == selection
    assert fresh.due(0.99, False) is selection.due(0.99, False) is False
    empty = Selection([0.5])
    empty.restore(Selection([0.5]).state())
    assert empty == Selection([0.5])


# --- the measure ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("digits-linf")


@pytest.fixture
def split() -> Split:
    """More than one chunk of random images, whose label is the brightest of ten pixels."""
    x = torch.rand(600, 1, 8, 8, generator=rng(0, "test")) ** 4
    return Split(x, x.flatten(1)[:, :10].argmax(1))


@pytest.fixture
def module() -> nn.Module:
    """Right on most of `split`; with a batch norm, so that modes matter."""
    linear = nn.Linear(64, 10, bias=False)
    with torch.no_grad():
        linear.weight.copy_(20 * torch.eye(10, 64) + torch.randn(10, 64, generator=rng(1, "test")))
    return nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), linear)


def test_the_measure_equals_its_definition(module: nn.Module, split: Split, scenario: Scenario) -> None:
    found = measure(module, split, scenario, 7, 0.6)
    assert (found.step, found.progress) == (7, 0.6)
    module.eval()
    predicted = torch.cat([module(split.x[k : k + 512]).argmax(1) for k in (0, 512)])
    right = predicted == split.y
    generator = rng(0, "selection")
    robust: list[Tensor] = []
    for k in (0, 512):
        x, y = split.x[k : k + 512], split.y[k : k + 512]
        attack = scenario.attack
        x_adv = ascend(
            lambda point, y=y: cross_entropy(module(point), y),
            x,
            scenario.threat,
            steps=attack.steps,
            step_size=attack.step_size,
            generator=generator,
        )
        robust.append(module(x_adv).argmax(1) == y)
    assert found.clean == right.sum().item() / 600
    assert found.robust == (torch.cat(robust) & right).sum().item() / 600
    assert found.top_class == max((predicted == c).sum().item() for c in range(10)) / 600
    assert 0 < found.robust < found.clean < 1


def test_the_noise_is_fixed(module: nn.Module, split: Split, scenario: Scenario) -> None:
    first = measure(module, split, scenario, 1, 0.5)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert measure(module, split, scenario, 1, 0.5) == first
    assert torch.equal(torch.get_rng_state(), before)


def test_the_measure_leaves_the_network_as_it_was(module: nn.Module, split: Split, scenario: Scenario) -> None:
    for training in (True, False):
        module.train(training)
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        measure(module, split, scenario, 1, 0.5)
        assert module.training is training
        assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
        assert all(parameter.grad is None for parameter in module.parameters())


def test_an_attack_that_corrects_an_example_makes_it_no_more_robust(split: Split, scenario: Scenario) -> None:
    """Wrong exactly on the clean inputs: robust means right on both."""

    class OffTheGrid(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            truth = torch.nn.functional.one_hot(x.flatten(1)[:, :10].argmax(1), 10) + 0 * x.flatten(1)[:, :10]
            on_grid = (x * 16 == (x * 16).round()).flatten(1).all(1)
            return torch.where(on_grid[:, None], -truth, truth)

    x = torch.zeros(20, 1, 8, 8)
    x.flatten(1)[range(20), [k % 10 for k in range(20)]] = 1.0
    found = measure(OffTheGrid(), Split(x, torch.arange(20) % 10), scenario, 1, 0.5)
    assert found.clean == found.robust == 0


def test_a_constant_classifier_is_robust_on_its_class_and_collapsed(split: Split, scenario: Scenario) -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :10] * 0 + torch.eye(10)[3]

    found = measure(Constant(), split, scenario, 1, 0.5)
    share = (split.y == 3).sum().item() / 600
    assert found.clean == found.robust == share > 0
    assert found.top_class == 1.0
    assert found.collapsed(10)
