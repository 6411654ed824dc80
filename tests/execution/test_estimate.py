"""A run of several trials says before it starts how many there are, and about how long they take."""

from __future__ import annotations

import re

import pytest

from bench.execution import estimate
from bench.execution.estimate import Estimate
from bench.method import make_method
from bench.records import make_trial
from bench.scenario import load_scenario


def test_a_run_says_how_many_trials_and_how_long(tiny, temper, here) -> None:
    first = temper("run", tiny, "-m", "natural", "-m", "pgd-at", "--seeds", 1)
    line = r"2 trials, about (\d+) s with --jobs 1 \(training (\d+) s, evaluation (\d+) s each\)"
    found = re.search(line, first.err)
    assert found, first.err
    whole, training, judging = map(int, found.groups())
    assert whole == pytest.approx(2 * (training + judging + estimate.START), abs=3)
    assert "trials, about" not in temper("run", tiny, "-m", "natural", "--seeds", 2).err, (
        "one is missing, which is soon"
    )


def test_more_budget_takes_more_time_and_records_tell_how_long_judging_takes(tiny, monkeypatch) -> None:
    scenario = load_scenario(tiny)
    monkeypatch.setattr(estimate, "_seconds_per_pass", lambda scenario, device: 1e-6)
    small, large = (make_trial(scenario, make_method("natural"), 0, budget=tier) for tier in ("s", "m"))
    assert estimate.estimate(scenario, small, None).training == pytest.approx(2 * 23 * 256 * 1e-6)
    assert estimate.estimate(scenario, large, None).training == pytest.approx(4 * 23 * 256 * 1e-6)
    assert estimate.estimate(scenario, small, None).judging == pytest.approx(5000 * 40 * 1e-6)
    digits = load_scenario("digits-linf")
    trial = make_trial(digits, make_method("natural"), 0)
    assert 20 < estimate.estimate(digits, trial, None).judging < 600, "as in the records that ship"


def test_a_step_is_timed_without_a_trace() -> None:
    import torch

    scenario, before = load_scenario("digits-linf"), torch.get_rng_state()
    assert 0 < estimate._seconds_per_pass(scenario, "cpu") < 1
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_forecast_the_run_goes_on(tiny, temper, here, monkeypatch) -> None:
    monkeypatch.setattr(estimate, "_seconds_per_pass", lambda scenario, device: 1 / 0)
    result = temper("run", tiny, "-m", "natural", "--seeds", 2)
    assert result.code == 0 and "2 trials\n" in result.err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89, "89 s"), (120, "2 min"), (3 * 3600 + 600, "3 h 10 min"), (30 * 3600, "30 h"), (1e6, "12 days")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert estimate._time(seconds) == words
    told = Estimate(seconds, seconds).in_words(1, 4)
    assert told.startswith("1 trial, about ") and f"training {words}, evaluation {words} each" in told
