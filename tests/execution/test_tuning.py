"""The search of hyper-parameters: what is searched, that it repeats and resumes, and that a tuned row is marked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import leaderboard
from bench.errors import TemperError
from bench.execution.tuning import Tuner, read_tuned, search_space, tuned_file
from bench.records import read_record
from bench.scenario import load_scenario
from tests.here import in_this_process


def test_positive_numbers_of_the_method_and_of_the_optimiser_are_searched() -> None:
    scenario = load_scenario("digits-linf")
    assert search_space(scenario, "rslad") == {
        "adversarial_weight": (5 / 6, 5 / 24, 1.0),  # a fraction stays one
        "kl_scale": (1.0, 0.25, 4.0),
        "learning_rate": (0.2, 0.05, 0.8),
        "weight_decay": (2e-3, 5e-4, 8e-3),
    }
    assert search_space(scenario, "ard")["soft_weight"] == (1.0, 0.25, 1.0)
    assert list(search_space(scenario, "natural")) == ["learning_rate", "weight_decay"]


@pytest.mark.slow
def test_the_first_trial_has_the_defaults_and_the_search_repeats_and_resumes(tiny: Path, tmp_path: Path) -> None:
    scenario = load_scenario(tiny)
    whole = Tuner(scenario, tmp_path / "whole", trials=5, jobs=2).tune("pgd-at")
    assert whole.robust > whole.default_robust  # found something on data that are hard to learn
    assert whole.trials == 5
    assert read_tuned(tmp_path / "whole", scenario, "pgd-at") == whole

    class Stopped(Exception):
        pass

    parts = Tuner(scenario, tmp_path / "parts", trials=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.execution.tuning._robust", raiser(Stopped()))
        with in_this_process(), pytest.raises(Stopped):
            parts.tune("pgd-at")
    with in_this_process():
        assert parts.tune("pgd-at") == whole
    assert not list((tmp_path / "parts" / ".work").glob("tune-*"))


def raiser(error: Exception):
    def fail(*_: object) -> float:
        raise error

    return fail


def test_a_tuned_run_trains_with_what_was_found_and_says_so(tiny: Path, temper, tmp_path: Path, here) -> None:
    board = tmp_path / "leaderboards"
    assert "was not tuned" in temper("run", tiny, "--method", "natural", "--tuned").err
    assert temper("tune", "natural", "--scenario", tiny, "--trials", 3).code == 0
    assert temper("run", tiny, "--method", "natural", "--tuned", "--seeds", 1).code == 0
    assert temper("run", tiny, "--method", "natural", "--seeds", 1).code == 0
    found = json.loads(tuned_file(board, load_scenario(tiny), "natural").read_text())
    records = [read_record(file.parent) for file in board.rglob("record.json")]
    (tuned,), (plain,) = ([r for r in records if r.tuned is flag] for flag in (True, False))
    assert tuned.trial.optimiser == found["optimiser"] and plain.trial.optimiser == {}
    assert tuned.trial.seed == plain.trial.seed
    assert tuned.trial.row != plain.trial.row
    assert sorted(leaderboard(tiny, leaderboards=board)["tuned"]) == [False, True]


def test_what_was_found_for_another_scenario_is_refused(tiny: Path, tmp_path: Path, here) -> None:
    scenario = load_scenario(tiny)
    Tuner(scenario, tmp_path, trials=1).tune("pgd-at")
    changed = scenario.with_optimiser({"learning_rate": 0.05})
    with pytest.raises(TemperError, match="tune again"):
        read_tuned(tmp_path, changed, "pgd-at")
