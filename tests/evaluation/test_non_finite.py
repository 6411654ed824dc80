"""A model that answers NaN or infinity inside the ball has failed there, whoever asks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bench
from bench.data import Split, load
from bench.evaluation.beyond import beyond
from bench.evaluation.columns import accuracy_curve, minimal_norm
from bench.evaluation.further import further_attacks
from bench.protocol import MISCLASSIFIED, ROBUST
from bench.scenario import load_scenario
from bench.threat import L2, Linf, Threat
from bench.training.selection import measure
from tests.evaluation import zoo

EPS = 0.1
WRONG = {"nan": torch.nan, "inf": torch.inf, "-inf": -torch.inf}


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    split = load(load_scenario("digits-linf").data, ("train",))["train"]
    return split.inputs(), split.y


@pytest.fixture(scope="module")
def net(digits: tuple[Tensor, Tensor]) -> nn.Module:
    return zoo.honest_network(*digits)


@pytest.fixture(scope="module")
def some(net: nn.Module, digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Two examples of each class that the network gets right."""
    x, y = digits
    right = [((net(x).argmax(1) == y) & (y == k)).nonzero().flatten()[:2] for k in range(10)]
    index = torch.cat(right)
    return x[index], y[index]


class Silent(nn.Module):
    """Answers what is not finite wherever the input is none of those it knows."""

    def __init__(self, net: nn.Module, known: Tensor, value: float = torch.nan) -> None:
        super().__init__()
        self.net, self.value = net, value
        self.register_buffer("known", known.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        strange = torch.cdist(x.detach().flatten(1), self.known).amin(1) > 1e-4
        logits = self.net(x)
        return torch.where(strange[:, None], torch.full_like(logits, self.value), logits)


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("randomness", ["stable", "compat"])
@pytest.mark.parametrize("threat", [Linf(EPS), L2(0.5)], ids=str)
def test_autoattack_counts_it_as_fooled(net, some, value: float, randomness: str, threat: Threat) -> None:
    x, y = some
    found = bench.evaluate(Silent(net, x, value), x, y, threat=threat, randomness=randomness, diagnose=False)
    assert (found.clean_accuracy, found.robust_accuracy) == (1.0, 0.0)
    assert found.to_frame()["verified"].all()
    assert found.diagnostics["non_finite"] == {
        "value": 20,
        "threshold": 0,
        "verdict": "fail",
        "words": "20 examples get logits that are not finite.",
    }
    assert found.adversarial.isfinite().all()
    assert threat.contains(x, found.adversarial).all()


class Missing(nn.Module):
    """The reported case: NaN where fewer than a quarter of the pixels are exactly 0."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        few = (x == 0).flatten(1).float().mean(1) < 0.25
        logits = self.net(x)
        return torch.where(few[:, None], logits * torch.nan, logits)


def test_the_fast_engine_is_not_above_the_reference(net, digits) -> None:
    x, y = digits[0][:12], digits[1][:12]
    options = {"threat": Linf(0.15), "diagnose": False}
    model = Missing(net)
    reference = bench.evaluate(model, x, y, engine="reference", **options)
    for randomness in ("stable", "compat"):
        ours = bench.evaluate(model, x, y, randomness=randomness, **options)
        assert ((ours.outcomes == ROBUST) <= (reference.outcomes == ROBUST)).all()
        assert ours.to_frame()["verified"].sum() == (ours.outcomes != ROBUST).sum() - (ours.outcomes == 0).sum()
    with torch.no_grad():
        logits = model(ours.adversarial)
    right = logits.isfinite().all(1) & (logits.argmax(1) == y)
    assert np.array_equal(ours.outcomes == ROBUST, right.numpy())


def test_what_stands_beside_the_score_counts_it_too(net, some) -> None:
    x, y = some
    model, standing = Silent(net, x).eval(), torch.ones(20, dtype=torch.bool)
    for name, right in further_attacks(model, x, y, Linf(EPS)).items():
        assert not right.any(), name
    assert not beyond(model, x, y, Linf(EPS), standing).left.any()
    assert accuracy_curve(model, x, y, Linf(EPS), radii=[0, EPS]).accuracy == {0: 1.0, EPS: 0.0}
    assert (minimal_norm(model, x, y, Linf(EPS)) < 0.01).all()


def test_selection_counts_it_as_broken(net, some) -> None:
    scenario = load_scenario("digits-linf")
    candidate = measure(Silent(net, some[0]), Split(*some), scenario, 1, 1.0)
    assert (candidate.clean, candidate.robust) == (1.0, 0.0)
    silent = measure(Silent(net, some[0] + 9), Split(*some), scenario, 1, 1.0)
    assert (silent.clean, silent.robust, silent.top_class) == (0.0, 0.0, 1.0)


def test_the_live_attack_says_that_it_does_not_hold(net, some) -> None:
    from bench.dashboard.live import answer, strike

    struck = strike(Silent(net, some[0]).eval(), some[0][0], Linf(EPS))
    assert (struck.before, struck.after, struck.held) == (int(some[1][0]), -1, False)
    assert answer(struck.after) == "no class (its logits are not finite)"
    mute = strike(Silent(net, some[0] + 9).eval(), some[0][0], Linf(EPS))
    assert (mute.before, mute.held) == (-1, False)


def test_a_baseline_fails_on_it(net, some, monkeypatch) -> None:
    from bench import assertion

    monkeypatch.setattr(assertion, "_examples", lambda scenario, examples: Split(*some))
    verdict = assertion.judge(
        Silent(net, some[0]), load_scenario("digits-linf").model_copy(update={"threat": Linf(EPS)})
    )
    assert verdict.accuracy == 0.0
    assert assertion.too_low(verdict, 0.5)


def test_some_clean_answers_that_are_not_finite_are_misclassified(net, some) -> None:
    x, y = some
    found = bench.evaluate(Silent(net, x[:15]), x, y, threat=Linf(0.0))
    assert found.outcomes.tolist() == [ROBUST] * 15 + [MISCLASSIFIED] * 5
    assert found.predictions[15:].tolist() == [-1] * 5
    assert found.diagnostics["non_finite"]["value"] == 5


def test_diagnostics_do_not_take_it_for_noise(net, some) -> None:
    x, y = some
    found = bench.evaluate(Silent(net, x[:15]), x, y, threat=Linf(EPS))
    for name in ("stochastic_forward", "batch_dependence", "side_effects"):
        assert found.diagnostics[name]["verdict"] == "pass", name


class Steep(nn.Module):
    """Finite logits whose gradient is not: the root of what is 0 at the start."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x)
        return logits + 1e-3 * (x.flatten(1)[:, :1] * 0).sqrt()


@pytest.mark.parametrize("threat", [Linf(EPS), L2(0.5)], ids=str)
@pytest.mark.parametrize("attack", [beyond, None], ids=["beyond", "standard"])
def test_a_gradient_that_is_not_finite_makes_no_example_that_is_not(
    net, some, threat: Threat, attack: Callable[..., object] | None
) -> None:
    x, y = some
    model = Steep(net).eval()
    if attack is None:
        adversarial = bench.evaluate(model, x, y, threat=threat, diagnose=False).adversarial
    else:
        adversarial = beyond(model, x, y, threat, torch.ones(20, dtype=torch.bool)).adversarial
    assert adversarial.isfinite().all()
    assert threat.contains(x, adversarial).all()


def test_a_tie_falls_to_the_first_class_in_every_attack(some) -> None:
    """Logits that are all equal: class 0 is right, and nothing breaks it; every other class is wrong at once."""
    x, y = some
    flat = Constant()
    found = bench.evaluate(flat, x, y, threat=Linf(EPS), diagnose=False)
    assert np.array_equal(found.outcomes == ROBUST, (y == 0).numpy())
    assert found.clean_accuracy == found.robust_accuracy == 0.1
    for name, right in further_attacks(flat, x, y, Linf(EPS)).items():
        assert np.array_equal(right, (y == 0).numpy()), name
    assert torch.equal(beyond(flat, x, y, Linf(EPS), y == 0).left, y == 0)
    reference = bench.evaluate(flat, x, y, threat=Linf(EPS), engine="reference", diagnose=False)
    assert np.array_equal(reference.outcomes, found.outcomes)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :10] * 0
