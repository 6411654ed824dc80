"""Audits: what the trusted side checks of a submission, each with value, threshold and verdict.

Each is a pure function of what somebody outside the method's process measured.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import fisher_exact

from bench.hashing import derive
from bench.records import Audit, RunRecord
from bench.scenario import Scenario

AUDITED = ("compute", "gap")
CHANCE = 1e-4  # of a test split that is this much easier than validation


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


def confirming_seed(train_fingerprint: str, source: str, nonce: str) -> int:
    """The seed of a confirming trial: of the method file, and of a nonce that was drawn once the file was frozen."""
    return derive(train_fingerprint, "confirming", source, nonce)


def _easier(validation: float, test: float, of_validation: int, of_test: int) -> float:
    """The chance that a test accuracy is this much higher, if both splits are alike."""
    right = round(test * of_test), round(validation * of_validation)
    table = np.array([[right[0], of_test - right[0]], [right[1], of_validation - right[1]]])
    return float(fisher_exact(table, alternative="greater").pvalue)
