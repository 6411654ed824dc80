"""Evaluation on real digits: example by example what pyautoattack says, and nothing left behind."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

import bench
from bench.data import load
from bench.errors import TemperError
from bench.evaluation import Evaluation
from bench.evaluation.further import further_attacks
from bench.evaluation.reference import ReferenceEngine
from bench.evaluation.summary import outcome_hashes, summarise
from bench.hashing import rng
from bench.networks.cnn import cnn
from bench.protocol import ATTACKS, MISCLASSIFIED, ROBUST
from bench.scenario import load_scenario
from bench.threat import L2, Linf, Threat
from tests.evaluation import zoo

EPS = 0.2  # where the small net below has examples of most outcomes
CLEAN = Linf(0.0)


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Training examples: no test may read the test split."""
    split = load(load_scenario("digits-linf").data, ("train",))["train"]
    return split.inputs(), split.y


@pytest.fixture(scope="module")
def net(digits: tuple[Tensor, Tensor]) -> nn.Module:
    """A small convolutional net after a hundred steps of adversarial training."""
    return zoo.honest_network(*digits).requires_grad_(True)


@pytest.fixture(scope="module")
def some(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Twenty-four digits, one of which has a label of its own."""
    x, y = (tensor[:24].clone() for tensor in digits)
    y[5] = (y[5] + 1) % 10
    return x, y


@pytest.fixture(scope="module")
def verdict(net: nn.Module, some: tuple[Tensor, Tensor]) -> Evaluation:
    return bench.evaluate(net, *some, threat=Linf(EPS), seed=3, batch_size=16)


def reference(
    net: nn.Module, x: Tensor, y: Tensor, threat: Threat, seed: int, batch_size: int, caplog: pytest.LogCaptureFixture
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """pyautoattack's own run: adversarial inputs, predictions on them, and the accuracy left after each attack."""
    suite = AutoAttack(net, norm=threat.norm, eps=threat.eps, seed=seed, version="standard")
    with caplog.at_level(logging.DEBUG, "auto-attack"), torch.random.fork_rng():
        x_adv, y_adv = suite.run_standard_evaluation(x, y, batch_size=batch_size)
    lines = re.findall(r"robust accuracy after ([A-Z-]+): ([\d.]+)%", caplog.text)
    return x_adv, y_adv, {name.lower(): float(percent) for name, percent in lines}


def assert_equal_to_the_reference(found: Evaluation, x: Tensor, y: Tensor, expected: Any) -> None:
    x_adv, y_adv, left = expected
    assert torch.equal(found.adversarial, x_adv)
    assert np.array_equal(found.outcomes == ROBUST, (y_adv == y).numpy())
    assert left
    for number, name in enumerate(ATTACKS, start=1):
        accuracy = 100 * np.mean(found.outcomes > number)
        assert left.get(name, 0.0) == pytest.approx(accuracy, abs=0.006), name


# --- against the implementation of record ---------------------------------------------------------


def test_the_reference_engine_is_pyautoattack(net, some, caplog) -> None:
    found = bench.evaluate(net, *some, threat=Linf(EPS), seed=3, batch_size=16, engine="reference", diagnose=False)
    assert_equal_to_the_reference(found, *some, reference(net, *some, Linf(EPS), 3, 16, caplog))
    assert {MISCLASSIFIED, 1, ROBUST} <= set(found.outcomes.tolist()), "there is something to compare"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("threat", "seed", "batch_size"), [(Linf(0.17), 0, 256), (L2(0.7), 1, 10), (Linf(0.22), 3, 1), (Linf(0.21), 7, 23)]
)
def test_the_reference_engine_is_pyautoattack_at_other_settings(
    net, some, caplog, threat: Threat, seed: int, batch_size: int
) -> None:
    options = {"threat": threat, "seed": seed, "batch_size": batch_size}
    found = bench.evaluate(net, *some, engine="reference", diagnose=False, **options)
    assert_equal_to_the_reference(found, *some, reference(net, *some, threat, seed, batch_size, caplog))


def test_what_only_square_breaks_is_told(net, digits, caplog) -> None:
    """Rounded inputs leave no gradient: three attacks find nothing."""

    class Rounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net((x * 8).round() / 8)

    x, y = digits[0][:8], digits[1][:8]
    found = bench.evaluate(Rounded(), x, y, threat=Linf(0.25), engine="reference", diagnose=False)
    ours = bench.evaluate(Rounded(), x, y, threat=Linf(0.25), randomness="compat", diagnose=False)
    assert (found.outcomes == 4).any()
    assert np.array_equal(ours.outcomes, found.outcomes)
    assert_equal_to_the_reference(found, x, y, reference(Rounded().eval(), x, y, Linf(0.25), 0, 256, caplog))


# --- the verdict ----------------------------------------------------------------------------------


def test_the_verdict_holds_together(verdict: Evaluation, net: nn.Module, some: tuple[Tensor, Tensor]) -> None:
    x, y = some
    assert verdict.attacks == ("apgd-ce", "apgd-t", "fab-t", "square")
    assert verdict.outcomes.dtype == np.uint8
    assert verdict.outcomes.shape == (24,)
    assert np.array_equal(verdict.labels, y.numpy())
    with torch.no_grad():
        predicted, attacked = net(x).argmax(1), net(verdict.adversarial).argmax(1)
    assert np.array_equal(verdict.predictions, predicted.numpy())
    assert np.array_equal(verdict.outcomes == MISCLASSIFIED, (predicted != y).numpy())
    assert verdict.outcomes[5] == MISCLASSIFIED
    broken = torch.tensor((verdict.outcomes >= 1) & (verdict.outcomes <= 4))
    assert torch.equal(attacked != y, broken | (predicted != y))
    assert torch.equal(verdict.adversarial[~broken], x[~broken])
    assert Linf(EPS).contains(x, verdict.adversarial, tolerance=1e-6).all()
    assert verdict.clean_accuracy == (predicted == y).double().mean().item()
    assert verdict.robust_accuracy == np.mean(verdict.outcomes == 255) < verdict.clean_accuracy


def test_the_second_look_counts(verdict: Evaluation) -> None:
    outcomes = verdict.outcomes
    assert ((outcomes > 0) & (outcomes < 255)).any()
    for name in ("outside_the_ball", "fooling_no_more"):
        assert verdict.diagnostics[name]["value"] == 0
        assert verdict.diagnostics[name]["verdict"] == "pass"


def test_the_frame_tells_of_every_example(verdict: Evaluation, net: nn.Module, some: tuple[Tensor, Tensor]) -> None:
    frame, (x, y) = verdict.to_frame(), some
    words = {0: "misclassified", 1: "apgd-ce", 2: "apgd-t", 3: "fab-t", 4: "square", 255: "robust"}
    assert frame["broken_by"].tolist() == [words[outcome] for outcome in verdict.outcomes.tolist()]
    with torch.no_grad():
        logits, attacked = net(x), net(verdict.adversarial)
    wrong = logits.scatter(1, y[:, None], -torch.inf).amax(1)
    assert np.allclose(frame["margin"], logits.gather(1, y[:, None]).squeeze(1) - wrong, atol=1e-5)
    broken = frame["outcome"].between(1, 4)
    assert np.array_equal(frame["verified"], broken)
    assert np.array_equal(frame["iteration"] >= 0, broken)
    assert (frame["target"][frame["outcome"].isin([2, 3])] != y.numpy()[frame["outcome"].isin([2, 3])]).all()
    assert (frame["target"][~frame["outcome"].isin([2, 3])] == -1).all()
    assert np.allclose(frame["distance"], (verdict.adversarial - x).flatten(1).abs().amax(1), atol=1e-6)
    left = attacked.scatter(1, y[:, None], -torch.inf).amax(1) - attacked.gather(1, y[:, None]).squeeze(1)
    for number, name in enumerate(ATTACKS, start=1):
        ran, by_it = frame["outcome"] >= number, frame["outcome"] == number
        if name != "fab-t":
            assert np.array_equal(frame[f"margin_{name}"].notna(), ran)
        assert np.allclose(frame[f"margin_{name}"][by_it], -left.numpy()[by_it], atol=1e-4)
        assert (frame[f"margin_{name}"][ran & ~by_it].dropna() > 0).all()
    robust = frame["outcome"] == 255
    assert (frame["backwards"][robust] == 10 * 101 + 9 * 100).all()
    assert (frame["forwards"][~broken & ~robust] == 0).all()
    summary = summarise(frame)
    assert (summary["clean"], summary["robust"]) == (verdict.clean_accuracy, verdict.robust_accuracy)
    assert summary["further"] == {}
    after = list(summary["attacks"].values())
    assert after == sorted(after, reverse=True)
    assert after[-1] == summary["robust"]
    assert set(outcome_hashes(frame)) == {"standard"}


def test_the_same_seed_gives_the_same_bits(net: nn.Module, some: tuple[Tensor, Tensor]) -> None:
    x, y = (tensor[:6] for tensor in some)
    first, again, other = (bench.evaluate(net, x, y, threat=Linf(0.25), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.adversarial, again.adversarial)
    assert not torch.equal(first.adversarial, other.adversarial)


def test_without_a_radius_robust_is_clean(net: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    x, y = digits
    found = bench.evaluate(net, x, y, threat=CLEAN)
    with torch.no_grad():
        right = (net(x).argmax(1) == y).numpy()
    assert np.array_equal(found.outcomes, np.where(right, 255, 0))
    assert found.clean_accuracy == found.robust_accuracy == right.mean()
    assert 0.8 < found.robust_accuracy < 1
    assert torch.equal(found.adversarial, x)
    assert not ((found.outcomes > 0) & (found.outcomes < 255)).any()


@pytest.mark.parametrize("batch_size", [1, 7, 24, 1000])
def test_batches_do_not_matter_for_the_clean_verdict(net, some, batch_size: int) -> None:
    found = bench.evaluate(net, *some, threat=CLEAN, batch_size=batch_size)
    assert np.array_equal(found.outcomes, bench.evaluate(net, *some, threat=CLEAN).outcomes)


def test_progress_runs_to_one(net: nn.Module, some: tuple[Tensor, Tensor]) -> None:
    seen: list[float] = []
    bench.evaluate(net, some[0][:6], some[1][:6], threat=Linf(0.3), batch_size=2, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[0] > 0
    assert seen[-1] == 1.0


# --- the second look ------------------------------------------------------------------------------


def test_examples_outside_the_ball_are_counted(net, digits, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = digits[0][:20], digits[1][:20]
    other = torch.stack([digits[0][digits[1] != label][0] for label in y])
    monkeypatch.setattr(ReferenceEngine, "perturb", lambda self, attack, inputs, labels: other[: len(inputs)])
    found = bench.evaluate(net, x, y, threat=Linf(0.05), batch_size=32, engine="reference", diagnose=False)
    fooled = int((found.outcomes == 1).sum())
    assert fooled >= 10
    outside = ~Linf(0.05).contains(x, found.adversarial)
    assert found.diagnostics["outside_the_ball"]["value"] == int(outside.sum()) == fooled
    assert found.diagnostics["outside_the_ball"]["verdict"] == "fail"


def test_examples_that_fool_no_more_are_counted(net, digits, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that answers wrong only right after the attack asked, twice."""

    class Moody(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.wrong = net, 0

        def forward(self, x: Tensor) -> Tensor:
            logits = self.net(x)
            logits, self.wrong = (-logits if self.wrong else logits), max(self.wrong - 1, 0)
            return logits

    model = Moody()

    def perturb(self: Any, attack: str, inputs: Tensor, labels: Tensor) -> Tensor:
        model.wrong = 2
        return inputs

    monkeypatch.setattr(ReferenceEngine, "perturb", perturb)
    found = bench.evaluate(model, digits[0][:20], digits[1][:20], threat=Linf(0.05), engine="reference", diagnose=False)
    broken = int((found.outcomes == 1).sum())
    assert broken >= 15
    assert found.diagnostics["fooling_no_more"]["value"] == broken
    assert found.diagnostics["outside_the_ball"]["value"] == 0


# --- bad input ------------------------------------------------------------------------------------


class Says(nn.Module):
    """A model that answers what it is told."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(x)


def plain(x: Tensor) -> Tensor:
    return x.flatten(1)[:, :10]


@pytest.mark.parametrize("bad", [-0.01, 1.01, float("nan"), float("inf")])
def test_inputs_out_of_bounds_are_refused(net, some, bad: float) -> None:
    x = some[0].clone()
    x[3, 0, 2, 2] = bad
    with pytest.raises(TemperError, match=r"inputs must lie in \[0, 1\], got "):
        bench.evaluate(net, x, some[1], threat=CLEAN)


def test_other_bounds_take_other_inputs(some) -> None:
    threat = Threat(norm="Linf", eps=0.0, bounds=(-1, 1))
    assert bench.evaluate(Says(plain), some[0] * 2 - 1, some[1], threat=threat).outcomes.shape == (24,)
    with pytest.raises(TemperError, match=r"inputs must lie in \[-1, 1\]"):
        bench.evaluate(Says(plain), some[0] * 4 - 1, some[1], threat=threat)


@pytest.mark.parametrize("label", [-1, 10])
def test_labels_that_are_no_class_are_refused(net, some, label: int) -> None:
    y = some[1].clone()
    y[0] = label
    with pytest.raises(TemperError, match=r"labels run from .* the model has 10 classes"):
        bench.evaluate(net, some[0], y, threat=CLEAN)


@pytest.mark.parametrize("cut", [lambda x, y: (x[:0], y[:0]), lambda x, y: (x, y[:5]), lambda x, y: (x, y[:, None])])
def test_inputs_without_a_label_each_are_refused(net, some, cut) -> None:
    with pytest.raises(TemperError, match=r"need floats x \(N, ...\) and labels y \(N,\), got \("):
        bench.evaluate(net, *cut(*some), threat=Linf(EPS))


def test_whole_numbers_are_refused(net, some) -> None:
    with pytest.raises(TemperError, match="need floats"):
        bench.evaluate(net, (some[0] > 0.5).to(torch.uint8), some[1], threat=CLEAN)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: plain(x) * float("nan"), "logits are not finite on clean inputs"),
        (lambda x: plain(x) / 0, "logits are not finite on clean inputs"),
        (lambda x: (plain(x), x), r"must return logits \(24, C\) for 24 examples, it returned tuple"),
        (lambda x: plain(x)[:, None], r"must return logits \(24, C\) for 24 examples, it returned \(24, 1, 10\)"),
        (lambda x: plain(x).argmax(1), r"must return logits \(24, C\) for 24 examples, it returned \(24,\)"),
        (lambda x: {"logits": plain(x)}, "it returned dict"),
        (lambda x: plain(x.detach()), "logits carry no gradient"),
    ],
)
def test_models_that_give_no_logits_are_refused(some, answer: Any, message: str) -> None:
    with pytest.raises(TemperError, match=message):
        bench.evaluate(Says(answer), *some, threat=Linf(EPS))


def test_few_classes_are_fine_without_attacks(some) -> None:
    found = bench.evaluate(Says(lambda x: plain(x)[:, :3]), some[0], some[1] % 3, threat=CLEAN)
    assert set(found.outcomes.tolist()) <= {0, 255}


def test_a_model_that_answers_for_one_example_only_is_refused(some) -> None:
    with pytest.raises(TemperError, match="logits"):
        bench.evaluate(Says(lambda x: plain(x)[:1]), *some, threat=CLEAN)


@pytest.mark.parametrize("choice", ["protocol", "engine", "randomness"])
def test_an_unknown_choice_is_refused(net, some, choice: str) -> None:
    with pytest.raises(TemperError, match="fastest"):
        bench.evaluate(net, *some, threat=CLEAN, **{choice: "fastest"})


def test_an_impossible_batch_size_is_refused(net, some) -> None:
    with pytest.raises(TemperError, match="batch_size"):
        bench.evaluate(net, *some, threat=CLEAN, batch_size=0)


# --- what is left behind --------------------------------------------------------------------------


def snapshot(module: nn.Module) -> Iterator[Any]:
    for each in module.modules():
        yield each.training
    for name, parameter in module.named_parameters():
        yield name, parameter.requires_grad, None if parameter.grad is None else parameter.grad.tolist()
    for name, tensor in module.state_dict().items():
        yield name, tensor.tolist()


def streams() -> list[Any]:
    return [random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()]


@pytest.mark.parametrize("fails", [False, True])
def test_modes_gradients_and_random_states_are_left_as_found(net, some, fails: bool) -> None:
    module = cnn((1, 8, 8), 10, widths=[8, 8], strides=[2, 2])
    module.load_state_dict(net.state_dict())
    module.train()
    module[1].eval()
    module[0].weight.requires_grad_(False)
    module[-1].weight.grad = torch.ones_like(module[-1].weight)
    before, randomness = list(snapshot(module)), streams()
    x = some[0][:6].clone()
    if fails:
        with pytest.raises(TemperError):
            bench.evaluate(module, x + 7, some[1][:6], threat=Linf(0.3))
    else:
        found = bench.evaluate(module, x, some[1][:6], threat=Linf(0.3))
        assert np.array_equal(found.outcomes, bench.evaluate(net, x, some[1][:6], threat=Linf(0.3)).outcomes)
        assert not found.adversarial.requires_grad
    assert list(snapshot(module)) == before
    assert streams() == randomness
    assert torch.equal(x, some[0][:6])
    assert torch.is_grad_enabled()


def test_inputs_that_want_gradients_get_none(net, some) -> None:
    x = some[0][:4].clone().requires_grad_()
    bench.evaluate(net, x, some[1][:4], threat=Linf(0.3))
    assert x.requires_grad
    assert x.grad is None


# --- the attacks beside it ------------------------------------------------------------------------


class Recorder(nn.Module):
    """Keeps what it is asked without gradients: clean inputs, then the candidate of each attack, per batch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.asked: list[Tensor] = []
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            self.asked.append(x.detach().clone())
        return self.net(x)


@pytest.mark.parametrize("eps", [0.02, 0.1, 0.2])
@pytest.mark.parametrize("batch_size", [64, 300])
def test_fgsm_is_one_signed_step(net, digits, eps: float, batch_size: int) -> None:
    x, y = digits[0][:300], digits[1][:300]
    point = x.clone().requires_grad_()
    nn.functional.cross_entropy(net(point), y, reduction="sum").backward()
    assert point.grad is not None
    x_adv = (x + eps * point.grad.sign()).clamp(0, 1)
    net.zero_grad()
    with torch.no_grad():
        expected = (net(x).argmax(1) == y) & (net(x_adv).argmax(1) == y)
    found = further_attacks(net, x, y, Linf(eps), batch_size=batch_size)["fgsm"]
    assert found.dtype == np.bool_
    assert np.array_equal(found, expected.numpy())
    assert 0 < found.mean() < 1


@pytest.mark.parametrize(("name", "position"), [("pgd-20", 2), ("cw", 3)])
def test_pgd_and_cw_are_twenty_steps_of_a_quarter_eps(net, digits, name: str, position: int) -> None:
    x, y = digits[0][:100], digits[1][:100]
    model = Recorder(net)
    verdicts = further_attacks(model, x, y, Linf(EPS), seed=5)
    assert len(model.asked) == 4

    def objective(logits: Tensor) -> Tensor:
        if name == "pgd-20":
            return nn.functional.cross_entropy(logits, y, reduction="none")
        right = torch.nn.functional.one_hot(y, 10).bool()
        return logits.masked_fill(right, -torch.inf).amax(1) - logits[right]

    expected = (x + torch.empty_like(x).uniform_(-EPS, EPS, generator=rng(5, name))).clamp(0, 1)
    for _ in range(20):
        point = expected.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(net(point)).sum(), point)
        expected = (expected + EPS / 4 * gradient.sign()).clamp(x - EPS, x + EPS).clamp(0, 1)
    torch.testing.assert_close(model.asked[position], expected)
    with torch.no_grad():
        right = (net(x).argmax(1) == y) & (net(expected).argmax(1) == y)
        assert objective(net(expected)).mean() > objective(net(x)).mean()
    assert np.array_equal(verdicts[name], right.numpy())


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.7)], ids=str)
def test_further_attacks_stay_inside_and_never_help(net, digits, threat: Threat) -> None:
    x, y = digits[0][:200], digits[1][:200]
    model = Recorder(net)
    verdicts = further_attacks(model, x, y, threat, batch_size=70)
    assert set(verdicts) == ({"fgsm", "pgd-20", "cw"} if threat.norm == "Linf" else {"pgd-20", "cw"})
    asked = len(verdicts) + 1
    for part in range(3):
        clean, *candidates = model.asked[part * asked : (part + 1) * asked]
        assert torch.equal(clean, x[part * 70 : (part + 1) * 70])
        for candidate in candidates:
            assert threat.contains(clean, candidate, tolerance=1e-6).all()
            assert not torch.equal(candidate, clean)
    with torch.no_grad():
        right = (net(x).argmax(1) == y).numpy()
    for name, survived in verdicts.items():
        assert not (survived & ~right).any(), name
        assert survived.mean() < right.mean(), name


def test_further_attacks_follow_the_seed_and_nothing_else(net, digits) -> None:
    x, y = digits[0][:50], digits[1][:50]
    asked = []
    for seed, noise in ((1, 0), (1, 9), (2, 0)):
        torch.manual_seed(noise)
        before, model = streams(), Recorder(net)
        further_attacks(model, x, y, Linf(0.1), seed=seed)
        assert streams() == before
        asked.append(model.asked)
    assert all(torch.equal(a, b) for a, b in zip(asked[0], asked[1], strict=True))
    assert torch.equal(asked[0][1], asked[2][1]), "FGSM has no noise"
    assert not torch.equal(asked[0][2], asked[2][2])
    assert not torch.equal(asked[0][3], asked[2][3])


def test_no_further_attack_beats_autoattack(verdict, net, some) -> None:
    for name, survived in further_attacks(net, *some, Linf(EPS)).items():
        assert not ((verdict.outcomes == ROBUST) & ~survived).any(), name


def test_fgsm_is_left_out_of_other_bounds(some) -> None:
    threat = Threat(norm="Linf", eps=0.1, bounds=(-1, 1))
    assert set(further_attacks(Says(plain), some[0], some[1], threat)) == {"pgd-20", "cw"}
