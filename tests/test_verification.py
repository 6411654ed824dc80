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

from bench.errors import TemperError
from bench.execution.trials import Runner
from bench.method import make_method
from bench.records import make_trial, trial_folder
from bench.reevaluation import _signs, _verdict, reevaluate
from bench.scenario import load_scenario
from bench.stamp import write_stamped
from bench.verification import FILES, Findings, verify_folder
from tests.here import in_this_process
from tests.recorded import edit
from tests.rogues.doctored import all_robust

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, digits_file: Path, tiny_text: str) -> Path:
    """A record that was really made, in its place."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "digits.safetensors").symlink_to(digits_file)
    (folder / "tiny.toml").write_text(tiny_text)
    scenario = load_scenario(folder / "tiny.toml")
    trial = make_trial(scenario, make_method("natural"), 0)
    with in_this_process():
        assert Runner(scenario, folder / "leaderboards").run([trial]) == []
    return trial_folder(folder / "leaderboards", trial)


@pytest.fixture
def record(original: Path, tmp_path: Path) -> Path:
    """A copy of it to doctor."""
    place = tmp_path / "records" / Path(*original.parts[-3:])
    shutil.copytree(original, place)
    return place


@pytest.fixture
def own_scenario(original: Path) -> Path:
    """The file of the scenario that it was made on."""
    return original.parents[4] / "tiny.toml"


def doctored(folder: Path, change: Change) -> list[str]:
    """What verify says after `change` was made to the JSON, and the record was stamped anew."""
    edit(folder, change)
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
    write_stamped(folder, json.loads((folder / "record.json").read_text()))
    return verify_folder(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.assign(outcome=f["outcome"].replace(f["outcome"].min(), 255)), "robust"),
        (lambda f: f.assign(outcome=np.uint8(77)), "unknown outcomes [77]"),
        (lambda f: f.assign(prediction=9 - f["prediction"]), "predictions and outcomes disagree"),
        (lambda f: f.iloc[:-1], "hash to"),
        (lambda f: f.drop(columns="cw"), "evaluation.further"),
        (lambda f: f.drop(columns="outcome"), "no column of outcomes"),
        (lambda f: f.assign(outcome=f["outcome"].astype(int)), "no column of outcome bytes"),
    ],
)
def test_a_doctored_outcome_is_named(record, change, says):
    problems = rewrite(record, change)
    assert any(says in problem for problem in problems), problems


@pytest.mark.parametrize("name", FILES)
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


def test_stored_weights_are_judged_again_and_say_the_same(record, own_scenario, temper):
    result = temper("verify", record, "--reevaluate", 3, "--scenario", own_scenario, "--device", "cpu", "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)["told"]
    assert told[0].startswith("judged again: 1 of 1 record that can be, drawn by --seed ")
    assert f"{record}: 40 of 40 robust verdicts are equal" in told[1]
    assert told[1].endswith(", 0 other outcomes")


def test_the_records_that_are_judged_again_are_drawn_by_a_seed_that_is_told(record, temper, monkeypatch):
    drawn: list[Path] = []
    monkeypatch.setattr("bench.reevaluation._judged_by", lambda *_: "scenario")
    monkeypatch.setattr("bench.reevaluation._compare", lambda folder, *_: drawn.append(folder) or Findings())
    monkeypatch.setattr("bench.verification.verify_folder", lambda _: [])
    for number in range(30):
        shutil.copytree(record, record.with_name(f"{number:016x}"))
    lines = [temper("verify", record.parent, "--reevaluate", 3).out.splitlines()[0] for _ in range(2)]
    first, second, seed = drawn[:3], drawn[3:], lines[1].rpartition(" ")[2]
    assert len(set(second)) == 3
    assert lines[0] != lines[1] and set(first) != set(second)  # both by chance, about once in a million runs
    drawn.clear()
    assert temper("verify", record.parent, "--reevaluate", 3, "--seed", seed).out.splitlines()[0] == lines[1]
    assert drawn == second


def test_outcomes_that_the_weights_do_not_give_are_named(record, own_scenario):
    """Every column, accuracy and hash fits, and still somebody else's outcomes were put there."""
    frame = pd.read_parquet(record / "outcomes.parquet")
    standing = frame["prediction"] == frame["label"]
    all_robust([record])
    assert verify_folder(record) == []
    found = reevaluate([record], 1, seed=0, scenario=load_scenario(own_scenario))
    problem = found.problems[0]
    broken = int(standing.sum() - (frame["outcome"] == 255).sum())
    assert broken > 0
    assert f"{record}: {40 - broken} of 40 robust verdicts are equal" in problem
    assert f"test example {np.flatnonzero(standing & (frame['outcome'] != 255))[0]}: was robust, now" in problem


@pytest.mark.parametrize("recorded", ["pass", "warn", "not run", "fail", 1, None])
def test_a_diagnostic_that_is_recorded_as_better_than_it_is_found_is_named(recorded):
    found = {"transfer": {"verdict": "warn", "words": "3 fall."}, "more_steps": {"verdict": "pass", "words": ""}}
    problems = _signs(Path("r"), {"transfer": {"verdict": recorded}, "more_steps": {"verdict": "fail"}}, found).problems
    assert bool(problems) == (recorded in ("pass", 1, None))
    assert all("transfer" in each and "and found as warn: 3 fall." in each for each in problems)
    assert _signs(Path("r"), {}, {"transfer": {"verdict": "not run", "words": ""}}).problems == []


def test_a_verdict_in_a_hundred_may_differ():
    stored = np.full(200, 255, np.uint8)
    other = stored.copy()
    other[:2] = 1
    assert _verdict(Path("r"), stored, other).problems == []
    other[2] = 1
    said = _verdict(Path("r"), stored, other).problems[0]
    assert "at least 99 % must be; test example 0: was robust, now broken by apgd-ce" in said
    assert "example 2" in said and "example 3" not in said
    assert "the test split has 199" in _verdict(Path("r"), stored, other[:199]).problems[0]
    assert _verdict(Path("r"), np.full(200, 1, np.uint8), np.full(200, 2, np.uint8)).problems == []  # broken both times


def test_records_that_cannot_be_judged_here_are_not_passed_over(record, own_scenario, tmp_path):
    other = tmp_path / "tiny.toml"
    other.write_text(own_scenario.read_text().replace("eps = 0.3", "eps = 0.2"))
    (tmp_path / "digits.safetensors").symlink_to(own_scenario.with_name("digits.safetensors"))
    for scenario in (None, load_scenario(other)):
        with pytest.raises(TemperError, match="none of 1 record can be judged again"):
            reevaluate([record], 1, seed=0, scenario=scenario)
    (record / "best.safetensors").unlink()
    with pytest.raises(TemperError, match="none of 1 record"):
        reevaluate([record], 1, seed=0, scenario=load_scenario(own_scenario))
