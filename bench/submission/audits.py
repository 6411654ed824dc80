"""Audits: what the trusted side checks of a submission, each with value, threshold and verdict.

Each is a pure function of what somebody outside the method's process measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import fisher_exact

from bench.hashing import derive
from bench.records import Audit, RunRecord
from bench.scenario import Scenario

if TYPE_CHECKING:
    from bench.submission.trail import Window

AUDITED = ("compute", "gap", "replay", "seen", "trail")
CHANCE = 1e-4  # of a test split that is this much easier than validation
JUMP = 6.0  # times as fast as around it; honest methods come to 3 (digits, 42 methods)


def compute_audit(spent: float, expected: float, factor: float) -> Audit:
    """CPU seconds that the processes used, over what PGD-AT needs to start and for the passes that they told of.

    The unit of the budget is a pass, and cheap operations of honest methods cost time and no pass: up to 3 times.
    """
    if not math.isfinite(expected):
        return Audit(value=0.0, threshold=factor, verdict="warn", words="not measured on a GPU")
    ratio = spent / expected
    words = f"{spent:.0f} s of CPU time where PGD-AT needs {expected:.0f} s for the same passes"
    return Audit(value=ratio, threshold=factor, verdict="pass" if ratio <= factor else "fail", words=words)


def gap_audit(record: RunRecord, scenario: Scenario) -> Audit:
    """Whether the student does better on test than on validation, which only who has seen the test split does.

    One-sided exact test (Fisher) of clean accuracy, and of robust accuracy: PGD-10 on validation against PGD-20, which
    is stronger, on test. The value is the smaller probability, doubled.
    """
    training, verdict = record.training, record.evaluation
    if training is None or verdict is None:
        return Audit(value=1.0, threshold=CHANCE, verdict="pass", words="no student")
    sizes = scenario.data.split
    best = training.best
    pairs = {"clean": (best.clean, verdict.clean), "under PGD": (best.robust, verdict.further.get("pgd-20", 0.0))}
    chances = {name: _easier(*pair, sizes.validation, sizes.test) for name, pair in pairs.items()}
    name = min(chances, key=lambda each: chances[each])
    value = min(1.0, len(pairs) * chances[name])
    before, after = pairs[name]
    words = f"{name} {100 * before:.1f} % on validation, {100 * after:.1f} % on test"
    return Audit(value=value, threshold=CHANCE, verdict="pass" if value >= CHANCE else "fail", words=words)


def replay_audit(arrived: Mapping[Window, bool], *, exact: bool) -> Audit:
    """Whether windows of the training, run again in a fresh sandbox from a state that was handed over, came to the same
    state and weights bit for bit; where the device does not compute `exact`ly the same twice, the audit warns.

    The value is the number of windows that did not.
    """
    lost = [window for window, there in arrived.items() if not there]
    ways = ", ".join(f"{window.start} to {window.end}" for window in (lost or arrived))
    words = f"steps {ways} {'come to other bits' if lost else 'come to the same bits'} when they are run again"
    other: Literal["fail", "warn"] = "fail" if exact else "warn"
    verdict = other if lost else "pass"
    return Audit(value=len(lost), threshold=0, verdict=verdict, words=words if arrived else "too few steps")


def trail_audit(speeds: Sequence[float]) -> Audit:
    """Whether the weights came where they are step by step: the speed (`bench.submission.trail`) of each part of the
    training over the larger of the medians of the three parts before and after it. The first part, a step, must leave
    the weights near those that the seed gives: it counts by its speed alone.
    """
    if any(not math.isfinite(speed) for speed in speeds):
        return Audit(value=1e9, threshold=JUMP, verdict="fail", words="its weights moved without end")
    jumps = [*speeds[:1], *(speeds[k] / max(1e-12, *_around(speeds, k)) for k in range(1, len(speeds)))]
    value = max(jumps, default=0.0)
    part = f"part {jumps.index(value) + 1} of {len(jumps)}" if jumps else "no part"
    words = f"its weights moved {value:.1f} times as fast in {part} as around it"
    return Audit(value=value, threshold=JUMP, verdict="pass" if value <= JUMP else "fail", words=words)


def _around(speeds: Sequence[float], place: int) -> list[float]:
    sides = speeds[max(0, place - 3) : place], speeds[place + 1 : place + 4]
    return [median(side) for side in sides if side]


def confirming_seed(train_fingerprint: str, source: str, nonce: str) -> int:
    """The seed of a confirming trial: of the method file, and of a nonce that was drawn once the file was frozen."""
    return derive(train_fingerprint, "confirming", source, nonce)


def _easier(validation: float, test: float, of_validation: int, of_test: int) -> float:
    """The chance that a test accuracy is this much higher, if both splits are alike."""
    right = round(test * of_test), round(validation * of_validation)
    table = np.array([[right[0], of_test - right[0]], [right[1], of_validation - right[1]]])
    return float(fisher_exact(table, alternative="greater").pvalue)
