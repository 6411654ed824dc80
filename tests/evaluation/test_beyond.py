"""Attacks after AutoAttack: the published schedule and order of targets, and nothing counted that is no adversarial
example."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor, nn

from bench.data import load
from bench.errors import TemperError
from bench.evaluation.beyond import (
    BEYOND,
    Beyond,
    Hunt,
    beyond,
    malt_targets,
    pma,
    pma_objective,
    pma_step_size,
    uniform_start,
)
from bench.evaluation.found import Found
from bench.evaluation.network import Network
from bench.evaluation.noise import Keyed
from bench.networks.mlp import mlp
from bench.scenario import load_scenario
from bench.threat import L2, Linf, Threat

THREATS = [Linf(0.2), L2(0.8)]  # where the small net below has examples of most fates


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Training examples, in float64: no test may read the test split."""
    split = load(load_scenario("digits-linf").data, ("train",))["train"]
    return split.inputs().double(), split.y


@pytest.fixture(scope="module")
def net(digits: tuple[Tensor, Tensor]) -> nn.Module:
    """A small net after some steps of training against one big step."""
    x, y = digits
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = mlp((1, 8, 8), 10, widths=[32]).double()
        optimiser = torch.optim.SGD(module.parameters(), 0.1, 0.9)
        for _ in range(150):
            index = torch.randint(len(x), (128,))
            point = (x[index] + 0.2 * (2 * torch.rand(128, 1, 8, 8) - 1)).clamp(0, 1).requires_grad_()
            (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(module.eval()(point), y[index]), point)
            point = (point + 0.2 * gradient.sign()).clamp(x[index] - 0.2, x[index] + 0.2).clamp(0, 1).detach()
            optimiser.zero_grad()
            nn.functional.cross_entropy(module.train()(point), y[index]).backward()
            optimiser.step()
    module.zero_grad()
    return module.eval()


@pytest.fixture(scope="module")
def some(net: nn.Module, digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Sixteen digits, and which of them to attack: those that are right, but for the first."""
    x, y = (tensor[:16] for tensor in digits)
    standing = net(x).argmax(1) == y
    standing[0] = False
    assert standing.sum() >= 10
    return x, y, standing


@pytest.fixture(scope="module", params=THREATS, ids=lambda threat: threat.norm)
def verdict(request: pytest.FixtureRequest, net: nn.Module, some: tuple[Tensor, Tensor, Tensor]) -> Any:
    """The threat model, and what is left under it of examples that nothing attacked before."""
    x, y, standing = some
    return request.param, beyond(net, x, y, request.param, standing, restarts=1)


def linear(weight: Tensor, bias: Tensor) -> nn.Sequential:
    net = nn.Sequential(nn.Flatten(), nn.Linear(weight.shape[1], len(weight)))
    net[1].weight.data, net[1].bias.data = weight, bias
    return net.to(weight.dtype)


def random_linear(classes: int, entries: int = 16) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A linear model, inputs away from the bounds, and the labels that it gives them."""
    generator = torch.Generator().manual_seed(classes)
    weight = torch.randn(classes, entries, generator=generator, dtype=torch.float64)
    weight *= torch.linspace(0.5, 2, classes, dtype=torch.float64)[:, None]
    net = linear(weight, -weight.sum(1) / 2)
    x = 0.4 + 0.2 * torch.rand(32, 1, 4, entries // 4, generator=generator, dtype=torch.float64)
    return net, x, net(x).argmax(1)


# --- PMA ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [False, True])
def test_what_pma_ascends(second: bool) -> None:
    logits = 3 * torch.randn(40, 7, generator=torch.Generator().manual_seed(0))
    y = torch.arange(40) % 7
    p = special.softmax(logits.numpy().astype(np.float64), axis=1)
    right = p[np.arange(40), y]
    wrong = np.array([np.delete(row, label).max() for row, label in zip(p, y.tolist(), strict=True)])
    for step in range(100):
        middle = wrong if second else -right
        expected = right if step < 1 else middle if step < 50 else wrong - right
        np.testing.assert_allclose(pma_objective(logits, y, step, second).numpy(), expected, rtol=1e-12)


def test_the_steps_of_pma() -> None:
    """As the published code has them: `i > 50` starts the second cosine."""
    for i in range(100):
        phase = (i - 50 - 1) if i > 50 else i - 1
        assert pma_step_size(i, 0.3) == pytest.approx(2 * 0.3 * 0.5 * (1 + np.cos(phase / 50 * np.pi)), abs=1e-15)
    assert pma_step_size(1, 0.3) == pma_step_size(51, 0.3) == 0.6


def test_a_sure_network_has_a_gradient_left() -> None:
    logits = torch.tensor([[25.0, 0.0, -1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(pma_objective(logits, torch.tensor([0]), 10, False).sum(), logits)
    small = special.softmax(np.array([25.0, 0.0, -1.0]))[1:]
    np.testing.assert_allclose(gradient.numpy(), [[-small.sum(), *small]], rtol=1e-4)


class Watched(Network):
    """Remembers where it was asked for gradients."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.points: list[Tensor] = []

    def value_and_gradient(self, loss: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.points.append(x.clone())
        return super().value_and_gradient(loss, x)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.2)], ids=["Linf", "L2"])
def test_the_way_of_pma_written_out(threat: Threat, second: bool) -> None:
    """No step fools this net, so that the examples make all of them."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 4)).double()
    net[3].bias.data[1] += 20
    x, y = torch.rand(5, 1, 4, 4, dtype=torch.float64), torch.ones(5, dtype=torch.int64)
    network, start = Watched(net), x + 0.01
    start = start.clamp(max=1)
    found = pma(network, x, y, threat, start, second=second)
    assert not found.fooled.any()
    assert torch.equal(found.x_adv, x)
    assert found.forwards.tolist() == [101] * 5
    assert found.backwards.tolist() == [100] * 5
    point = start
    for i, seen in enumerate(network.points):
        torch.testing.assert_close(seen, point, atol=1e-9, rtol=0)
        point = seen.clone().requires_grad_()
        p = net(point).softmax(1)
        right, wrong = p[:, 1], p[:, [0, 2, 3]].amax(1)
        loss = right if i == 0 else (wrong if second else -right) if i < 50 else wrong - right
        (g,) = torch.autograd.grad(loss.sum(), point)
        direction = g.sign() if threat.norm == "Linf" else g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        size = threat.eps * (1 + np.cos(np.pi * ((i - 51) if i > 50 else i - 1) / 50))
        delta = point.detach() + size * direction - x
        if threat.norm == "Linf":
            delta = delta.clamp(-threat.eps, threat.eps)
        else:
            delta = delta * (threat.eps / delta.flatten(1).norm(dim=1)).clamp(max=1).view(-1, 1, 1, 1)
        point = (x + delta).clamp(0, 1)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("threat", [Linf(0.03), L2(0.1)], ids=["Linf", "L2"])
def test_pma_breaks_what_can_be_broken_of_a_linear_model(threat: Threat, second: bool) -> None:
    net, x, y = random_linear(2)
    z, w = net(x).detach(), net[1].weight.detach()
    gap = z.gather(1, y[:, None]).squeeze(1) - z.gather(1, 1 - y[:, None]).squeeze(1)
    length = (w[0] - w[1]).norm(p=1 if threat.norm == "Linf" else 2)
    breakable = gap < threat.eps * length
    assert 0 < breakable.sum() < len(x)
    found = pma(Network(net), x, y, threat, x, second=second)
    assert torch.equal(found.fooled, breakable)
    assert torch.equal(net(found.x_adv).argmax(1) != y, breakable)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("threat", [Linf(0.15), L2(0.3)], ids=["Linf", "L2"])
def test_steps_are_as_long_where_the_gradient_is_tiny(threat: Threat, second: bool) -> None:
    """Logits 60 apart: probabilities below 1e-26, in the input as well."""
    net = linear(torch.tensor([[0.0] * 4, [110.0] * 4]), torch.tensor([0.0, -280.0])).double()
    x = torch.full((1, 4), 0.5, dtype=torch.float64)
    assert net(x).tolist() == [[0.0, -60.0]]
    assert pma(Network(net), x, torch.tensor([0]), threat, x, second=second).fooled.all()


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.4)], ids=["Linf", "L2"])
def test_starts_are_uniform_in_the_ball(threat: Threat) -> None:
    x = torch.full((2000, 3), 0.5, dtype=torch.float64)
    start = uniform_start(x, threat, Keyed(0, torch.arange(2000), "test"))
    assert threat.contains(x, start, tolerance=1e-9).all()
    delta = ((start - x) / threat.eps).numpy()
    assert np.abs(delta.mean(0)).max() < 0.05
    shares = (delta[:, 0] + 1) / 2 if threat.norm == "Linf" else np.linalg.norm(delta, axis=1) ** 3
    assert stats.kstest(shares, "uniform").pvalue > 0.01


# --- MALT -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("classes", [2, 5, 14])
def test_targets_of_a_linear_model_are_ordered_by_distance(norm: Any, classes: int) -> None:
    net, x, y = random_linear(classes)
    z, w = net(x).detach().numpy(), net[1].weight.detach().numpy()
    found = malt_targets(Network(net), x, y, Threat(norm=norm, eps=0.1))
    assert found.shape == (len(x), min(9, classes - 1))
    differ = 0
    for targets, logits, label in zip(found.tolist(), z, y.tolist(), strict=True):
        others = [k for k in range(classes) if k != label]
        order = 1 if norm == "Linf" else 2
        distance = {k: (logits[label] - logits[k]) / np.linalg.norm(w[label] - w[k], order) for k in others}
        assert targets == sorted(others, key=distance.__getitem__)[:9]
        differ += targets != sorted(others, key=lambda k: -logits[k])[:9]
    assert differ > 0 or classes == 2


def test_a_class_that_runs_parallel_to_the_label_comes_last() -> None:
    """No step brings its logit nearer, and 0 is no distance."""
    weight = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    net = linear(weight, torch.tensor([0.0, -0.1, -0.6, -0.2]))
    x, y = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
    for norm in ("Linf", "L2"):
        assert malt_targets(Network(net), x, y, Threat(norm=norm, eps=0.1)).tolist()[0][-1] == 1
    flat = linear(torch.zeros(4, 2), torch.tensor([0.0, -0.3, -0.1, -0.2]))
    assert malt_targets(Network(flat), x, y, Linf(0.1)).tolist() == [[2, 3, 1]]


def test_only_the_hundred_highest_logits_are_candidates() -> None:
    bias = -torch.arange(120.0)
    weight = torch.zeros(120, 2)
    weight[1:, 0] = 1.0
    weight[100, 1], weight[101, 1] = 9e5, 1e6
    targets = malt_targets(Network(linear(weight, bias)), torch.zeros(1, 2), torch.tensor([0]), Linf(0.1))
    assert targets.tolist() == [[100, 1, 2, 3, 4, 5, 6, 7, 8]]


# --- the stages -----------------------------------------------------------------------------------


def test_what_is_found_lies_in_the_ball_and_fools(
    verdict: tuple[Threat, Beyond], net: nn.Module, some: tuple[Tensor, Tensor, Tensor]
) -> None:
    (threat, found), (x, y, standing) = verdict, some
    broken = standing & ~found.standing["restarts"]
    assert 3 <= broken.sum() < standing.sum()
    assert threat.contains(x, found.adversarial, tolerance=1e-6).all()
    assert (net(found.adversarial).argmax(1) != y)[broken].all()
    assert torch.equal(found.adversarial[~broken], x[~broken])


def test_stages_only_shrink(verdict: tuple[Threat, Beyond], some: tuple[Tensor, Tensor, Tensor]) -> None:
    _, found = verdict
    assert tuple(found.standing) == BEYOND
    before = found.before
    assert torch.equal(before, some[2])
    for stage in BEYOND:
        left = found.standing[stage]
        assert left.dtype == torch.bool
        assert not (left & ~before).any()
        assert found.fallen[stage] == int(before.sum() - left.sum())
        before = left


def test_batches_and_order_play_no_part(
    verdict: tuple[Threat, Beyond], net: nn.Module, some: tuple[Tensor, Tensor, Tensor]
) -> None:
    (threat, whole), (x, y, standing) = verdict, some
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    parts = beyond(net, x[order], y[order], threat, standing[order], restarts=1, batch_size=6)
    for stage in BEYOND:
        assert torch.equal(whole.standing[stage][order], parts.standing[stage])
    torch.testing.assert_close(whole.adversarial[order], parts.adversarial, atol=1e-6, rtol=0)


def test_the_seed_plays_one(verdict: tuple[Threat, Beyond], net: nn.Module, some: Any) -> None:
    threat, found = verdict
    assert not torch.equal(found.adversarial, beyond(net, *some[:2], threat, some[2], restarts=0, seed=5).adversarial)


class Ledge(nn.Module):
    """Two classes. Flat, without a gradient, but for a strip in which a step to the right wins."""

    def forward(self, x: Tensor) -> Tensor:
        rise = 20 * (x[:, 0] - 0.7).clamp_min(0)
        return torch.stack([torch.full_like(rise, 0.5), rise], 1)


def test_more_starts_find_what_one_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    x = 0.49 + 0.02 * torch.rand(60, 2, generator=generator, dtype=torch.float64)
    y, everything = torch.zeros(60, dtype=torch.int64), torch.ones(60, dtype=torch.bool)
    few, many = (beyond(Ledge(), x, y, Linf(0.25), everything, restarts=restarts) for restarts in (1, 12))
    assert all(torch.equal(few.standing[stage], many.standing[stage]) for stage in ("pma", "malt"))
    assert few.fallen["pma"] > 0, "PMA starts somewhere in the ball, not at the input"
    assert few.standing["restarts"].sum() >= 5
    assert many.standing["restarts"].sum() <= 2
    assert many.fallen["restarts"] > few.fallen["restarts"] > 0
    assert Linf(0.25).contains(x, many.adversarial).all()


def test_any_wrong_label_counts_and_nothing_else() -> None:
    """An attack that claims to have fooled the model everywhere."""
    net = linear(torch.eye(4), torch.zeros(4))
    x = torch.tensor([[0.6, 0.5, 0.1, 0.1]]).repeat(5, 1)
    claims = torch.tensor(
        [
            [0.5, 0.6, 0.1, 0.1],  # the runner-up
            [0.5, 0.4, 0.1, 0.1],  # still the label
            [0.4, 0.3, 0.9, 0.1],  # outside the ball
            [0.5, 0.6, 0.1, 0.1],  # not attacked
            [0.45, 0.5, torch.nan, 0.1],
        ]
    )
    left = torch.tensor([True, True, True, False, True])
    hunt = Hunt(net, x, torch.zeros(5, dtype=torch.int64), left, 0, 2, 1)

    def run(index: Tensor, noise: Any) -> Found:
        found = Found.nothing(x[index])
        found.x_adv, found.fooled = claims[index], torch.ones(len(index), dtype=torch.bool)
        return found

    hunt.attack(Linf(0.11), run, "test")
    assert hunt.left.tolist() == [False, True, True, False, True]
    assert torch.equal(hunt.x_adv[0], claims[0])
    assert torch.equal(hunt.x_adv[1:], x[1:])
    assert left.tolist() == [True, True, True, False, True], "the caller's tensor is left alone"


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_few_and_many_classes(classes: int) -> None:
    """What a linear model leaves standing is what its closed form says."""
    net, x, y = random_linear(classes)
    z, w = net(x).detach(), net[1].weight.detach()
    gaps = (z.gather(1, y[:, None]) - z) / (w[y][:, None] - w).abs().sum(2).clamp_min(1e-9)
    distance = gaps.scatter(1, y[:, None], torch.inf).amin(1)
    eps = float(distance.median()) + 1e-3
    found = beyond(net, x, y, Linf(eps), torch.ones(32, dtype=torch.bool), restarts=1)
    assert torch.equal(found.standing["restarts"], distance > eps)


def test_the_model_is_left_as_found_and_progress_ends_at_one(some: tuple[Tensor, Tensor, Tensor]) -> None:
    x, y, standing = (tensor[:3] for tensor in some)
    net = mlp((1, 8, 8), 10, widths=[4]).double()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    random, fractions = torch.get_rng_state(), []
    beyond(net, x, y, Linf(0.05), standing, restarts=2, progress=fractions.append)
    assert fractions == sorted(fractions)
    assert len(fractions) == 2 + 9 + 18
    assert fractions[-1] == 1.0
    assert net.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert all(value.equal(state[name]) for name, value in net.state_dict().items())
    assert torch.get_rng_state().equal(random)


def test_where_nothing_stands_nothing_falls(net: nn.Module, some: tuple[Tensor, Tensor, Tensor]) -> None:
    x, y, standing = some
    found = beyond(net, x, y, Linf(0.2), torch.zeros_like(standing))
    assert found.fallen == dict.fromkeys(BEYOND, 0)
    assert torch.equal(found.adversarial, x)


def test_what_makes_no_sense_is_refused(net: nn.Module, some: tuple[Tensor, Tensor, Tensor]) -> None:
    x, y, standing = some
    wide = Threat(norm="Linf", eps=0.2, bounds=(-1, 1))
    for problem, arguments in {
        r"in \[0, 1\]": (x + 0.5, y, Linf(0.2), standing),
        r"in \[-1, 1\]": (4 * x - 1, y, wide, standing),
        "labels run": (x, y + 9, Linf(0.2), standing),
        "need inputs": (x, y[:3], Linf(0.2), standing),
        "standing must be bool": (x, y, Linf(0.2), standing[:3]),
        "got torch.int64": (x, y, Linf(0.2), standing.long()),
    }.items():
        with pytest.raises(TemperError, match=problem):
            beyond(net, *arguments)
