"""`temper verify` on one real record, doctored in one place at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.execution.trials import Runner
from bench.method import make_method
from bench.records import make_trial, trial_folder
from bench.scenario import load_scenario
from bench.verification import verify_folder

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, digits_file: Path, tiny_text: str) -> Path:
    """A record that was really made, in its place."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "digits.safetensors").symlink_to(digits_file)
    (folder / "tiny.toml").write_text(tiny_text)
    scenario = load_scenario(folder / "tiny.toml")
    trial = make_trial(scenario, make_method("natural"), 0)
    assert Runner(scenario, folder / "leaderboards").run([trial]) == []
    return trial_folder(folder / "leaderboards", trial)


@pytest.fixture
def record(original: Path, tmp_path: Path) -> Path:
    """A copy of it to doctor."""
    place = tmp_path / "records" / Path(*original.parts[-3:])
    shutil.copytree(original, place)
    return place


def doctored(folder: Path, change: Change) -> list[str]:
    """What verify says after `change` was made to the JSON."""
    path = folder / "record.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return verify_folder(folder)


def put(*keys: str, value: Any) -> Change:
    """A change that sets one field."""

    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        assert content[keys[-1]] != value
        content[keys[-1]] = value

    return change


def test_an_honest_record_verifies(record):
    assert verify_folder(record) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("evaluation", "robust", value=0.99), "evaluation.robust is 0.99"),
        (put("evaluation", "clean", value=0.123), "evaluation.clean is 0.123"),
        (put("evaluation", "attacks", "square", value=0.99), "evaluation.attacks"),
        (put("evaluation", "further", "pgd-20", value=0.99), "evaluation.further"),
        (put("evaluation", "outcomes", "standard", value="0" * 64), "outcomes of standard hash to"),
        (put("evaluation", "outcomes", "cw", value="0" * 64), "outcomes of cw hash to"),
        (put("weights", "best", "sha256", value="0" * 64), "best.safetensors has SHA-256"),
        (put("weights", "last", "bytes", value=1), "last.safetensors has"),
        (put("weights", value={}), "both hashes of weights"),
        (put("trial", "seed", value=1), "its trial hashes to"),
        (put("trial", "method", value="trades"), "its trial hashes to"),
        (put("trial", "hyperparameters", value={"beta": 1.0}), "its trial hashes to"),
        (put("trial_id", value="0123456789abcdef"), "its trial hashes to"),
        (put("trial", "scenario", value="digits-linf"), "wrong place"),
        (put("training", "best", "robust", value=1.0), "training.best"),
        (put("training", "passes", value=1e6), "allowed were"),
        (put("evaluation", value=None), "a complete record needs"),
        (put("status", value="fine"), "status"),
        (put("schema_version", value=2), "schema_version"),
        (lambda content: content.update(note="trust me"), "note"),
        (lambda content: content.pop("training"), "a complete record needs"),
        (lambda content: content["evaluation"].pop("clean"), "evaluation.clean"),
    ],
)
def test_a_doctored_number_is_named(record, change, says):
    problems = doctored(record, change)
    assert any(says in problem for problem in problems), problems
    assert all(str(record) in problem for problem in problems)


def rewrite(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> list[str]:
    path = folder / "outcomes.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    return verify_folder(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.assign(outcome=f["outcome"].replace(f["outcome"].min(), 255)), "robust"),
        (lambda f: f.assign(outcome=np.uint8(77)), "unknown outcomes [77]"),
        (lambda f: f.assign(prediction=9 - f["prediction"]), "predictions and outcomes disagree"),
        (lambda f: f.iloc[:-1], "hash to"),
        (lambda f: f.drop(columns="cw"), "evaluation.further"),
        (lambda f: f.drop(columns="outcome"), "no column of outcome bytes"),
    ],
)
def test_a_doctored_outcome_is_named(record, change, says):
    problems = rewrite(record, change)
    assert any(says in problem for problem in problems), problems


@pytest.mark.parametrize("name", ["record.json", "outcomes.parquet", "best.safetensors", "last.safetensors"])
def test_a_lost_or_damaged_file_is_named(record, name):
    file = record / name
    content = file.read_bytes()
    file.unlink()
    assert any(name in problem for problem in verify_folder(record))
    file.write_bytes(content[: len(content) // 2])
    assert any(name in problem for problem in verify_folder(record))


def test_the_command_exits_with_1_and_names_the_file(record, temper):
    assert temper("verify", record).code == 0
    doctored(record, put("evaluation", "robust", value=0.99))
    result = temper("verify", record.parent, "--json")
    assert result.code == 1
    assert str(record) in json.loads(result.out)["problems"][0]


def test_an_empty_folder_is_no_proof(tmp_path, temper):
    assert temper("verify", tmp_path).code == 1
