"""Whether a record agrees with itself and its scenario, without the files beside it.

Nothing here can be computed again from what is stored, but most of it follows from something else that is: passes from
counts and prices, the selection from its candidates, shares from whole numbers of examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from bench.budget import Budget, Meter
from bench.errors import TemperError
from bench.evaluation.columns import curve_radii
from bench.hashing import digest, file_digest
from bench.learning_curve import CurveLine
from bench.method import METHODS, make_method
from bench.records import CandidateRecord, EvaluationRecord, RunRecord, SubmissionRecord, TrainingRecord
from bench.registry import file_of
from bench.scenario import PGD10_EPOCH, Scenario, load_scenario, shipped_scenarios
from bench.submission.audits import AUDITED, confirming_seed, gap_audit
from bench.training.schedule import learning_rate
from bench.words import counted

EARLIER_REFERENCES = {"arXiv:2211.12860": "Huang et al., CVPR 2023"}  # in records from before a better one was given
SHARES = ("robust", "clean", "top_class")  # of the validation split, in a candidate


def answers(check: Iterator[str]) -> Iterator[str]:
    """What a check finds. Content that was made to hurt can raise anything in it, and that is a finding too."""
    try:
        yield from check
    except TemperError as error:
        yield str(error)
    except Exception as error:
        yield f"cannot be checked: {type(error).__name__}: {error}"


def shipped_scenario(record: RunRecord) -> Scenario | None:
    """The scenario that a record was trained on, where it ships, is known without its data, and is still the same."""
    name = record.trial.scenario
    scenario = load_scenario(name) if name in shipped_scenarios() else None
    same = scenario and scenario.pinned and scenario.train_fingerprint() == record.trial.train_fingerprint
    return scenario if same else None


def content_problems(record: RunRecord) -> Iterator[str]:
    """What a record says that cannot be: trial id, method, seed, budget, selection, accuracies."""
    scenario = shipped_scenario(record)
    yield from _identity(record, scenario)
    if record.submission:
        yield from answers(_submission(record, record.submission, scenario))
    if record.training:
        yield from answers(_training(record, record.training, scenario))
    if record.evaluation:
        yield from answers(verdict_problems(record.evaluation, scenario))
    if record.training and record.evaluation and len(record.weights) == 2:
        yield from _best_and_last(record, record.training, record.evaluation)


def _identity(record: RunRecord, scenario: Scenario | None) -> Iterator[str]:
    trial = record.trial
    if trial.id != record.trial_id:
        yield f"trial_id is {record.trial_id}, its trial hashes to {trial.id}"
    yield from _registered(record)
    about = record.submission
    if scenario and trial.seed != _seed(record, scenario):
        rule = f"the scenario's seed number {trial.seed_index}"
        yield f"seed {trial.seed} is not {'what its file and nonce give' if about and about.nonce else rule}"
    if scenario and about and about.nonce and trial.seed_index != scenario.seeds:
        yield f"trial.seed_index is {trial.seed_index}; that of a confirming trial is {scenario.seeds}"
    if record.tuned != bool(trial.optimiser):
        yield f"tuned is {record.tuned}, its trial has {'a' if trial.optimiser else 'no'} tuned optimiser"
    if record.status == "complete" and (record.evaluation is None or record.training is None):
        yield "a complete record needs training and evaluation"


def _registered(record: RunRecord) -> Iterator[str]:
    """Whether the method is one that is registered here, and described as it is. How an earlier version was
    described is no longer known; `bench.withdrawal` says whether its records may stay."""
    trial = record.trial
    if trial.method not in METHODS:
        yield f"method {trial.method!r} is not registered here"
        return
    info = METHODS[trial.method].info
    if trial.version != info.version:
        return
    reference = EARLIER_REFERENCES.get(record.reference, record.reference)
    told = {"family": record.family, "reference": reference, "track": trial.track}
    for name, value in told.items():
        if value != getattr(info, name):
            yield f"{name} is {value!r}, {trial.method} is registered with {getattr(info, name)!r}"
    settings = make_method(trial.method, trial.hyperparameters).model_dump(mode="json")
    if digest(settings) != digest(trial.hyperparameters):
        yield f"trial.hyperparameters are {trial.hyperparameters}, {trial.method} makes {settings} of them"


def _seed(record: RunRecord, scenario: Scenario) -> int:
    """The seed that a trial must have."""
    about, trial = record.submission, record.trial
    if about and about.nonce:
        return confirming_seed(trial.train_fingerprint, about.source, about.nonce)
    return scenario.seed(trial.seed_index)


def _submission(record: RunRecord, about: SubmissionRecord, scenario: Scenario | None) -> Iterator[str]:
    """Whether a submitted method is still the file that was judged, and its audits are what they must be."""
    if record.trial.method in METHODS:
        sha = file_digest(file_of(METHODS[record.trial.method]))
        if sha != about.source:
            yield f"was made by a method file of SHA-256 {about.source}; the registered one has {sha}"
    if record.status == "complete" and set(about.audits) != set(AUDITED):
        yield f"submission.audits are {', '.join(sorted(about.audits)) or 'none'}, they must be {', '.join(AUDITED)}"
    for name, audit in about.audits.items():
        if audit.verdict == "fail":
            yield f"submission.audits.{name} failed: {audit.words}"
    if scenario and record.status == "complete":
        now = gap_audit([record], scenario)
        if now.verdict == "fail":
            yield f"submission.audits.gap fails: {now.words}"


def curve_problems(lines: Sequence[CurveLine], record: RunRecord) -> Iterator[str]:
    """What the lines of a learning curve say that cannot be, beside the record of that training."""
    training = record.training
    for name in ("step", "progress", "passes"):
        if not _rises(getattr(line, name) for line in lines):
            yield f"metrics.jsonl: {name} does not rise from line to line"
    if training is None:
        return
    if not lines or (lines[-1].step, lines[-1].passes) != (training.steps, training.passes):
        yield f"metrics.jsonl does not end at step {training.steps} and {training.passes} passes, as the record does"
    reached = {(line.step, line.progress) for line in lines} | {(c.step, c.progress) for c in training.curve}
    if not all(_rises(column) for column in zip(*sorted(reached), strict=True)):
        yield "metrics.jsonl: steps and progress are not those of the candidates"
    scenario = shipped_scenario(record)
    spec = scenario.with_optimiser(record.trial.optimiser).optimiser if scenario else None
    for number, line in enumerate(lines, start=1):
        if spec and not math.isclose(line.learning_rate, learning_rate(spec, line.progress)):
            yield f"metrics.jsonl, line {number}: the learning rate is not the scenario's at that progress"


def _selection(training: TrainingRecord) -> Iterator[str]:
    curve = training.curve
    best = max(curve, key=lambda c: (c.robust, c.clean, c.step), default=training.best)
    if best != training.best:
        yield f"training.best is step {training.best.step}, the curve's best is step {best.step}"
    if not _rises(c.step for c in curve) or not _rises(c.progress for c in curve):
        yield "training.curve: steps and progress do not rise from candidate to candidate"
    if not curve or curve[-1].step != training.steps:
        yield f"training.curve does not end with a candidate at the last step, {training.steps}"
    for number, candidate in enumerate(curve):
        if candidate.robust > candidate.clean:
            yield f"training.curve.{number}: robust exceeds clean accuracy"


def _training(record: RunRecord, training: TrainingRecord, scenario: Scenario | None) -> Iterator[str]:
    yield from _selection(training)
    if training.passes > training.allowed and record.trial.ruleset == "compute":
        yield f"training spent {training.passes:.1f} passes, allowed were {training.allowed:.1f}"
    if training.prices.get("student") != 1:
        yield f"training.prices.student is {training.prices.get('student')}; it is 1 by definition"
    if scenario:
        yield from _spent(scenario, record, training)
        yield from _candidates(scenario, training)


def _spent(scenario: Scenario, record: RunRecord, training: TrainingRecord) -> Iterator[str]:
    """Passes and steps beside what was counted and what the scenario allows."""
    trial, examples = record.trial, scenario.data.split.train
    meter = Meter(student_flops=1)
    meter.restore({"counts": training.counts, "prices": training.prices})
    if not math.isclose(training.passes, meter.passes / examples):
        yield f"training.passes is {training.passes}, counts and prices give {meter.passes / examples}"
    allowed = scenario.passes(trial.budget)
    if not math.isclose(training.allowed, allowed):
        yield f"training.allowed is {training.allowed}, tier {trial.budget} of {trial.scenario} allows {allowed}"
    budget = Budget(trial.ruleset, allowed, examples, scenario.optimiser.batch_size, PGD10_EPOCH)
    if trial.ruleset == "epochs" and training.steps > budget.steps:
        yield f"training.steps is {training.steps}, tier {trial.budget} of {trial.scenario} allows {budget.steps}"


def _candidates(scenario: Scenario, training: TrainingRecord) -> Iterator[str]:
    """The selection beside the thresholds and the validation split of the scenario."""
    passed = [sum(c.progress >= due for due in scenario.selection.thresholds()) for c in training.curve]
    if not passed or not _rises([0, *passed[:-1]]):
        yield "training.curve: candidates were not taken at the scenario's thresholds"
    for number, candidate in enumerate(training.curve):
        for name in SHARES:
            yield from _share(
                f"training.curve.{number}.{name}", getattr(candidate, name), scenario.data.split.validation
            )
    if training.collapsed != _collapsed(training.best, scenario.data.classes):
        yield f"training.collapsed is {training.collapsed}, training.best says otherwise"


def _collapsed(best: CandidateRecord, classes: int) -> bool:
    from bench.training.selection import Candidate

    return Candidate(**best.model_dump()).collapsed(classes)


def verdict_problems(verdict: EvaluationRecord, scenario: Scenario | None) -> Iterator[str]:
    """What a verdict says that cannot be: a curve that rises or begins elsewhere, shares of no whole number of
    examples. Its diagnostics are checked beside the outcomes (`bench.sign_checks`)."""
    radii, shares = [radius for radius, _ in verdict.curve], [share for _, share in verdict.curve]
    if radii and (not _rises(radii) or not _rises([-share for share in shares], strictly=False)):
        yield "evaluation.curve: accuracy must not rise with eps"
    if radii and (radii[0], shares[0]) != (0, verdict.clean):
        yield f"evaluation.curve.0 is {radii[0], shares[0]}, at eps 0 it is clean accuracy, {verdict.clean}"
    if radii and (radii[0], shares[0]) != (0, verdict.clean):
        yield f"evaluation.curve begins with {shares[0]} at {radii[0]}, clean accuracy is {verdict.clean}"
    if scenario:
        if radii and tuple(radii) != curve_radii(scenario.threat, tuple(scenario.data.shape)):
            yield "evaluation.curve: eps are not those at which the scenario's curve is drawn"
        if any(share < (verdict.proved or 0) for radius, share in verdict.curve if radius <= scenario.threat.eps):
            yield f"evaluation.proved is {verdict.proved}, and evaluation.curve shows fewer that stand"
        told = {f"last.{name}": share for name, share in verdict.last.items()}
        told |= {f"curve.{number}": share for number, share in enumerate(shares)}
        for name, share in told.items():
            yield from _share(f"evaluation.{name}", share, scenario.data.split.test)


def _best_and_last(record: RunRecord, training: TrainingRecord, verdict: EvaluationRecord) -> Iterator[str]:
    """The last candidate is the network at the end: where it is the best one too, both were judged alike."""
    same = training.best.step == training.steps
    if same != (record.weights["best"].sha256 == record.weights["last"].sha256):
        yield f"weights: best and last are {'not ' if same else ''}the same, training.best is step {training.best.step}"
    alike = {"clean": verdict.clean, "pgd-20": verdict.further.get("pgd-20")}
    if same and verdict.last != alike:
        yield f"evaluation.last is {verdict.last}, the best weights are the last ones and have {alike}"


def _share(name: str, share: float, examples: int) -> Iterator[str]:
    if not math.isclose(share * examples, round(share * examples), abs_tol=1e-6):
        yield f"{name} is {share}, which is not a fraction of {counted(examples, 'example')}"


def _rises(values: Iterable[float], *, strictly: bool = True) -> bool:
    return all(before < after or (before == after and not strictly) for before, after in pairwise(values))
