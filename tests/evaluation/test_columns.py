"""Curves, smallest perturbations, worst classes and corruptions against closed forms and arithmetic."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.data import load
from bench.errors import TemperError
from bench.evaluation.beyond import beyond
from bench.evaluation.columns import (
    Curve,
    accuracy_curve,
    bisected,
    class_accuracy,
    corruption_accuracy,
    curve_radii,
    minimal_norm,
    worst_class,
)
from bench.networks.mlp import mlp
from bench.scenario import load_scenario
from bench.threat import L2, Linf, Threat

NORMS = ["Linf", "L2"]
DUAL = {"Linf": 1, "L2": 2}
EPS = {"Linf": 0.1, "L2": 0.6}  # where about half of the trained net's examples stand


def random_linear(classes: int) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A linear model, inputs away from the bounds, and the labels that it gives them, but for the first two."""
    generator = torch.Generator().manual_seed(classes)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, classes)).double()
    weight = torch.randn(classes, 16, generator=generator, dtype=torch.float64)
    net[1].weight.data, net[1].bias.data = weight, -weight.sum(1) / 2
    x = 0.4 + 0.2 * torch.rand(24, 1, 4, 4, generator=generator, dtype=torch.float64)
    y = net(x).argmax(1)
    y[:2] = (y[:2] + 1) % classes
    return net, x, y


def closed_form(net: nn.Sequential, x: Tensor, y: Tensor, norm: str) -> Tensor:
    """The distance to the nearest other class of a linear model; 0 where it is wrong."""
    z, w = net(x).detach(), net[1].weight.detach()
    slopes = (w[y][:, None] - w).norm(p=DUAL[norm], dim=2).clamp_min(1e-9)
    gaps = (z.gather(1, y[:, None]) - z) / slopes
    return gaps.scatter(1, y[:, None], torch.inf).amin(1).clamp_min(0)


Examples = tuple[nn.Module, Tensor, Tensor]


class Found(NamedTuple):
    """What is known of the trained net and its examples under one threat model."""

    threat: Threat
    sizes: Tensor
    curve: Curve


@pytest.fixture(scope="module")
def trained() -> Examples:
    """A small net after some steps on noisy digits, and ten of them, one with a label of its own.

    Training examples: no test may read the test split.
    """
    split = load(load_scenario("digits-linf").data, ("train",))["train"]
    x, y = split.inputs().double(), split.y
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = mlp((1, 8, 8), 10, widths=[32]).double()
        optimiser = torch.optim.SGD(net.parameters(), 0.1, 0.9)
        for _ in range(100):
            index = torch.randint(len(x), (128,))
            noisy = (x[index] + 0.2 * torch.randn(128, 1, 8, 8)).clamp(0, 1)
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(noisy), y[index]).backward()
            optimiser.step()
    net.zero_grad()
    x, y = x[:10], y[:10].clone()
    y[3] = (y[3] + 1) % 10
    return net.eval(), x, y


@pytest.fixture(scope="module", params=NORMS)
def found(request: pytest.FixtureRequest, trained: Examples) -> Found:
    threat = Threat(norm=request.param, eps=EPS[request.param])
    return Found(threat, minimal_norm(*trained, threat), accuracy_curve(*trained, threat))


# --- accuracy against eps -------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 12])
def test_the_curve_of_a_linear_model_is_its_closed_form(norm: Any, classes: int) -> None:
    net, x, y = random_linear(classes)
    distance = closed_form(net, x, y, norm)
    eps = float(distance.median()) + 2e-4
    curve = accuracy_curve(net, x, y, Threat(norm=norm, eps=eps))
    assert curve.radii == tuple(sorted(curve.radii))
    for radius, accuracy in curve.accuracy.items():
        if radius < 0.1:  # no bound is reached
            assert (distance - radius).abs().min() > 1e-6 or radius == 0
            assert accuracy == (distance > radius).double().mean().item()
    assert 0.3 < curve.accuracy[eps] < curve.accuracy[0.0] == 22 / 24


def test_the_curve_falls_from_clean_and_ends_at_the_grey_input(found: Found, trained: Examples) -> None:
    net, x, y = trained
    shares = list(found.curve.accuracy.values())
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == (net(x).argmax(1) == y).double().mean().item() == 9 / 10
    assert len(set(shares)) >= 4
    assert shares[-1] <= 1 / 5
    assert found.curve.broken_at[3] == 0
    assert set(found.curve.broken_at.tolist()) <= {*found.curve.radii, math.inf}
    frame = found.curve.to_frame()
    assert list(frame) == ["eps", "accuracy", "attack"]
    assert frame["accuracy"].tolist() == shares
    assert set(frame["attack"]) == {"apgd-margin + apgd-t at the nearest class"}


def test_the_curve_does_not_contradict_the_nearest_examples(found: Found, trained: Examples) -> None:
    """On a small net, whatever FAB finds inside a ball APGD finds as well; and so does what comes after AutoAttack."""
    threat, sizes, curve = found
    for radius in curve.radii:
        assert not ((curve.broken_at > radius) & (sizes <= radius)).any()
        assert ((sizes > radius).sum() - (curve.broken_at > radius).sum()).abs() <= 1
    left = beyond(*trained, threat, sizes > 0, restarts=0).standing["malt"]
    assert torch.equal(left, curve.broken_at > threat.eps)


def test_batches_play_no_part(found: Found, trained: Examples) -> None:
    net, x, y = trained
    part, radii = slice(0, 5), found.curve.radii[2:5]
    broken_at = accuracy_curve(net, x[part], y[part], found.threat, radii=radii, batch_size=3).broken_at
    for radius in radii:
        assert torch.equal(broken_at > radius, found.curve.broken_at[part] > radius)
    sizes = minimal_norm(net, x[part], y[part], found.threat, batch_size=3)
    torch.testing.assert_close(sizes, found.sizes[part], atol=1e-6, rtol=0)
    assert torch.equal(*(corruption_accuracy(net, x, y, batch_size=size)[1] for size in (256, 3)))


def test_the_curve_is_not_held_up_by_a_class_that_no_step_brings_nearer() -> None:
    """The runner-up keeps its distance everywhere; another class, far below, wins from 0.05 on."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).double()
    net[1].weight.data[:], net[1].bias.data = 0.0, torch.tensor([0.5, 0.4999, -10.5, -5.0], dtype=torch.float64)
    net[1].weight.data[2] = 1.25
    x, y = torch.full((1, 16), 0.5, dtype=torch.float64), torch.tensor([0])
    assert accuracy_curve(net, x, y, Linf(0.06), radii=(0.0, 0.04, 0.06)).broken_at.tolist() == [0.06]


def test_where_the_curve_is_drawn() -> None:
    assert curve_radii(Linf(0.1), (1, 8, 8)) == pytest.approx((0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.5))
    assert curve_radii(L2(1.0), (3, 4, 4))[-1] == 0.5 * math.sqrt(48)
    assert curve_radii(Linf(0.3), (4,)) == pytest.approx((0, 0.075, 0.15, 0.225, 0.3, 0.375, 0.45, 0.5))
    assert curve_radii(Linf(0.0), (4,)) == (0.0, 0.5)


def test_radii_of_ones_own() -> None:
    net, x, y = random_linear(3)
    curve = accuracy_curve(net, x, y, Linf(0.1), radii=[0.03, 0, 0.01, 0.03])
    assert curve.radii == (0.0, 0.01, 0.03)
    for radius in (-0.1, 1.0, math.nan, math.inf):
        with pytest.raises(TemperError, match=f"no ball of Linf radius {radius}"):
            accuracy_curve(net, x, y, Linf(0.1), radii=[0.0, radius])


# --- the smallest perturbation --------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 5, 10])
def test_the_smallest_perturbation_of_a_linear_model(norm: Any, classes: int) -> None:
    net, x, y = random_linear(classes)
    distance = closed_form(net, x, y, norm)
    sizes = minimal_norm(net, x, y, Threat(norm=norm, eps=0.001))
    assert sizes.dtype == torch.float64
    assert (sizes[:2] == 0).all()
    assert (sizes >= distance - 1e-12).all()
    torch.testing.assert_close(sizes, distance, rtol=1e-3, atol=0)


def test_what_nothing_breaks_is_infinitely_far() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    net[1].weight.data[:], net[1].bias.data = 0.01, torch.tensor([0.0, 5.0, 1.0])
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    sizes = minimal_norm(net, x, torch.tensor([1, 1, 0]), L2(0.1))
    assert sizes.tolist() == [math.inf, math.inf, 0.0]


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5)], ids=NORMS)
def test_bisection_comes_nearer_and_never_goes_away(threat: Threat, trained: Examples) -> None:
    net, x, y = trained
    generator = torch.Generator().manual_seed(0)
    far = torch.rand(x.shape, generator=generator, dtype=torch.float64)
    wrong = net(far).argmax(1) != y
    before = threat.distance(x, far)
    for steps in (0, 1, 12):
        near = bisected(net, x, y, far, steps)
        after = threat.distance(x, near)
        assert (after <= before).all()
        assert (net(near).argmax(1) != y)[wrong].all()
        before = after
    assert torch.equal(bisected(net, x, y, far, 0), far)
    back = x + (near - x) * (1 - 2**-11 / (threat.distance(x, near) / threat.distance(x, far)).view(-1, 1, 1, 1))
    assert (net(back).argmax(1) == y)[wrong].all()


def test_bisection_keeps_what_it_cannot_better() -> None:
    """Only the very end of the way is wrong."""

    class End(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([torch.full_like(x[:, 0], 0.5), (x[:, 0] == 0.9).to(x)], 1)

    x, y, x_adv = torch.tensor([[0.1]]), torch.tensor([0]), torch.tensor([[0.9]])
    assert torch.equal(bisected(End(), x, y, x_adv), x_adv)


# --- classes and corruptions ----------------------------------------------------------------------


def test_the_worst_class() -> None:
    labels = np.array([0, 0, 2, 2, 2, 2, 5, 5])
    outcomes = np.array([255, 1, 255, 0, 2, 255, 255, 255], dtype=np.uint8)
    assert class_accuracy(outcomes, labels) == {0: 0.5, 2: 0.5, 5: 1.0}
    assert worst_class(outcomes, labels) == (0, 0.5)
    assert worst_class(np.array([255, 3, 0, 0, 4, 254, 0, 255]), labels) == (2, 0.0)
    for bad in (outcomes[:3], labels[:0]):
        with pytest.raises(TemperError, match="an outcome for each label"):
            worst_class(bad, labels[: len(bad) and 8])


def test_corruption_accuracy_is_the_share_that_is_right(trained: Examples) -> None:
    net, x, y = trained
    corrupted = (x + 0.4 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    accuracy, right = corruption_accuracy(net.train(), corrupted, y)
    assert net.training
    net.eval()
    assert right.tolist() == [int(net(one[None]).argmax()) == label for one, label in zip(corrupted, y, strict=True)]
    assert accuracy == sum(right.tolist()) / 10
    assert 0 < accuracy < 1


# --- the surroundings -----------------------------------------------------------------------------


def test_the_model_is_left_as_found_and_progress_ends_at_one(trained: Examples) -> None:
    net, x, y = trained
    random, fractions = torch.get_rng_state(), []
    net.train()
    accuracy_curve(net, x[:3], y[:3], Linf(0.1), radii=(0.0, 0.1), progress=fractions.append)
    assert fractions == [0.5, 1.0], "a ball of no size is not attacked"
    fractions.clear()
    minimal_norm(net, x[:2], y[:2], Linf(0.1), batch_size=1, progress=fractions.append)
    assert fractions == [0.5, 1.0]
    assert net.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert torch.get_rng_state().equal(random)
    net.eval()


def test_what_makes_no_sense_is_refused(trained: Examples) -> None:
    net, x, y = trained
    for function in (accuracy_curve, minimal_norm):
        for problem, arguments in {r"in \[0, 1\]": (x + 0.5, y), "labels run": (x, y - 9), "need": (x, y[:3])}.items():
            with pytest.raises(TemperError, match=problem):
                function(net, *arguments, Linf(0.2))
