"""Diagnostics on a zoo of defences, each of which trips its own, and on honest students, which trip none."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bench
from bench import load_student
from bench.data import load
from bench.evaluation import adaptive as stronger
from bench.evaluation.adaptive import ANSWERS, adaptive
from bench.evaluation.diagnostics import Diagnostic, diagnose
from bench.evaluation.probe import Case, claimed
from bench.networks.cnn import cnn
from bench.networks.weights import load_weights
from bench.protocol import MISCLASSIFIED, ROBUST
from bench.records import record_folders, shipped_leaderboards
from bench.scenario import load_scenario
from bench.threat import L2, Linf, Threat
from tests.evaluation import zoo

THREATS = [Linf(0.2), L2(0.8)]  # where the small network below has examples of most outcomes
COUNT = 60
ALWAYS = {
    "stochastic_forward",
    "precision",
    "side_effects",
    "batch_dependence",
    "probabilities",
    "zero_gradients",
    "square_gain",
    "fgsm_beats_pgd",
    "more_steps",
    "large_eps",
    "logit_scaling",
}
DEFENCES = {  # what each trips, what it must not, the attack that takes back what it seemed to gain, and of how many
    zoo.NoiseLayer: ({"stochastic_forward"}, {"batch_dependence", "probabilities"}, "eot", 3),
    zoo.RandomResize: ({"stochastic_forward"}, {"batch_dependence", "probabilities"}, "eot", 0),
    zoo.BatchStatistics: ({"batch_dependence", "side_effects"}, {"stochastic_forward"}, "eot", 1),
    zoo.Quantised: ({"zero_gradients", "square_gain", "large_eps"}, {"side_effects"}, "black-box", 2),
    zoo.GradientKilling: ({"zero_gradients", "square_gain", "large_eps"}, {"side_effects"}, "black-box", 3),
    zoo.OnTheGrid: ({"fgsm_beats_pgd", "square_gain", "large_eps"}, {"zero_gradients"}, "black-box", 3),
    zoo.Saturated: ({"zero_gradients", "logit_scaling"}, {"probabilities", "side_effects"}, "rescaled", 5),
    zoo.SoftmaxOutputs: ({"probabilities", "logit_scaling"}, {"side_effects"}, "rescaled", 5),
}
IN_L2 = (zoo.NoiseLayer, zoo.GradientKilling, zoo.Saturated)
CASES = [(kind, THREATS[0]) for kind in DEFENCES] + [(kind, THREATS[1]) for kind in IN_L2]


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Training examples: no test may read the test split."""
    split = load(load_scenario("digits-linf").data, ("train",))["train"]
    return split.inputs(), split.y


@pytest.fixture(scope="module")
def some(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return digits[0][:COUNT], digits[1][:COUNT]


@pytest.fixture(scope="module")
def net(digits: tuple[Tensor, Tensor]) -> nn.Module:
    return zoo.honest_network(*digits)


@pytest.fixture
def _shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A black box of 2 times 400 queries, and fewer steps and draws."""
    for name, value in {"RESTARTS": 2, "QUERIES": 400, "EOT_STEPS": 20, "EOT_DRAWS": 6, "VOTES": 15}.items():
        monkeypatch.setattr(stronger, name, value)


def tripped(signs: dict[str, Diagnostic]) -> dict[str, str]:
    return {name: sign.words for name, sign in signs.items() if sign.tripped}


def student(method: str) -> nn.Module:
    """The first shipped student of a method, frozen."""
    folders = [folder for folder in record_folders(shipped_leaderboards()) if folder.parent.name == method]
    return load_student(sorted(folders)[0]).eval().requires_grad_(False)


def teacher() -> nn.Module:
    """The robust teacher of the digits."""
    module = cnn((1, 8, 8), 10, widths=[48, 96, 96], strides=[1, 2, 1])
    load_weights(module, Path(bench.__file__).parent / "teachers" / "weights" / "digits-linf-robust.safetensors")
    return module.eval().requires_grad_(False)


# --- the zoo --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_shorter")
@pytest.mark.parametrize(("kind", "threat"), CASES, ids=[f"{kind.__name__}-{threat.norm}" for kind, threat in CASES])
def test_a_defence_trips_its_diagnostic_and_loses_what_it_gained(
    net, some, kind: type[zoo.Defence], threat: Threat
) -> None:
    signs, silent, attack, drop = DEFENCES[kind]
    model = kind(net).requires_grad_(False)
    outcomes = zoo.judge(model, *some, threat)
    found = diagnose(model, *some, threat, outcomes)
    assert set(tripped(found)) >= signs
    assert not set(tripped(found)) & silent
    right = adaptive(model, *some, threat, outcomes, found)[attack]
    assert right.dtype == np.bool_
    assert not (right & (outcomes != ROBUST)).any()
    assert (outcomes == ROBUST).sum() - right.sum() >= drop


@pytest.mark.slow
@pytest.mark.parametrize("kind", DEFENCES)
def test_what_the_reference_calls_robust_falls_too(net, some, kind: type[zoo.Defence]) -> None:
    """All of AutoAttack, by the implementation of record, and the stronger attacks at their full length."""
    signs, silent, attack, _ = DEFENCES[kind]
    model, threat = kind(net).requires_grad_(False), THREATS[0]
    outcomes = bench.evaluate(model, *some, threat=threat, engine="reference", diagnose=False).outcomes
    found = diagnose(model, *some, threat, outcomes)
    assert set(tripped(found)) >= signs
    assert not set(tripped(found)) & silent
    robust, left = (outcomes == ROBUST).sum(), adaptive(model, *some, threat, outcomes, found)[attack].sum()
    assert left < robust or robust <= 3


@pytest.mark.parametrize("kind", [zoo.Detached, zoo.NotANumber])
def test_gradients_that_are_not_there_or_not_finite_are_told(net, some, kind: type[zoo.Defence]) -> None:
    model = kind(net).requires_grad_(False)
    found = diagnose(model, *some, THREATS[0], zoo.judge(model, *some, THREATS[0]))
    assert {"zero_gradients", "square_gain", "large_eps"} == set(tripped(found))


def test_what_only_cross_entropy_misses_is_told(net, some) -> None:
    model = zoo.Scaled(net).requires_grad_(False)
    found = diagnose(model, *some, THREATS[0], zoo.judge(model, *some, THREATS[0]))
    assert found["zero_gradients"].verdict == "warn"
    assert found["zero_gradients"].value > 0.8


# --- an evaluation that stopped too early ---------------------------------------------------------


@pytest.mark.usefixtures("_shorter")
@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_survivors_that_any_attack_would_break_are_told(net, some, threat: Threat) -> None:
    outcomes = np.where(net(some[0]).argmax(1) == some[1], ROBUST, MISCLASSIFIED)
    found = diagnose(net, *some, threat, outcomes, teacher=teacher())
    assert set(tripped(found)) == {"more_steps", "transfer", "logit_scaling"}
    assert {sign.verdict for sign in found.values()} == {"pass", "warn"}
    right = adaptive(net, *some, threat, outcomes, found, teacher=teacher())
    assert set(right) == {"pgd-1000", "transfer", "rescaled", "black-box"}
    for name, sign in (("pgd-1000", "more_steps"), ("transfer", "transfer"), ("rescaled", "logit_scaling")):
        assert (outcomes == ROBUST).sum() - right[name].sum() >= found[sign].value * COUNT, name
    assert "transfer" not in adaptive(net, *some, threat, outcomes, {"transfer": found["transfer"]})


@pytest.mark.parametrize(
    ("count", "total", "verdict"), [(3, 60, "pass"), (4, 60, "warn"), (9, 899, "warn"), (8, 899, "pass")]
)
def test_few_examples_are_no_sign(some, count: int, total: int, verdict: str) -> None:
    x, y = (tensor.repeat(15, *(1,) * (tensor.ndim - 1))[:total] for tensor in some)
    outcomes = np.zeros(total, np.uint8)
    outcomes[:count] = 4
    found = diagnose(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).requires_grad_(False), x, y, Linf(0.2), outcomes)
    assert found["square_gain"].verdict == verdict
    assert found["square_gain"].value == count / total
    assert found["square_gain"].words.startswith(f"{count} of {total} examples")


# --- honest networks ------------------------------------------------------------------------------


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_an_honest_network_trips_nothing(net, some, threat: Threat) -> None:
    outcomes = zoo.judge(net, *some, threat)
    found = diagnose(net, *some, threat, outcomes, teacher=teacher())
    assert set(found) == {*ALWAYS, "transfer"} == set(ANSWERS)
    assert tripped(found) == {}
    assert adaptive(net, *some, threat, outcomes, found) == {}


@pytest.mark.parametrize("method", ["natural", "kd"])
def test_an_honest_student_trips_nothing(some, method: str) -> None:
    model, few = student(method), tuple(tensor[:30] for tensor in some)
    outcomes = bench.evaluate(model, *few, threat=Linf(0.15), diagnose=False).outcomes
    assert tripped(diagnose(model, *few, Linf(0.15), outcomes, teacher=teacher())) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "threat"),
    [(method, Linf(0.15)) for method in ("natural", "kd", "pgd-at", "trades", "rslad", "ard", "gkd-logit")]
    + [("natural", Linf(0.05)), ("kd", L2(0.6)), ("trades", L2(0.6))],
)
def test_no_shipped_student_trips_anything(digits, method: str, threat: Threat) -> None:
    model, (x, y) = student(method), (tensor[:150] for tensor in digits)
    outcomes = bench.evaluate(model, x, y, threat=threat, diagnose=False).outcomes
    assert tripped(diagnose(model, x, y, threat, outcomes, teacher=teacher())) == {}


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0])
def test_a_collapsed_student_is_not_called_masked(some, scale: float) -> None:
    """It says the same of everything: nothing can be broken, and nothing is hidden."""

    class Collapsed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return scale * x.flatten(1)[:, :10] + 2 * (torch.arange(10) == 3)

    outcomes = np.where(some[1].numpy() == 3, ROBUST, MISCLASSIFIED)
    assert tripped(diagnose(Collapsed(), *some, Linf(0.2), outcomes)) == {}


def test_without_a_radius_nothing_trips(net, some) -> None:
    outcomes = zoo.judge(net, *some, Linf(0.0))
    assert tripped(diagnose(net, *some, Linf(0.0), outcomes, teacher=teacher())) == {}


# --- what is told, and what is left behind --------------------------------------------------------


def test_a_diagnostic_goes_into_a_record(net, some) -> None:
    model = zoo.NoiseLayer(net)
    found = diagnose(model, *some, THREATS[0], zoo.judge(model, *some, THREATS[0]))
    assert set(found) == ALWAYS <= set(ANSWERS) | {"transfer"}
    for name, sign in found.items():
        told = json.loads(json.dumps(sign.to_json(), allow_nan=False))
        assert set(told) == {"name", "value", "threshold", "verdict", "words"}
        assert told["name"] == name
        assert (told["value"] > told["threshold"]) == (told["verdict"] != "pass") == sign.tripped
        assert told["words"].endswith(".")


class Restless(zoo.Defence):
    """Draws from every source of random numbers, counts its calls in a buffer, and puts itself into training mode."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.train()
        noise = random.gauss(0, 0.1) + np.random.normal(0, 0.1) + 0.1 * torch.randn_like(x)
        return self.net(x + noise)


def states() -> list[Any]:
    return [random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()]


@pytest.mark.usefixtures("_shorter")
@pytest.mark.parametrize("make", [zoo.NoiseLayer, zoo.BatchStatistics, Restless])
def test_all_is_left_as_found_and_follows_from_the_seed(net, some, make: type[zoo.Defence]) -> None:
    model, outcomes = make(net).requires_grad_(False), np.full(20, ROBUST, np.uint8)
    few = tuple(tensor[:20] for tensor in some)
    seen = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        np.random.seed(noise)
        random.seed(noise)
        before, kept = states(), {name: tensor.clone() for name, tensor in model.state_dict().items()}
        modes = [module.training for module in model.modules()]
        found = diagnose(model, *few, THREATS[0], outcomes, seed=seed, teacher=make(net).requires_grad_(False))
        right = adaptive(model, *few, THREATS[0], outcomes, found, seed=seed)
        assert states() == before
        assert all(torch.equal(kept[name], tensor) for name, tensor in model.state_dict().items())
        assert [module.training for module in model.modules()] == modes
        assert torch.is_grad_enabled()
        seen.append((found, {name: column.tolist() for name, column in right.items()}))
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


def test_buffers_and_random_states_that_change_are_named(net, some) -> None:
    found = diagnose(Restless(net).requires_grad_(False), *some, THREATS[0], np.zeros(COUNT, np.uint8))
    sign = found["side_effects"]
    assert sign.verdict == "fail"
    for name in ("the buffer calls", "PyTorch's", "NumPy's", "Python's"):
        assert name in sign.words


def test_no_example_gets_a_gradient(net, some) -> None:
    x = some[0].clone().requires_grad_()
    found = diagnose(net, x.detach(), some[1], THREATS[0], zoo.judge(net, *some, THREATS[0]))
    assert x.grad is None
    assert all(parameter.grad is None for parameter in net.parameters())
    assert tripped(found) == {}


# --- the tools ------------------------------------------------------------------------------------


def test_what_lies_outside_the_ball_or_fools_no_more_does_not_count(net, some) -> None:
    x, y = some
    outcomes = np.where(net(x).argmax(1) == y, ROBUST, MISCLASSIFIED)
    case = Case(net, x, y, Linf(0.05), outcomes, 0, 7)
    other = torch.stack([x[y != label][0] for label in y])
    every = dict(zip(map(str, x.tolist()), other, strict=True))

    def far(x: Tensor, y: Tensor, noise: object) -> Any:
        return claimed(x, torch.stack([every[str(image)] for image in x.tolist()]))

    assert (net(other).argmax(1) != y).double().mean() > 0.9
    assert (case.attack(case.standing, far, "far") == -1).all()
    assert (case.attack(case.standing, lambda x, y, noise: claimed(x, x), "near") == -1).all()
    wide = Case(net, x, y, L2(8.0), outcomes, 0, 7)
    assert ((wide.attack(wide.standing, far, "far") == 0) & wide.standing).sum() > 0.8 * COUNT


@pytest.mark.usefixtures("_shorter")
def test_only_what_trips_is_answered(net, some) -> None:
    outcomes = np.full(COUNT, ROBUST, np.uint8)
    calm = {name: Diagnostic(name, 0.0, 0.01, "pass", "") for name in ANSWERS}
    assert adaptive(net, *some, THREATS[0], outcomes, calm) == {}
    assert adaptive(net, *some, THREATS[0], outcomes, {}) == {}
    nothing = np.zeros(COUNT, np.uint8)
    loud = {name: Diagnostic(name, 1.0, 0.01, "warn", "") for name in ("zero_gradients", "more_steps")}
    right = adaptive(net, *some, THREATS[0], nothing, loud)
    assert set(right) == {"rescaled", "black-box", "pgd-1000"}
    assert not any(column.any() for column in right.values())


@pytest.mark.usefixtures("_shorter")
def test_the_majority_decides_for_a_stochastic_model(net, some) -> None:
    """Wrong once in four passes is still right; wrong three times in four is not."""

    class Moody(zoo.Defence):
        share = 0.25

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x) * (1 - 2 * (torch.rand(len(x), 1) < self.share).float())

    model = Moody(net).requires_grad_(False)
    loud = {"stochastic_forward": Diagnostic("stochastic_forward", 1.0, 0.0, "fail", "")}
    outcomes = np.where(net(some[0]).argmax(1) == some[1], ROBUST, MISCLASSIFIED)
    clean = (outcomes == ROBUST).sum()
    assert adaptive(model, *some, Linf(0.0), outcomes, loud)["eot"].sum() >= clean - 3
    model.share = 0.75
    assert adaptive(model, *some, Linf(0.0), outcomes, loud)["eot"].sum() <= 3
