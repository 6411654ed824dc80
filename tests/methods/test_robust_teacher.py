"""What the formulas of IAD, IGDM, SAAD, DGAD, GKL and CGARD do not show: state, swaps, costs, the second input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bench.method import Nets, make_method
from bench.scenario import load_scenario
from bench.testing import Subject, formula_passes
from bench.training.loop import Trainer
from methods.dgad import corrected
from methods.gkl import weighted_mse
from tests.methods.oracles.robust import adaad, teachers_input
from tests.methods.setting import CLASSES, EPS, Golden, Setting


def setting(name: str, progress: float = 0.4, **fields: Any) -> Setting:
    return Setting(make_method(name, fields), Golden(adaad, progress=progress))


# --- costs that change with progress --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "progress", "fields", "passes"),
    [
        ("iad1", 0.5, {}, "2*K + 6 + 2*r"),
        ("iad2", 0.5, {}, "2*K + 6 + r + r_N"),
        ("adaiad", 0.5, {}, "2*K + 6 + r*(2*K + 1)"),
        ("rslad-igdm", 0.0, {}, "2*K + 6 + r"),
        ("adaad-igdm", 0.0, {}, "2*K + 3 + r*(2*K + 1)"),
        ("saad", 0.5, {"alpha": 0.0}, "2*K + 3 + 3*r"),
        ("gkl", 0.5, {"hard_weight": 0.0}, "2*K + 3 + r"),
        ("cgard", 0.5, {"matched_weight": 1.0}, "2*K + 3 + r*(2*K + 1)"),
    ],
)
def test_a_step_costs_what_its_terms_cost(
    monkeypatch: pytest.MonkeyPatch, name: str, progress: float, fields: dict[str, float], passes: str
) -> None:
    monkeypatch.setattr(Trainer, "progress", progress)
    trainer = Subject(name, fields, load_scenario("digits-linf")).trainer()
    trainer.step()
    assert trainer.meter.passes / trainer.batch_size == pytest.approx(formula_passes(passes, trainer), rel=1e-9)


# --- dgad -----------------------------------------------------------------------------------------


def test_a_wrong_prediction_is_corrected_by_a_swap() -> None:
    logits = torch.tensor([[1.0, 4.0, 2.0], [1.0, 4.0, 2.0], [7.0, -1.0, 7.0]])
    expected = torch.tensor([[4.0, 1.0, 2.0], [1.0, 4.0, 2.0], [-1.0, 7.0, 7.0]])
    kept = logits.clone()
    assert torch.equal(corrected(logits, torch.tensor([0, 1, 1])), expected)
    assert torch.equal(logits, kept), "the teacher's logits themselves stay"


@pytest.mark.parametrize("right", [True, False])
def test_a_batch_may_hold_one_group_alone(right: bool) -> None:
    """The published code divides by the size of each group."""
    case = setting("dgad")
    predicted = case.nets.teacher(case.x).argmax(1)
    case.y = case.batch.y = predicted if right else (predicted + 1) % CLASSES
    loss = case.losses()["student"]
    gradients = torch.autograd.grad(loss.sum(), list(case.nets.student.module.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


# --- gkl ------------------------------------------------------------------------------------------


def test_class_means_are_the_teachers_of_the_last_epoch() -> None:
    case = setting("gkl", temperature=2.0)
    nets, uniform = case.nets, torch.full((CLASSES, CLASSES), 1 / CLASSES).double()
    torch.testing.assert_close(nets.state["class_means"], uniform)
    case.y = case.batch.y = case.y.clamp(max=CLASSES - 2)  # the last class is not seen
    for _ in range(2):
        case.losses()
        case.method.after_step(nets, case.batch, {})
        torch.testing.assert_close(nets.state["class_means"], uniform, msg="they move at the end of the epoch")
    case.method.epoch_end(nets)
    soft = (nets.teacher(case.x) / 2.0).softmax(1)
    for label in range(CLASSES - 1):
        torch.testing.assert_close(nets.state["class_means"][label], soft[case.y == label].mean(0))
    torch.testing.assert_close(nets.state["class_means"][-1], uniform[-1])
    assert nets.state["teacher_softmax_count"].sum() == 0, "the next epoch counts anew"


def test_the_weighted_squares_are_those_of_pairs() -> None:
    """By hand: gaps (3, 0, 1), weights (1, 2, 0.5), so 1/4 * 2 * (2 * 9 + 0.5 * 4 + 1 * 1) = 10.5 of a total 12.25."""
    teacher, weights = torch.tensor([[5.0, 1.0, 1.0]]), torch.tensor([[1.0, 2.0, 0.5]])
    student = torch.tensor([[2.0, 1.0, 0.0]])
    torch.testing.assert_close(weighted_mse(teacher, student, weights), torch.tensor([10.5 / 12.25]))
    shifted = weighted_mse(teacher + 9, student, weights)
    torch.testing.assert_close(shifted, torch.tensor([10.5 / 12.25]), msg="a shift of logits is no gap")


def test_equal_logits_have_no_squared_error_and_batches_share_the_weight() -> None:
    logits = torch.tensor([[2.0, -1.0], [2.0, -1.0]])
    weights = torch.tensor([[1.0, 1.0], [3.0, 3.0]])
    loss = weighted_mse(logits, torch.zeros(2, 2), weights)
    torch.testing.assert_close(loss, torch.tensor([4.5, 40.5]) / 20)  # 1/4 * 2 * w^2 * 9, over the mean of 4 and 36
    assert torch.equal(weighted_mse(logits, logits, weights), torch.zeros(2))


def test_without_squares_nothing_is_counted() -> None:
    case = setting("gkl", mse_weight=0.0)
    case.losses()
    case.method.after_step(case.nets, case.batch, {})
    case.method.epoch_end(case.nets)
    assert case.nets.state == {}


# --- cgard ----------------------------------------------------------------------------------------


def test_the_student_gets_the_half_that_was_made_for_it() -> None:
    """One step of the Setting along the sign of the gradient at its own input, the other one held."""
    case = setting("cgard")
    found = case.attack()
    assert isinstance(found, Tensor)
    own, taught = (net.module for net in (case.nets.student, case.nets.teacher))
    point = case.x.clone().requires_grad_()
    p, q = own(point).softmax(1), taught(case.x).softmax(1).detach()
    (slope,) = torch.autograd.grad(((p - q) * (p.log() - q.log())).sum(), point)
    torch.testing.assert_close(found, (case.x + EPS * slope.sign()).clamp(0, 1))
    assert not torch.allclose(found, teachers_input(case.facts()))


def test_the_teachers_input_is_used_only_where_it_serves_the_label() -> None:
    case = setting("cgard")
    case.attack()
    clean, moved = case.nets.teacher(case.x), case.nets.teacher(teachers_input(case.facts()))
    nets: Nets = case.nets
    guidance = case.method.guidance(nets, case.batch, teachers_input(case.facts()))  # type: ignore[attr-defined]
    right = [z.log_softmax(1).gather(1, case.y[:, None]).squeeze(1) for z in (clean, moved, guidance)]
    torch.testing.assert_close(right[2], torch.maximum(right[0], right[1]))
    torch.testing.assert_close(case.batch.guidance, guidance)
