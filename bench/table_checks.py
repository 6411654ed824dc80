"""Whether a table of outcomes can be one: the columns that every evaluation writes, the labels of the test split, and
columns that say the same of every example."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bench.evaluation.summary import BESIDE, OTHERS, unknown_columns
from bench.hashing import label_digest
from bench.protocol import ADAPTIVE, ATTACKS, FURTHER, MISCLASSIFIED, ROBUST, outcome_name
from bench.scenario import Scenario
from bench.words import counted

KINDS = {  # of the columns: what NumPy calls the kinds of their types
    **dict.fromkeys(("label", "prediction", "outcome", "target", "iteration", "forwards", "backwards"), "iu"),
    **dict.fromkeys(("margin", "distance", *(f"margin_{name}" for name in ATTACKS)), "f"),
    **dict.fromkeys(("verified", "proved", *BESIDE), "b"),
    "broken_by": "OT",
}
NOT_ALWAYS = ("proved",)  # columns that only some evaluations write, as those of ADAPTIVE
TARGETED = ("apgd-t", "fab-t")
FINDS_ONLY = "fab-t"  # tells a margin only of what it found
ITERATIONS = dict(zip(ATTACKS, (100, 100, 100, 5000), strict=True))
ROUNDING = 1e-5  # of the distance of an adversarial example, as in `Threat.contains`
ZERO = -float(np.finfo(np.float32).tiny)  # no margin below it is a rounded 0
Contradiction = tuple[np.ndarray, str]  # which examples, bool (N,), and what is said of them


def table_problems(frame: pd.DataFrame, scenario: Scenario | None) -> Iterator[str]:
    """Whether a table of outcomes can be one of this scenario at all; where that is not known, of any."""
    strange = set(np.unique(frame["outcome"])) - {MISCLASSIFIED, ROBUST, *range(1, len(ATTACKS) + 1)}
    if strange:
        yield f"outcomes.parquet holds unknown outcomes {sorted(int(each) for each in strange)}"
    if unknown := unknown_columns(frame):
        yield f"outcomes.parquet has columns that no evaluation writes: {', '.join(unknown)}"
    if scenario:
        yield from _test_split(frame, scenario)
    unfit = list(_unfit_columns(frame))
    yield from unfit
    if strange or unfit:
        return
    for which, words in _contradictions(frame, scenario):
        if which.any():
            examples = f"{counted(int(which.sum()), 'example')}, number {int(which.argmax())} among them"
            yield f"outcomes.parquet: {words}: {examples}"


def _test_split(frame: pd.DataFrame, scenario: Scenario) -> Iterator[str]:
    data = scenario.data
    if len(frame) != data.split.test:
        yield f"outcomes.parquet has {counted(len(frame), 'row')}, the test split {data.split.test}"
    elif data.labels and label_digest(frame["label"]) != data.labels:
        yield f"outcomes.parquet: the labels are not those of the test split of {scenario.name}, in its order"


def _unfit_columns(frame: pd.DataFrame) -> Iterator[str]:
    """Columns that are missing, twice there, or of another type than an evaluation writes."""
    names = [str(name) for name in frame.columns]
    always = [name for name in (*OTHERS, *BESIDE) if name not in NOT_ALWAYS]
    for name in [*always, *(name for name in names if name not in always)]:
        kinds = "b" if name.startswith(ADAPTIVE) else KINDS.get(name)
        if names.count(name) != 1:
            yield f"outcomes.parquet has {names.count(name) or 'no'} columns {name}"
        elif kinds and _kind(frame[name]) not in kinds:
            yield f"outcomes.parquet: the column {name} holds {frame[name].dtype}"


def _kind(column: pd.Series) -> str:
    """What NumPy calls the kind of a column's type; T for one of strings, whatever pandas stores it as."""
    return "T" if pd.api.types.is_string_dtype(column.dtype) else column.dtype.kind


def _contradictions(frame: pd.DataFrame, scenario: Scenario | None) -> Iterator[Contradiction]:
    outcome, right = frame["outcome"].to_numpy(), (frame["prediction"] == frame["label"]).to_numpy()
    yield right != (outcome != MISCLASSIFIED), "predictions and outcomes disagree on what is misclassified"
    words = [outcome_name(int(each)) for each in outcome]
    yield frame["broken_by"].to_numpy(object) != np.array(words, object), "`broken_by` is not the outcome in words"
    yield from _margins(frame, outcome)
    yield from _breaking(frame, outcome)
    yield from _distances(frame, outcome, scenario)
    yield from _classes(frame, scenario)
    yield from _calls(frame, outcome)
    yield from _further(frame, outcome)


def _margins(frame: pd.DataFrame, outcome: np.ndarray) -> Iterator[Contradiction]:
    """The clean margin, and the smallest that each attack saw: positive where it stood, NaN where it did not run."""
    clean, wrong = frame["margin"].to_numpy(), outcome == MISCLASSIFIED
    yield np.where(wrong, clean > 0, ~((clean >= 0) & np.isfinite(clean))), "`margin` is not that of the outcome"
    for number, name in enumerate(ATTACKS, start=1):
        seen = frame[f"margin_{name}"].to_numpy()
        ran, broke = ~wrong & (outcome >= number), outcome == number
        yield ~ran & ~np.isnan(seen), f"`margin_{name}` is a number where {name} did not run"
        yield broke & (seen > 0), f"`margin_{name}` is positive where {name} broke the example"
        stood = (seen >= ZERO) & (seen < np.inf) | ((name == FINDS_ONLY) & np.isnan(seen))
        yield ran & ~broke & ~stood, f"`margin_{name}` is not positive where the example stood against {name}"


def _breaking(frame: pd.DataFrame, outcome: np.ndarray) -> Iterator[Contradiction]:
    """The class that the breaking attack aimed at, and its iteration."""
    broken = (outcome != MISCLASSIFIED) & (outcome != ROBUST)
    target, iteration = frame["target"].to_numpy(), frame["iteration"].to_numpy()
    aimed = np.isin(outcome, [ATTACKS.index(name) + 1 for name in TARGETED])
    impossible = (target < 0) | (target == frame["label"].to_numpy())
    yield np.where(aimed, impossible, target != -1), "`target` is no class that the attack could aim at"
    last = np.zeros(256, int)
    last[1 : len(ATTACKS) + 1] = list(ITERATIONS.values())
    impossible = (iteration < 0) | (iteration > last[outcome])
    yield np.where(broken, impossible, iteration != -1), "`iteration` is none that the attack has"


def _distances(frame: pd.DataFrame, outcome: np.ndarray, scenario: Scenario | None) -> Iterator[Contradiction]:
    """How far adversarial examples are, as a share of the input range times the norm's unit: 0 where there is none."""
    broken = (outcome != MISCLASSIFIED) & (outcome != ROBUST)
    distance, verified = frame["distance"].to_numpy(), frame["verified"].to_numpy()
    yield verified & ~broken, "`verified` is true where nothing broke the example"
    yield ~broken & (distance != 0), "`distance` is not 0 where nothing broke the example"
    yield broken & ~(distance >= 0), "`distance` is no distance"
    if scenario:
        low, high = scenario.threat.bounds
        limit = np.float32(scenario.threat.eps / (high - low) + ROUNDING)
        yield verified & ~(distance <= limit), f"`distance` exceeds eps = {scenario.threat.eps:g} where `verified`"


def _classes(frame: pd.DataFrame, scenario: Scenario | None) -> Iterator[Contradiction]:
    for name, least in (("label", 0), ("prediction", -1), ("target", -1)):
        column = frame[name].to_numpy()
        beyond = column >= scenario.data.classes if scenario else np.zeros(len(column), bool)
        yield (column < least) | beyond, f"`{name}` is no class"


def _calls(frame: pd.DataFrame, outcome: np.ndarray) -> Iterator[Contradiction]:
    """Calls of the network: none for what is misclassified, and the most, in gradients, for what no attack broke."""
    wrong, robust = outcome == MISCLASSIFIED, outcome == ROBUST
    forwards, backwards = frame["forwards"].to_numpy(), frame["backwards"].to_numpy()
    for name, calls in (("forwards", forwards), ("backwards", backwards)):
        yield np.where(wrong, calls != 0, calls < 1), f"`{name}` cannot be those of the outcome"
    yield backwards > forwards, "`backwards` exceed `forwards`"
    if robust.any():
        most = backwards[robust].max()
        yield np.where(robust, backwards != most, backwards > most), "`backwards` are not those of a whole attack"


def _further(frame: pd.DataFrame, outcome: np.ndarray) -> Iterator[Contradiction]:
    """Who is right under further attacks, and who is proved robust: nobody that a weaker finding contradicts."""
    for name in FURTHER:
        yield frame[name].to_numpy() & (outcome == MISCLASSIFIED), f"`{name}` is true where the clean input is wrong"
    stronger = ["beyond", *(str(name) for name in frame.columns if str(name).startswith(ADAPTIVE))]
    for name in [*stronger, *(name for name in NOT_ALWAYS if name in frame)]:
        yield frame[name].to_numpy() & (outcome != ROBUST), f"`{name}` is true where an attack broke the example"
    if "proved" in frame:
        falls = ~frame[[*FURTHER, *stronger]].to_numpy().all(1)
        yield frame["proved"].to_numpy() & falls, "`proved` is true where a further attack broke the example"
