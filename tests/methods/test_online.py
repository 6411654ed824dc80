"""What students that learn from themselves or from company do beside their losses (see `oracles/online.py`)."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.method import Averaging, make_method
from bench.scenario import load_scenario
from bench.testing import Subject, formula_passes
from bench.training.loop import Trainer
from methods.adr import annealed, rectified
from tests.methods.setting import Golden, Setting


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (
            "kd-swa",
            {
                "temperature": 2.0,
                "natural_weight": 0.1,
                "robust_weight": 0.6,
                "natural_share": 3 / 51,
                "robust_share": 23 / 51,
                "average_from": 55 / 200,
            },
        ),
        (
            "adr",
            {
                "temperature_start": 2.5,
                "temperature_end": 2.0,
                "trust_start": 0.7,
                "trust_end": 0.95,
                "decay": 0.995,
            },
        ),
        (
            "peeraid",
            {
                "temperature": 5.0,
                "hard_weight": 0.0,
                "soft_weight": 1.0,
                "consistency_weight": 1.0,
                "peer_temperature": 1.0,
                "peer_hard_weight": 1.0,
                "peer_soft_weight": 0.1,
                "kl_scale": 0.1,
                "average_from": 214 / 300,
            },
        ),
        ("lbgat", {"beta": 0.0}),
    ],
)
def test_defaults_are_those_of_the_catalogue(name: str, fields: dict[str, float]) -> None:
    assert make_method(name).model_dump() == fields


@pytest.mark.parametrize(
    ("name", "averaging"),
    [
        ("kd-swa", Averaging(None, 0.275)),
        ("adr", Averaging(0.995, 0.0)),
        ("peeraid", Averaging(None, 214 / 300)),
        ("lbgat", None),
    ],
)
def test_how_students_are_averaged_and_which_is_delivered(name: str, averaging: Averaging | None) -> None:
    run = trainer(name)
    assert run.averaging == averaging
    average = run.nets.networks.get("average", run.nets.student).module
    assert run.delivered is (run.student if name == "adr" else average)


def trainer(name: str, fields: dict[str, Any] | None = None) -> Trainer:
    return Subject(name, fields or {}, load_scenario("digits-linf")).trainer()


def setting(name: str, fields: dict[str, Any] | None = None, progress: float = 0.4) -> Setting:
    return Setting(make_method(name, fields), Golden(lambda facts: {}, progress=progress))


# --- kd-swa ---------------------------------------------------------------------------------------


def test_the_three_networks_train_for_equally_many_epochs() -> None:
    run = trainer("kd-swa")
    stages = {stage.name: (stage.method, stage.share) for stage in run.pretraining}
    assert {name: method for name, (method, _) in stages.items()} == {
        "self_natural": "natural",
        "self_robust": "pgd-at",
    }
    run.step()  # so that prices are known
    epochs = [share / formula_passes(make_method(method).info.passes, run) for method, share in stages.values()]
    rest = 1 - sum(share for _, share in stages.values())
    epochs.append(rest / formula_passes(run.method.info.passes, run))
    assert epochs == pytest.approx([1 / 51] * 3, rel=1e-9)


@pytest.mark.parametrize("left", ["natural", "robust"])
def test_a_self_teacher_without_weight_is_not_trained(left: str) -> None:
    other = {"natural": "robust", "robust": "natural"}[left]
    run = trainer("kd-swa", {f"{other}_weight": 0.0})
    assert [stage.name for stage in run.pretraining] == [f"self_{left}"]
    assert list(run.nets.networks) == ["student", "average", f"self_{left}"]


# --- adr ------------------------------------------------------------------------------------------


def test_labels_are_rectified_by_how_far_they_miss() -> None:
    """By trust less the miss: 0.75 and 0.25 here, none where the miss is larger, and never more than all."""
    p = torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.98, 0.02, 1e-9]])
    y = torch.tensor([0, 1, 2])
    expected = torch.tensor([[0.775, 0.15, 0.075], [0.175, 0.8, 0.025], [0, 0, 1]])
    torch.testing.assert_close(rectified(p.log(), y, 0.75), expected)
    torch.testing.assert_close(rectified(p.log(), y, 1.6)[:2], p[:2])


def test_temperature_and_trust_follow_half_a_cosine() -> None:
    assert [annealed(2.5, 2.0, progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([2.5, 2.25, 2.0])
    assert annealed(0.7, 0.95, 1 / 3) == pytest.approx(0.7 + 0.25 / 4)


def test_labels_are_constants_of_the_average() -> None:
    case = setting("adr")
    loss = case.losses()["student"]
    assert not case.batch.target.requires_grad
    torch.testing.assert_close(case.batch.target.sum(1), torch.ones(len(case.x)).double())
    with torch.no_grad():
        for parameter in case.nets.average.module.parameters():
            parameter.mul_(0.5)
    assert not torch.allclose(case.losses()["student"], loss)


# --- peeraid and lbgat ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "other"), [("peeraid", "peer"), ("lbgat", "guide")])
def test_company_has_its_own_weights_and_is_trained_as_the_student_is(name: str, other: str) -> None:
    run = trainer(name)
    company = run.nets.networks[other].module
    assert [p.shape for p in company.parameters()] == [p.shape for p in run.student.parameters()]
    before = [p.clone() for p in company.parameters()]
    assert not torch.equal(before[0], next(run.student.parameters()))
    for _ in range(2):
        run.step()
        ours, theirs = (run.nets.optimisers[each].param_groups[0] for each in ("student", other))
        assert {key: ours[key] for key in ("lr", "momentum", "weight_decay", "nesterov")} == {
            key: theirs[key] for key in ("lr", "momentum", "weight_decay", "nesterov")
        }
    assert ours["lr"] > 0
    assert not any(torch.equal(p, q) for p, q in zip(company.parameters(), before, strict=True) if p.ndim > 1)


@pytest.mark.parametrize(("name", "other", "x"), [("peeraid", "peer", "x_adv"), ("lbgat", "guide", "x")])
def test_company_sees_its_inputs_once_in_the_loss(name: str, other: str, x: str) -> None:
    """The peer learns on what attacks the student, the guide on clean inputs."""
    case, seen = setting(name), []
    case.attack()
    case.nets.networks[other].module.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    case.method.loss(case.nets, case.batch)
    assert len(seen) == 1
    assert torch.equal(seen[0], getattr(case.batch, x))
    assert not torch.equal(case.batch.x, case.batch.x_adv)
