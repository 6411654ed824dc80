"""What the baselines do beside their losses (see `oracles/baselines.py`): defaults, the single step, its alignment."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bench.method import make_method
from bench.threat import L2
from methods.gradalign import cosine
from tests.methods.oracles.baselines import fix_statistics, input_gradient
from tests.methods.setting import EPS, Golden, Setting


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("mart", {"beta": 5.0}),
        ("trades-awp", {"beta": 6.0, "gamma": 5e-3}),
        ("pgd-at-ema", {"decay": 0.999}),
        ("fast-at-gradalign", {"alignment_weight": 0.2}),
        ("kd-natural", {"temperature": 4.0, "soft_weight": 0.9}),
        ("kdiga", {"temperature": 1.0, "soft_weight": 0.5, "gradient_weight": 0.5, "kl_scale": 0.1}),
    ],
)
def test_defaults_are_those_of_the_catalogue(name: str, fields: dict[str, float]) -> None:
    assert make_method(name).model_dump() == fields


def setting(name: str, fields: dict[str, Any] | None = None) -> Setting:
    return Setting(make_method(name, fields), Golden(lambda facts: {}))


def test_a_field_says_how_far_weights_move_and_how_they_are_averaged() -> None:
    assert make_method("trades-awp", {"gamma": 0.02}).weight_perturbation() == 0.02
    assert make_method("pgd-at-ema", {"decay": 0.9}).averaging() == (0.9, 0.0)


def test_mart_stays_finite_where_a_wrong_class_is_certain() -> None:
    case = setting("mart")
    with torch.no_grad():
        case.nets.student.module[-1].bias[3] += 1000.0
    loss = case.losses()["student"]
    loss.sum().backward()
    assert loss.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in case.nets.student.module.parameters())


# --- fast-at-gradalign ----------------------------------------------------------------------------


def test_the_attack_is_one_step_to_the_border_along_the_sign_in_eval_mode() -> None:
    case = setting("fast-at-gradalign")
    found = case.attack()
    gradient = input_gradient(case.nets.student.module.eval(), case.x, case.y).detach()
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found, case.x + EPS * gradient.sign())
    torch.testing.assert_close(case.batch.x_adv, (case.x + EPS * gradient.sign()).clamp(0, 1))
    case.nets.threat = L2(0.5)
    steepest = case.attack()
    assert isinstance(steepest, Tensor)
    torch.testing.assert_close((steepest - case.x).flatten(1).norm(dim=1), torch.full((len(case.x),), 0.5).double())


def test_the_point_nearby_is_drawn_from_the_methods_stream() -> None:
    case, losses = setting("fast-at-gradalign"), []
    fix_statistics(case.nets)
    for seed in (5, 5, 6):
        case.batch.rng = torch.Generator().manual_seed(seed)
        losses.append(case.losses()["student"].sum().item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    assert losses[0] != pytest.approx(losses[2], rel=1e-6)


def test_the_cosine_of_gradients() -> None:
    a = torch.tensor([[3.0, 0], [3, 0], [3, 0], [3, 4], [1e-9, 0], [0, 0], [3, 4]])[:, None, None]
    b = torch.tensor([[2.0, 0], [-2, 0], [0, 1], [4, 3], [1e-9, 0], [3, 4], [0, 0]])[:, None, None]
    torch.testing.assert_close(cosine(a, b), torch.tensor([1, -1, 0, 24 / 25, 1, 1, 1]))


def test_a_vanishing_gradient_neither_counts_nor_spoils_the_others() -> None:
    a = torch.tensor([[0.0, 0], [3, 0]]).requires_grad_()
    b = torch.tensor([[3.0, 4], [1, 1]]).requires_grad_()
    (1 - cosine(a, b)).sum().backward()
    assert torch.equal(a.grad[0], torch.zeros(2))
    assert torch.equal(b.grad[0], torch.zeros(2))
    torch.testing.assert_close(b.grad[1], torch.tensor([-1.0, 1.0]) / 8**0.5)


# --- kdiga ----------------------------------------------------------------------------------------


def test_alignment_brings_the_gradients_together() -> None:
    gaps = []
    for weight in (0.0, 20.0):
        case = setting("kdiga", {"gradient_weight": weight})
        student, optimiser = case.nets.student.module, torch.optim.SGD(case.nets.student.module.parameters(), 0.02)
        for _ in range(60):
            optimiser.zero_grad()
            case.losses()["student"].mean().backward()
            optimiser.step()
        student.train()
        gap = input_gradient(student, case.x, case.y) - input_gradient(case.nets.teacher.module, case.x, case.y)
        gaps.append(gap.flatten(1).norm(dim=1).mean().item())
    assert gaps[1] < 0.7 * gaps[0]
