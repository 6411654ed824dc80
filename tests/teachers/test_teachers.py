"""Teachers: made by their recipe, pinned by hash, checked again; and those of an outside zoo."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.errors import TemperError
from bench.hashing import file_digest
from bench.networks import save_weights
from bench.scenario import Scenario, load_scenario, shipped_scenarios
from bench.teachers import SHIPPED_WEIGHTS, load_teacher
from bench.teachers.making import TeacherCard, read_card
from bench.threat import Linf

TEACHER = """
[teachers.robust]
network = "cnn"
options = { widths = [12, 12], strides = [2, 2] }
weights = "tiny-robust.safetensors"
recipe = { method = "natural", epochs = 2, checkpoint = "last" }
"""


def shipped_teachers() -> list[tuple[str, str]]:
    pairs = [(name, teacher) for name in shipped_scenarios() for teacher in load_scenario(name).teachers]
    return [pair for pair in pairs if load_scenario(pair[0]).teachers[pair[1]].sha256]


@pytest.fixture
def with_teacher(tiny: Path) -> Path:
    tiny.write_text(tiny.read_text() + TEACHER)
    return tiny


def test_a_teacher_is_trained_used_and_checked(with_teacher, temper, tmp_path, here):
    missing = temper("run", with_teacher, "-m", "kd", "--seeds", 1)
    assert missing.code == 2
    assert "run `temper teacher train tiny --name robust`" in missing.err

    trained = temper("teacher", "train", with_teacher)
    assert trained.code == 0, trained.err
    scenario = load_scenario(with_teacher)
    weights = tmp_path / "cache" / "teachers" / "tiny-robust.safetensors"
    card = read_card(scenario, "robust")
    assert card.sha256 == file_digest(weights)
    assert f"SHA-256 {card.sha256}" in trained.out

    checked = temper("teacher", "check", with_teacher, "--json")
    assert checked.code == 0, checked.err
    assert json.loads(checked.out) == [
        {"teacher": "robust", "card": card.evaluation.robust, "measured": card.evaluation.robust, "identical": True}
    ]
    assert temper("run", with_teacher, "-m", "kd", "--seeds", 1).code == 0

    doctored = card.evaluation.model_copy(update={"robust": 0.9, "outcomes": {}})
    weights.with_suffix(".json").write_text(card.model_copy(update={"evaluation": doctored}).model_dump_json())
    assert temper("teacher", "check", with_teacher).code == 1


@pytest.mark.parametrize(("scenario", "name"), shipped_teachers())
def test_shipped_teachers_are_what_their_cards_and_scenarios_say(scenario, name):
    spec = load_scenario(scenario).teachers[name]
    card = TeacherCard.model_validate_json((SHIPPED_WEIGHTS / spec.weights).with_suffix(".json").read_text())
    assert card.sha256 == spec.sha256 == file_digest(SHIPPED_WEIGHTS / spec.weights)
    assert card.recipe == spec.recipe
    assert (card.network.network, card.network.options) == (spec.network, spec.options)
    module = load_teacher(load_scenario(scenario), name)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_other_weights_than_the_pinned_ones_are_refused(tmp_path):
    scenario = load_scenario("digits-linf")
    own = tmp_path / "own.safetensors"
    save_weights(own, load_teacher(scenario, "natural").state_dict())
    spec = scenario.teachers["robust"].model_copy(update={"weights": str(own)})
    other = scenario.model_copy(update={"teachers": {"robust": spec}})
    with pytest.raises(TemperError, match=f"has SHA-256 {file_digest(own)}, not {spec.sha256}"):
        load_teacher(other, "robust")


@pytest.fixture
def zoo_scenario() -> Scenario:
    content = load_scenario("cifar10-linf").model_dump(mode="json")
    content["teachers"] = {"robust": {"network": "", "zoo": "robustbench:Rice2020Overfitting"}}
    return Scenario.model_validate(content)


def test_a_teacher_of_robustbench_is_loaded_by_name(zoo_scenario, monkeypatch):
    asked = {}

    def load_model(**arguments: object) -> nn.Module:
        asked.update(arguments)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))

    package, utils = types.ModuleType("robustbench"), types.ModuleType("robustbench.utils")
    utils.load_model = load_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "robustbench", package)
    monkeypatch.setitem(sys.modules, "robustbench.utils", utils)
    module = load_teacher(zoo_scenario, "robust")
    assert module(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert (asked["model_name"], asked["dataset"], asked["threat_model"]) == (
        "Rice2020Overfitting",
        "cifar10",
        "Linf",
    )


def test_a_zoo_that_is_not_installed_or_not_known_says_so(zoo_scenario, monkeypatch):
    from bench.teachers.zoo import load_from_zoo

    monkeypatch.setitem(sys.modules, "robustbench.utils", None)
    with pytest.raises(TemperError, match="pip install robustbench"):
        load_teacher(zoo_scenario, "robust")
    with pytest.raises(TemperError, match="unknown zoo"):
        load_from_zoo("hub:model", Linf(0.1))
