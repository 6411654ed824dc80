"""Audits: what the trusted side checks of a submission, each with value, threshold and verdict.

Each is a pure function of what somebody outside the method's process measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import fisher_exact

from bench.hashing import derive
from bench.records import Audit, RunRecord
from bench.scenario import Scenario
from bench.submission.honest import Line, honest_students

if TYPE_CHECKING:
    from torch import nn

    from bench.data import Split
    from bench.submission.trail import Window

AUDITED = ("compute", "gap", "replay", "seen", "trail")
CHANCE = 1e-4  # of a test split that is this much easier
IMAGES = 2000  # of a split, on which a student is judged for `seen_audit`
JUMP = 6.0  # times as fast as around it; honest methods on the digits come to 3, undefended training to 4.3


def compute_audit(spent: float, expected: float, factor: float) -> Audit:
    """CPU seconds that the processes used, over what PGD-AT needs to start and for the passes that they told of.

    The unit of the budget is a pass, and cheap operations of honest methods cost time and no pass: up to 3 times.
    """
    if not math.isfinite(expected):
        return Audit(value=0.0, threshold=factor, verdict="warn", words="not measured on a GPU")
    ratio = spent / expected
    words = f"{spent:.0f} s of CPU time where PGD-AT needs {expected:.0f} s for the same passes"
    return Audit(value=ratio, threshold=factor, verdict="pass" if ratio <= factor else "fail", words=words)


def gap_audit(records: Sequence[RunRecord], scenario: Scenario) -> Audit:
    """Whether students do better on test than on validation, which only who has seen the test split does.

    Of the seeds of a row together: by how much accuracy under PGD-20 on test exceeds that under PGD-10 on validation,
    beyond what it does for honest students of that accuracy, in the mean. Weak students, which have nothing to gain,
    pass. Where no honest students are known, the value is a chance (`_easier`).
    """
    sizes, known = scenario.data.split, honest_students().get(scenario.train_fingerprint())
    pairs = [
        (record.training.best.robust, record.evaluation.further.get("pgd-20", 0.0))
        for record in records
        if record.training and record.evaluation
    ]
    if known:
        pairs = [pair for pair in pairs if pair[0] >= known.strong]
        return _against(known.gap, pairs, "validation")
    return _easier(pairs, sizes.validation, sizes.test, "validation")


def seen_audit(pairs: Sequence[tuple[float, float]], scenario: Scenario) -> Audit:
    """Whether students are as good on test as on the images that they were trained on, which only who was trained on
    both is: `pairs` are robust accuracies on training and test images (`on_training`), one a seed of a row.

    The value is by how much test exceeds training beyond what it does for honest students of that training accuracy, in
    the mean; where none are known, a chance (`_easier`).
    """
    known, images = honest_students().get(scenario.train_fingerprint()), scenario.data.split
    if known:
        return _against(known.seen, [pair for pair in pairs if pair[0] >= known.strong], "training images")
    return _easier(pairs, min(IMAGES, images.train), min(IMAGES, images.test), "training images")


def on_training(network: nn.Module, scenario: Scenario, splits: Mapping[str, Split]) -> tuple[float, float]:
    """Robust accuracy under PGD-10 of a network on the first training images, and on the first test images."""
    from bench.data import Split
    from bench.training.selection import measure

    some = [Split(splits[name].x[:IMAGES], splits[name].y[:IMAGES]) for name in ("train", "test")]
    train, test = (measure(network, split, scenario, 0, 1.0).robust for split in some)
    return train, test


def _against(line: Line, pairs: Sequence[tuple[float, float]], where: str) -> Audit:
    """Pairs of accuracies `where` and on test beside those of honest students."""
    if not pairs:
        return Audit(value=0.0, threshold=0.0, verdict="pass", words="no student that is strong enough to gain by it")
    value = fmean(line.above(before, after - before) for before, after in pairs)
    allowed = line.allowed(len(pairs))
    words = f"{_means(pairs, where)}: {100 * value:+.1f} points beside honest students"
    return Audit(value=value, threshold=allowed, verdict="pass" if value <= allowed else "fail", words=words)


def _easier(pairs: Sequence[tuple[float, float]], size: int, of_test: int, where: str) -> Audit:
    """One-sided exact test (Fisher) of the mean of the seeds, which see the same images: the chance of so much on test,
    if both splits are alike."""
    if not pairs:
        return Audit(value=1.0, threshold=CHANCE, verdict="pass", words="no student")
    before, after = (fmean(each) for each in zip(*pairs, strict=True))
    right = np.array([round(after * of_test), round(before * size)])
    table = np.stack([right, np.array([of_test, size]) - right], 1)
    value = float(fisher_exact(table, alternative="greater").pvalue)
    words = f"{_means(pairs, where)}; no honest students are known here"
    return Audit(value=value, threshold=CHANCE, verdict="pass" if value >= CHANCE else "fail", words=words)


def _means(pairs: Sequence[tuple[float, float]], where: str) -> str:
    before, after = (100 * fmean(each) for each in zip(*pairs, strict=True))
    return f"{before:.1f} % robust on {where}, {after:.1f} % on test"


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


def trail_audit(first: float, speeds: Sequence[float]) -> Audit:
    """Whether the weights came where they are step by step (`bench.submission.trail`): the first step must leave them
    near those that the seed gives, and the speed of a window may be no more than JUMP times the larger of the medians
    of the three before and after it.
    """
    if any(not math.isfinite(speed) for speed in (first, *speeds)):
        return Audit(value=1e9, threshold=JUMP, verdict="fail", words="its weights moved without end")
    jumps = [speeds[k] / max(1e-12, *_around(speeds, k)) for k in range(1, len(speeds))]
    value = max([first, *jumps])
    where = "first step" if value == first else f"window {jumps.index(value) + 2} of {len(speeds)}"
    words = f"in its {where} its weights moved {value:.1f} times as fast as around it"
    return Audit(value=value, threshold=JUMP, verdict="pass" if value <= JUMP else "fail", words=words)


def _around(speeds: Sequence[float], place: int) -> list[float]:
    sides = speeds[max(0, place - 3) : place], speeds[place + 1 : place + 4]
    return [median(side) for side in sides if side]


def confirming_seed(train_fingerprint: str, source: str, nonce: str) -> int:
    """The seed of a confirming trial: of the method file, and of a nonce that was drawn once the file was frozen."""
    return derive(train_fingerprint, "confirming", source, nonce)
