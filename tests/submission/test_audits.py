"""The audits: pure functions of what somebody outside the method's process measured."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from bench.records import RunRecord
from bench.scenario import Scenario, load_scenario
from bench.submission.audits import JUMP, compute_audit, gap_audit, replay_audit, seen_audit, trail_audit
from bench.submission.honest import FILE, honest_students
from bench.submission.trail import Window

WINDOW = Window(start=4, end=8, state="a", weights="b")
SLOWER = [1 / (k + 1) for k in range(40)]


def record(validation: float, test: float) -> RunRecord:
    """A record as far as the gap audit reads it."""
    training = SimpleNamespace(best=SimpleNamespace(robust=validation))
    return cast(RunRecord, SimpleNamespace(training=training, evaluation=SimpleNamespace(further={"pgd-20": test})))


@pytest.fixture
def digits() -> Scenario:
    return load_scenario("digits-linf")


@pytest.fixture
def unknown(digits: Scenario) -> Scenario:
    """The digits in another split, of which no record ships."""
    split = digits.data.split.model_copy(update={"seed": 7})
    split = digits.data.split.model_copy(update={"seed": 7})
    return digits.model_copy(update={"data": digits.data.model_copy(update={"split": split, "sha256": {}})})


def test_honest_students_are_known_where_records_ship(digits: Scenario) -> None:
    assert FILE.is_file()
    known = honest_students()[digits.train_fingerprint()]
    assert known.students > 200
    assert 0.3 < known.strong < 0.6


def test_what_is_better_on_test_than_honest_students_are_fails(digits: Scenario) -> None:
    assert gap_audit([record(0.80, 0.76)], digits).verdict == "pass"
    assert gap_audit([record(0.80, 0.85)], digits).verdict == "fail"
    once, often = (gap_audit([record(0.80, 0.79)] * seeds, digits) for seeds in (1, 6))
    assert once.value == pytest.approx(often.value)
    assert often.threshold < once.threshold


def test_who_has_nothing_to_gain_is_not_compared(digits: Scenario) -> None:
    assert gap_audit([record(0.17, 0.25)], digits).verdict == "pass"


def test_who_knows_test_as_well_as_training_images_fails(digits: Scenario) -> None:
    assert seen_audit([(0.85, 0.78)], digits).verdict == "pass"
    assert seen_audit([(0.90, 0.90)], digits).verdict == "fail"


def test_without_honest_students_a_chance_is_told(unknown: Scenario) -> None:
    assert unknown.train_fingerprint() not in honest_students()
    for audit in (gap_audit([record(0.5, 0.9)], unknown), seen_audit([(0.5, 0.9)], unknown)):
        assert (audit.verdict, audit.value < 1e-4) == ("fail", True)
    for audit in (gap_audit([record(0.8, 0.78)], unknown), seen_audit([(0.8, 0.78)], unknown)):
        assert (audit.verdict, "no honest students are known" in audit.words) == ("pass", True)


def test_a_window_that_comes_to_other_bits_fails() -> None:
    assert replay_audit({WINDOW: True}, exact=True).verdict == "pass"
    lost = replay_audit({WINDOW: False}, exact=True)
    assert (lost.verdict, lost.value, "steps 4 to 8 come to other bits" in lost.words) == ("fail", 1, True)
    assert replay_audit({WINDOW: False}, exact=False).verdict == "warn"
    assert replay_audit({}, exact=True).verdict == "pass"


def test_weights_that_leap_on_the_way_fail() -> None:
    assert trail_audit(0.5, SLOWER).verdict == "pass"
    leap = [*SLOWER[:20], 20 * SLOWER[20], *SLOWER[21:]]
    audit = trail_audit(0.5, leap)
    assert (audit.verdict, "in its window 21 of 40" in audit.words) == ("fail", True)
    assert audit.value > JUMP


def test_weights_that_leave_the_seed_at_once_fail() -> None:
    assert trail_audit(500.0, SLOWER).verdict == "fail"
    assert trail_audit(0.5, [float("nan")]).verdict == "fail"
    assert trail_audit(0.5, []).verdict == "pass"


def test_a_gpu_has_no_audit_of_time_and_says_so() -> None:
    audit = compute_audit(10.0, float("inf"), 4.0)
    assert (audit.verdict, "not measured" in audit.words) == ("warn", True)
    assert compute_audit(50.0, 10.0, 4.0).verdict == "fail"
