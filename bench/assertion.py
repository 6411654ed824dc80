"""What one fixed model's outcomes say: whether its robust accuracy is below a bound, or fell since a baseline.

The model is given, the test images are a sample: only the images' part of the uncertainty counts here, not the seeds'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.stats import binomtest

from bench.errors import TemperError
from bench.evaluation import evaluate
from bench.hashing import digest
from bench.protocol import EVALUATOR_VERSION, MISCLASSIFIED, PROTOCOLS, ROBUST, outcome_name
from bench.ranking.mcnemar import mcnemar
from bench.ranking.reproduction import outcome_changes
from bench.scenario import Scenario, load_scenario
from bench.words import counted

if TYPE_CHECKING:
    from torch import Tensor

    from bench.data import Split

Protocol = Literal["standard", "screen", "beyond"]
SIGNIFICANT = 0.05  # one-sided, of a fall
SHOWN = 10  # changed examples of a message
STANDS = "R"  # a robust example in a baseline file; the others are digits


@dataclass(frozen=True)
class Verdict:
    """The outcome of each example, uint8 (N,) as in `Evaluation`, under the attacks in their order."""

    outcomes: np.ndarray
    attacks: tuple[str, ...]
    conditions: str  # SHA-256 of all but the model that decides the outcomes: examples, threat, protocol

    @property
    def robust(self) -> np.ndarray:
        """Which examples stand, bool (N,)."""
        return self.outcomes == ROBUST

    @property
    def accuracy(self) -> float:
        """Robust accuracy in [0, 1]."""
        return float(self.robust.mean())

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Clopper and Pearson's exact interval (1934) of the robust accuracy on images like these, in [0, 1]."""
        found = binomtest(int(self.robust.sum()), len(self.outcomes)).proportion_ci(level, method="exact")
        return float(found.low), float(found.high)

    def to_json(self) -> dict[str, Any]:
        """As it stands in a baseline file: a character an example."""
        marks = "".join(STANDS if outcome == ROBUST else str(outcome) for outcome in self.outcomes)
        facts = {"robust_accuracy": self.accuracy, "examples": len(self.outcomes)}
        return facts | {"attacks": list(self.attacks), "conditions": self.conditions, "outcomes": marks}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Verdict:
        """The verdict of a baseline file. Raises TemperError when it is none."""
        try:
            marks = [ROBUST if mark == STANDS else int(mark) for mark in stored["outcomes"]]
            return cls(np.array(marks, dtype=np.uint8), tuple(stored["attacks"]), stored["conditions"])
        except (KeyError, TypeError, ValueError) as error:
            raise TemperError(
                f"the baseline is damaged ({type(error).__name__}: {error}): `pytest --temper-update`"
            ) from None

    def in_words(self) -> str:
        """Accuracy, interval, and what broke the others."""
        low, high = self.interval()
        counts = Counter(int(outcome) for outcome in self.outcomes if outcome != ROBUST)
        broken = [f"{counts[k]} {_words(k, self.attacks)}" for k in sorted(counts)]
        share = f"{100 * self.accuracy:.1f} % (95% interval {100 * low:.1f} to {100 * high:.1f} %)"
        return f"{share} of {counted(len(self.outcomes), 'example')}; {', '.join(broken) or 'none broken'}"


def judge(
    model: Callable[[Tensor], Tensor],
    scenario: str | Path | Scenario,
    *,
    examples: int | None = None,
    protocol: Protocol = "standard",
    batch_size: int | None = None,
) -> Verdict:
    """The verdict on a model (inputs (B, ...) inside the scenario's bounds to logits (B, K), anything that
    `bench.evaluate` takes), on the first `examples` of the test split of a scenario (on all, for None), where the model
    lies. Raises TemperError for what makes no sense."""
    found = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
    spec = found.evaluation
    test = _examples(found, examples)
    evaluation = evaluate(
        model,
        test.inputs(),
        test.y,
        threat=found.threat,
        protocol=protocol,
        randomness=spec.randomness,
        seed=spec.seed,
        batch_size=batch_size or spec.batch_size,
        diagnose=False,
    )
    fixed = found.model_dump(mode="json", include={"threat", "evaluation"}, exclude={"evaluation": {"batch_size"}})
    fixed |= {"protocol": protocol, "evaluator": EVALUATOR_VERSION, "examples": test.digest()}
    if evaluation.attacks != PROTOCOLS[protocol]:  # a model without a gradient gets others
        fixed["attacks"] = evaluation.attacks
    return Verdict(evaluation.outcomes, evaluation.attacks, digest(fixed))


def too_low(verdict: Verdict, at_least: float) -> str:
    """Why a robust accuracy of `at_least` in [0, 1] is refuted: the interval lies below it. Empty where it does not."""
    if not 0 <= at_least <= 1:
        raise TemperError(f"at_least is a fraction in [0, 1], got {at_least}; 45 % is 0.45")
    if verdict.interval()[1] >= at_least:
        return ""
    return f"robust accuracy lies below at_least = {100 * at_least:.1f} %: {verdict.in_words()}"


def fell(before: Verdict, now: Verdict) -> str:
    """Why the robust accuracy fell significantly (one-sided exact McNemar test on the same examples, 5%), and which
    examples changed; empty where it did not. Raises TemperError for verdicts that cannot be compared."""
    if before.conditions != now.conditions:
        raise TemperError(
            "the baseline was judged on other examples, or by another threat model or protocol; where that is meant, "
            "run `pytest --temper-update`"
        )
    apart = mcnemar(before.robust, now.robust)
    lost, won = apart.only_first, apart.only_second
    p = binomtest(lost, lost + won, alternative="greater").pvalue if lost else 1.0
    if p >= SIGNIFICANT:
        return ""
    lines = outcome_changes(before.outcomes, now.outcomes, now.attacks)
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n  ".join(
        [
            f"robust accuracy fell from {100 * before.accuracy:.1f} %: {now.in_words()}",
            f"{counted(lost, 'example')} lost robustness, {won} gained it (one-sided McNemar test: p = {p:.2g})",
            *lines[:SHOWN],
            *more,
        ]
    )


def _words(outcome: int, attacks: tuple[str, ...]) -> str:
    name = outcome_name(outcome, attacks)
    return name if outcome == MISCLASSIFIED else f"broken by {name}"


def _examples(scenario: Scenario, count: int | None) -> Split:
    """The first `count` test examples."""
    from bench.data import Split, load

    test = load(scenario.data, ("test",))["test"]
    if count is None:
        return test
    if not 1 <= count <= len(test):
        raise TemperError(f"examples must be 1 to {len(test)} (the test split of {scenario.name}), got {count}")
    return Split(test.x[:count], test.y[:count])
