"""Proved robustness: no attack breaks what is proved, closed forms where there are some, and what has no bounds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.ascent import ascend
from bench.data import load
from bench.errors import TemperError
from bench.evaluation import bounds
from bench.evaluation.bounds import proved_robust
from bench.losses import margin
from bench.networks import build
from bench.networks.cnn import cnn
from bench.networks.mlp import mlp
from bench.networks.normalise import Normalise
from bench.scenario import NetworkSpec, load_scenario
from bench.threat import L2, Linf, Threat

SHAPE = (1, 8, 8)
NETS = {
    "cnn": lambda: cnn(SHAPE, 10, widths=[8, 8], strides=[2, 2]),
    "mlp": lambda: nn.Sequential(Normalise(1, [0.3], [0.4]), mlp(SHAPE, 10, widths=[24, 24, 24])),
}
RADII = {"Linf": (0.02, 0.04, 0.08), "L2": (0.1, 0.25, 0.5)}  # from most proved to most broken


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Training examples: no test may read the test split."""
    split = load(load_scenario("digits-linf").data, ("train",))["train"]
    return split.inputs(), split.y


@pytest.fixture(scope="module", params=NETS)
def net(request: pytest.FixtureRequest, digits: tuple[Tensor, Tensor]) -> nn.Module:
    """A small net after two hundred steps on noisy digits."""
    x, y = digits
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = NETS[request.param]()
        optimiser = torch.optim.SGD(module.parameters(), 0.05, 0.9, weight_decay=2e-3)
        for _ in range(200):
            index = torch.randint(len(x), (128,))
            noisy = (x[index] + 0.1 * torch.randn(128, *SHAPE)).clamp(0, 1)
            loss = nn.functional.cross_entropy(module(noisy), y[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    module.zero_grad()
    return module.eval()


@pytest.fixture(scope="module")
def some(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Sixteen digits, one of which has a label of its own."""
    x, y = (tensor[:16].clone() for tensor in digits)
    y[5] = (y[5] + 1) % 10
    return x, y


def least_margin(net: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    """The smallest margin (B,) that random points of the ball, its corners, and gradients from there find."""
    generator = torch.Generator().manual_seed(1)
    points = [x]
    for k in range(20):
        noise = torch.randn(x.shape, generator=generator)
        points.append(threat.project(x, threat.step(x, noise, threat.eps if k % 2 else 0.7 * threat.eps)))
    for steps, size in ((20, 0.25), (40, 0.05)):
        for _ in range(2):
            objective = lambda point: margin(net(point), y)  # noqa: E731
            points.append(
                ascend(objective, x, threat, steps=steps, step_size=size * threat.eps, generator=generator),
            )
    assert all(threat.contains(x, point).all() for point in points)
    with torch.no_grad():
        return -torch.stack([margin(net(point), y) for point in points]).amax(0)


@pytest.mark.parametrize("norm", RADII)
def test_nothing_proved_is_broken_and_what_is_proved_stays_proved_in_smaller_balls(
    norm: Any, net: nn.Module, some: tuple[Tensor, Tensor]
) -> None:
    shares, before = [], torch.ones(len(some[1]), dtype=torch.bool)
    for eps in RADII[norm]:
        threat = Threat(norm=norm, eps=eps)
        proved = proved_robust(net, *some, threat)
        broken = least_margin(net, *some, threat) < 0
        assert not (proved & broken).any()
        assert not (proved & ~before).any()
        before = proved
        shares.append((proved.float().mean().item(), broken.float().mean().item()))
    assert shares[0][0] > 0.7
    assert shares[0][0] > shares[2][0]
    assert shares[2][1] > 0.2


@pytest.mark.parametrize("steps", [0, bounds.STEPS])
@pytest.mark.parametrize("norm", RADII)
def test_bounds_lie_below_every_margin_met_and_close_to_it_in_small_balls(
    norm: Any, steps: int, net: nn.Module, some: tuple[Tensor, Tensor]
) -> None:
    for eps in (RADII[norm][0] / 4, *RADII[norm]):
        threat = Threat(norm=norm, eps=eps)
        lower = bounds._Bounds(bounds._pieces(net), some[0], threat, steps).margins(some[1])
        found = least_margin(net, *some, threat)
        assert (lower <= found + 1e-5).all()
        if eps < RADII[norm][0]:
            torch.testing.assert_close(lower, found, atol=0.1, rtol=0.02)


def test_ascent_on_the_slopes_sharpens_the_bounds(net: nn.Module, some: tuple[Tensor, Tensor]) -> None:
    pieces, threat = bounds._pieces(net), Linf(RADII["Linf"][2])
    plain, sharp = (bounds._Bounds(pieces, some[0], threat, steps).margins(some[1]) for steps in (0, bounds.STEPS))
    assert (sharp > plain).all()


def test_in_float64_the_same_is_proved(net: nn.Module, some: tuple[Tensor, Tensor]) -> None:
    proved = proved_robust(net, *some, Linf(0.04))
    pieces = [piece.double() for piece in bounds._pieces(net)]
    assert proved.any()
    assert proved.equal(bounds._Bounds(pieces, some[0].double(), Linf(0.04), bounds.STEPS).margins(some[1]) > 0)


def test_without_a_radius_the_right_ones_are_proved(net: nn.Module, some: tuple[Tensor, Tensor]) -> None:
    right = net(some[0]).argmax(1) == some[1]
    assert not right[5]
    for threat in (Linf(0.0), L2(0.0)):
        assert proved_robust(net, *some, threat).equal(right)


@pytest.mark.parametrize(("norm", "dual", "radii"), [("Linf", 1, (0.001, 0.003, 0.006)), ("L2", 2, (0.01, 0.02, 0.04))])
def test_a_linear_model_gets_its_closed_form(norm: Any, dual: int, radii: tuple[float, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 0.4 + 0.2 * torch.rand(200, *SHAPE, generator=generator)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    weight = torch.randn(10, 64, generator=generator)
    net[1].weight.data, net[1].bias.data = weight, -weight.sum(1) / 2
    logits = net(x).detach()
    y = logits.argmax(1)
    gaps = logits.gather(1, y[:, None]) - logits
    slopes = (weight[y][:, None] - weight).norm(p=dual, dim=2)
    for eps in radii:
        left = (gaps - eps * slopes).scatter(1, y[:, None], torch.inf).amin(1)
        assert (left.abs() > 1e-5).all()
        assert 0.02 < (left > 0).float().mean() < 0.98
        assert proved_robust(net, x, y, Threat(norm=norm, eps=eps, bounds=(-9.0, 9.0))).equal(left > 0)


@pytest.mark.parametrize("norm", RADII)
def test_the_bounds_of_valid_inputs_help(norm: Any, net: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    x, y = (tensor[:32] for tensor in digits)
    wide, cut = (
        proved_robust(net, x, y, Threat(norm=norm, eps=RADII[norm][1], bounds=ends))
        for ends in ((-9.0, 9.0), (0.0, 1.0))
    )
    assert not (wide & ~cut).any()
    assert cut.sum() > wide.sum()


def test_the_l2_ball_is_cut_exactly() -> None:
    """One pixel cannot fall and so the other takes the whole radius, or all that the bounds leave of it."""
    x, weights = torch.tensor([[0.0, 0.5]]), torch.tensor([[[3.0, 4.0]]])
    for eps, least in ((0.3, 2.0 - 4 * 0.3), (0.9, 2.0 - 4 * 0.5)):
        lower = bounds._least(weights, x, L2(eps)).item()
        assert lower <= least + 1e-6
        assert lower == pytest.approx(least, abs=1e-3)


def test_the_model_is_left_as_found(digits: tuple[Tensor, Tensor]) -> None:
    x, y = (tensor[:8] for tensor in digits)
    net = NETS["cnn"]()
    net[1].eval()
    net[0].weight.requires_grad_(False)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    random, found = (
        torch.get_rng_state(),
        [(m.training, [p.requires_grad for p in m.parameters()]) for m in net.modules()],
    )
    in_training_mode = proved_robust(net, x, net.eval()(x).argmax(1), Linf(0.02))
    net.train()[1].eval()
    proved_robust(net, x, y, Linf(0.02))
    assert found == [(m.training, [p.requires_grad for p in m.parameters()]) for m in net.modules()]
    assert all(value.equal(state[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.get_rng_state().equal(random)
    assert in_training_mode.dtype == torch.bool


def test_a_layer_that_comes_twice_and_a_relu_at_the_end_count() -> None:
    relu = nn.ReLU()
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 6), relu, nn.Linear(6, 6), relu, nn.Linear(6, 10), relu)
    assert len(bounds._pieces(net)) == 4
    for parameter in net.parameters():
        parameter.data.normal_(generator=generator)
    x = torch.rand(64, 6, generator=generator)
    y = net(x).argmax(1)
    for eps in (0.01, 0.05):
        proved = proved_robust(net, x, y, Linf(eps))
        broken = least_margin(net, x, y, Linf(eps)) < 0
        assert proved.any()
        assert not (proved & broken).any()


class Twice(nn.Linear):
    """A linear layer, by its class, and not by what it does."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * x


@pytest.mark.parametrize(
    ("net", "named"),
    [
        (build(NetworkSpec(network="resnet18", options={"width": 4}), (3, 8, 8), 10), r"BasicBlock \(layer 1\.0\.0\)"),
        (nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(64, 10), nn.GELU())), r"GELU \(layer 1\.1\)"),
        (nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 10)), r"MaxPool2d \(layer 0\)"),
        (nn.Sequential(nn.Flatten(), Twice(64, 64), nn.Linear(64, 10)), r"Twice \(layer 1\)"),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, track_running_stats=False)), r"BatchNorm1d \(layer 1\)"),
    ],
)
def test_what_has_no_bounds_is_named(net: nn.Module, named: str, digits: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(TemperError, match=named):
        proved_robust(net, digits[0][:2], digits[1][:2], Linf(0.1))


def test_inputs_and_labels_that_make_no_sense_are_refused(net: nn.Module, some: tuple[Tensor, Tensor]) -> None:
    x, y = some
    for problem, arguments in {
        "must lie in": (x + 0.5, y),
        "labels run": (x, y + 9),
        "need inputs": (x, y[:3]),
    }.items():
        with pytest.raises(TemperError, match=problem):
            proved_robust(net, *arguments, Linf(0.1))


def test_time_that_is_up_proves_nothing_more_and_progress_ends_at_one(
    net: nn.Module, some: tuple[Tensor, Tensor]
) -> None:
    fractions: list[float] = []
    proved = proved_robust(net, *some, Linf(0.02), batch_size=8, progress=fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert not proved_robust(net, *some, Linf(0.05), seconds=-1.0).any()
    assert proved_robust(net, *some, Linf(0.02), batch_size=8, seconds=1e6).equal(proved)
