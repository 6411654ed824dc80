"""What docs/your-own-method.md says: its code runs as it stands there, and its numbers and names are right."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
import typer
from torch import Tensor

from bench.method import METHODS, Attack, Batch, Method, Nets, make_method
from bench.scenario import load_scenario
from bench.submission.source import read_submission
from bench.testing import CHECKS, Subject, check_method, formula_passes
from tests.methods.oracles.adversarial import divergence, probabilities
from tests.methods.setting import Facts, Golden, Setting
from tests.methods.test_formulas import (
    test_losses_equal_the_formula_in_value_and_gradient as check_losses,
)
from tests.methods.test_formulas import (
    test_the_inner_objective_equals_the_formula_in_value_and_gradient as check_inner_objective,
)

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/your-own-method.md").read_text()
METHOD, TEST = re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^    temper (.*)$", GUIDE, re.MULTILINE)


@pytest.fixture(autouse=True)
def _my_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The guide's file as a reader has it, imported; afterwards the registry is as it was."""
    list(METHODS)
    monkeypatch.setattr(METHODS, "_things", dict(METHODS._things))
    (tmp_path / "my_method.py").write_text(METHOD)
    (tmp_path / "test_my_method.py").write_text(TEST)
    monkeypatch.syspath_prepend(tmp_path)
    import_module("my_method")
    yield
    for name in ("my_method", "test_my_method"):
        sys.modules.pop(name, None)


def test_the_method_conforms_and_the_table_names_every_clause() -> None:
    passed = check_method("my-method")
    assert passed == [check.__name__ for check in CHECKS]
    assert re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)[: len(passed)] == passed


def test_the_method_may_be_submitted_as_it_stands() -> None:
    assert read_submission(METHOD.encode()).problems == []


def test_its_lines_keep_the_width_of_the_project() -> None:
    assert max(len(line) for line in METHOD.splitlines() + TEST.splitlines()) <= 120


def test_the_guides_own_test_passes_and_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    check = import_module("test_my_method").test_the_loss_is_the_formula
    check()
    monkeypatch.setattr("my_method.margin", lambda logits, y: torch.zeros(len(y)))
    with pytest.raises(AssertionError):
        check()


def formula(f: Facts, weight: float, gap: float = 2.0) -> dict[str, Tensor]:
    """5/6 KL(p_T(x) || p_S(x')) + 1/6 KL(p_T(x) || p_S(x)) + w 1[teacher right at x] max(0, gap - m(x'))."""
    teacher, adversarial = f.teacher(f.x), f.student(f.x_adv)
    target = probabilities(teacher)
    soft = 5 / 6 * divergence(target, probabilities(adversarial))
    soft = soft + 1 / 6 * divergence(target, probabilities(f.student(f.x)))
    hinges = []
    for z, z_teacher, label in zip(adversarial, teacher, f.y.tolist(), strict=True):
        others = [z[k] for k in range(len(z)) if k != label]
        lead = gap - (z[label] - torch.stack(others).max())
        hinges.append(lead if z_teacher.argmax() == label and lead > 0 else 0 * lead)
    return {"student": soft + weight * torch.stack(hinges)}


def inner(f: Facts, x: Tensor) -> Tensor:
    return divergence(probabilities(f.teacher(f.x)), probabilities(f.student(x)))


GOLDEN = [
    Golden(lambda f: formula(f, 0.0), inner, "gaussian", progress=0.0),
    Golden(lambda f: formula(f, 0.2 * 0.3 / 0.5), inner, "gaussian", progress=0.3),
    Golden(lambda f: formula(f, 0.2), inner, "gaussian", progress=0.5),
    Golden(lambda f: formula(f, 0.7, 4.0), inner, "gaussian", progress=1.0, fields={"margin_weight": 0.7, "gap": 4.0}),
]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"progress {golden.progress}")
def test_the_method_is_the_formula_above_it(golden: Golden) -> None:
    check_losses("my-method", golden)
    check_inner_objective("my-method", golden)


def test_the_formula_is_tried_where_the_teacher_is_right_and_where_it_is_wrong() -> None:
    setting = Setting(make_method("my-method"), GOLDEN[-1])
    setting.losses()
    assert 0 < int(setting.batch.trusted.sum()) < len(setting.y)


def test_the_numbers_of_passes_and_steps() -> None:
    trainer = Subject("my-method", {}, load_scenario("digits-linf")).trainer()
    trainer.step()
    cost = formula_passes(METHODS["my-method"].info.passes, trainer)
    assert f"(K = {trainer.scenario.attack.steps}, r = {trainer.meter.prices['teacher']:.2f})" in GUIDE
    size = load_scenario("digits-linf").optimiser.batch_size
    steps = {passes: int(trainer.budget.total / (passes * size)) for passes in (cost, 23)}
    words = " ".join(GUIDE.split())
    assert f"that is {cost:.2f} passes, so tier s pays for {steps[cost]} steps" in words
    assert f"PGD-AT, at 23, has {steps[23]}." in words
    assert METHODS["pgd-at"].info.passes == "2*K + 3"


def test_the_margin_costs_nothing_and_moves_something() -> None:
    subject = Subject("my-method", {}, load_scenario("digits-linf"))
    ours, plain = subject.trainer(), subject.trainer(make_method("rslad"))
    for trainer in (ours, plain):
        for _ in range(3):
            trainer.step()
    assert ours.meter.state() == plain.meter.state()
    assert not torch.equal(ours.student[0].weight, plain.student[0].weight)


def test_the_attack_of_the_table_is_one() -> None:
    attack = eval(re.search(r"`(Attack\(objective.*?\))`", GUIDE)[1], {"Attack": Attack, "objective": None})  # type: ignore[index]
    assert attack == Attack(None, "uniform", 20, None, 0.2)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one(command: str) -> None:
    from bench.cli.main import app

    name, *arguments = command.split("#")[0].split()
    typer.main.get_command(app).commands[name].make_context(name, arguments)  # type: ignore[attr-defined]


def test_every_name_is_there() -> None:
    prose = re.sub(r"^```python\n.*?^```", "", GUIDE, flags=re.DOTALL | re.MULTILINE)
    roles = {"student", "teacher", "natural_teacher"}
    assert COMMANDS
    for name in set(re.findall(r"\bnets\.(\w+)", prose)):
        assert name in roles or name in Nets.__dataclass_fields__ or hasattr(Nets, name), name
    assert set(re.findall(r"\bbatch\.(\w+)", prose)) <= set(Batch.__annotations__)
    for name in set(re.findall(r"`(\w+)`", prose)) & {"averaging", "weight_perturbation", "deliver", "metrics"}:
        assert hasattr(Method, name)
    for name in set(re.findall(r"`((?:bench|methods)/\w+\.py)`", prose)) | set(re.findall(r"\]\(([\w./]+)\)", prose)):
        assert (ROOT / name).is_file() or (ROOT / "docs" / name).is_file(), name
