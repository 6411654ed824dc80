"""Whether the diagnostics of an evaluation are all there, with fixed thresholds, and are what the outcomes give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.evaluation.diagnostics import FEW, POINTS, PRECISION, TOLERANCE
from bench.protocol import ADAPTIVE, ATTACKS, MISCLASSIFIED, ROBUST, called_for

COUNTS = ("outside_the_ball", "fooling_no_more", "non_finite", "side_effects")  # trip above 0
PASSES = ("stochastic_forward", "batch_dependence")  # differences between logits
DOUBLE = "precision"  # and between float32 and float64
SHARES = (  # of the test examples
    *("probabilities", "zero_gradients", "square_gain", "fgsm_beats_pgd", "more_steps", "large_eps", "logit_scaling"),
    "transfer",
)
FAILS = (*COUNTS, *PASSES, "probabilities")  # what trips them is no doubt: `fail`; the others `warn`
NOT_ALWAYS = ("non_finite", DOUBLE, "transfer")  # newer than some records; of a scenario with a teacher
FIELDS = ("value", "threshold", "verdict", "words")
NOT_RUN = {"value": 1, "threshold": 0, "verdict": "not run"}


def sign_problems(signs: Mapping[str, Any], frame: pd.DataFrame, *, teacher: bool) -> Iterator[str]:
    """What cannot be of the diagnostics `signs` that stand beside a table of outcomes, whose columns agree.

    `teacher`: the model was judged beside one, so that `transfer` must be there.
    """
    known = (*COUNTS, *PASSES, DOUBLE, *SHARES)
    needed = [name for name in known if name not in NOT_ALWAYS or (name == "transfer" and teacher)]
    for name in needed:
        if name not in signs:
            yield f"evaluation.diagnostics: {name} is missing"
    for name, sign in signs.items():
        if name not in known and not name.startswith(ADAPTIVE):
            yield f"evaluation.diagnostics: {name!r} is none that an evaluation has"
        elif not _well_formed(name, sign):
            yield f"evaluation.diagnostics.{name} is no diagnostic: {sign}"
        elif any(sign[field] != value for field, value in NOT_RUN.items()):
            yield from _one(name, signs, len(frame))
    if set(needed) <= set(signs) and all(_well_formed(name, sign) for name, sign in signs.items()):
        yield from _recomputed(signs, frame)
        yield from _answers(signs, frame)


def _well_formed(name: str, sign: Any) -> bool:
    """Whether it has the fields of a diagnostic, and no others; `name` is left out in a count."""
    if not isinstance(sign, dict) or set(sign) - {"name"} != set(FIELDS) or sign.get("name", name) != name:
        return False
    numbers = all(type(sign[field]) in (int, float) for field in ("value", "threshold"))
    return numbers and isinstance(sign["words"], str) and sign["words"].isprintable()


def _one(name: str, signs: Mapping[str, Any], examples: int) -> Iterator[str]:
    """A diagnostic that ran: its threshold, its verdict, and whether its value is possible."""
    sign, where = signs[name], f"evaluation.diagnostics.{name}"
    value, threshold, verdict = sign["value"], sign["threshold"], sign["verdict"]
    if name.startswith(ADAPTIVE):
        yield f"{where} is there only for an attack that could not run, and says {verdict}"
        return
    fixed = _threshold(name, signs, examples)
    if not math.isclose(threshold, fixed):
        yield f"{where}.threshold is {threshold}, it must be {fixed}"
    due = ("fail" if name in FAILS else "warn") if value > threshold else "pass"
    if verdict != due:
        yield f"{where} says {verdict} for {value}, with threshold {threshold}"
    whole = value * examples if name in SHARES else value
    if name not in (*PASSES, DOUBLE) and not (whole >= 0 and math.isclose(whole, round(whole), abs_tol=1e-6)):
        yield f"{where}.value is {value}, which is not a number of {examples} examples"


def _threshold(name: str, signs: Mapping[str, Any], examples: int) -> float:
    """Above which value a diagnostic trips."""
    if name in COUNTS:
        return 0.0
    if name == DOUBLE:
        return PRECISION
    if name in SHARES:
        return max(POINTS, FEW / examples)
    again = signs.get("stochastic_forward", {}).get("value", 0.0) if name == "batch_dependence" else 0.0
    return float(max(TOLERANCE, 3 * again))


def _recomputed(signs: Mapping[str, Any], frame: pd.DataFrame) -> Iterator[str]:
    """The diagnostics that follow from the outcomes."""
    outcome = frame["outcome"].to_numpy()
    broken = (outcome != MISCLASSIFIED) & (outcome != ROBUST)
    unverified = int((broken & ~frame["verified"].to_numpy()).sum())
    told = signs["outside_the_ball"]["value"] + signs["fooling_no_more"]["value"]
    if told != unverified:
        yield (
            f"evaluation.diagnostics: outside_the_ball and fooling_no_more make {told}, the outcomes have "
            f"{unverified} that are broken and not verified"
        )
    square = float(np.mean(outcome == ATTACKS.index("square") + 1))
    if signs["square_gain"]["verdict"] != NOT_RUN["verdict"] and signs["square_gain"]["value"] != square:
        yield f"evaluation.diagnostics.square_gain.value is {signs['square_gain']['value']}, the outcomes give {square}"
    silent, told = int((frame["prediction"] < 0).sum()), signs.get("non_finite", {}).get("value", 0)
    if told < silent:
        yield f"evaluation.diagnostics.non_finite: {told}, and {silent} predictions are none"


def _answers(signs: Mapping[str, Any], frame: pd.DataFrame) -> Iterator[str]:
    """Whether the stronger attacks that tripped diagnostics call for ran (or are told not to have), and no others."""
    called = called_for(signs)
    ran = {str(name).removeprefix(ADAPTIVE) for name in [*frame.columns, *signs] if str(name).startswith(ADAPTIVE)}
    if called != ran:
        yield (
            f"evaluation.diagnostics call for the stronger attacks {', '.join(sorted(called)) or 'none'}, "
            f"and those that ran are {', '.join(sorted(ran)) or 'none'}"
        )
