"""`verify --reevaluate`: stored weights judged once more on the test split, and their verdicts compared one by one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import load
from bench.errors import TemperError
from bench.evaluation import evaluate
from bench.execution.checkpoint import robust_teacher
from bench.networks import build, load_weights
from bench.protocol import ROBUST, verdicts
from bench.ranking.collect import read_outcomes
from bench.ranking.reproduction import AGREEMENT, outcome_changes
from bench.records import RunRecord, read_record
from bench.scenario import Scenario, load_scenario, shipped_scenarios
from bench.verification import Findings
from bench.words import counted

SHOWN = 3  # of the examples that changed
VERDICTS = ("pass", "warn", "not run", "fail")  # of a diagnostic, the best first
Report = Callable[[int, float], None]  # which of the records, and how far it is


def reevaluate(
    folders: Sequence[Path],
    count: int,
    *,
    seed: int,
    scenario: Scenario | None = None,
    data: Path | None = None,
    device: str = "cpu",
    report: Report = lambda number, done: None,
) -> Findings:
    """Judge `count` of the records in `folders` again, drawn by `seed`, by AutoAttack and the diagnostics as their
    scenario says.

    A problem is a record of whose verdicts (robust or not) less than 99% are equal, or with a diagnostic that trips and
    is recorded as better. `scenario` is one of the user's
    own; the others are those that ship. Raises TemperError when none of the records can be judged here: weights that
    lie elsewhere, another scenario, another protocol.
    """
    able = [(folder, made_on) for folder in folders if (made_on := _judged_by(folder, scenario, data))]
    if not able:
        raise TemperError(
            f"none of {counted(len(folders), 'record')} can be judged again: that takes stored weights, and a scenario "
            "that ships (or --scenario FILE) with the fingerprints of the record"
        )
    chosen = random.Random(seed).sample(able, min(count, len(able)))
    found = Findings(
        told=[f"judged again: {len(chosen)} of {counted(len(able), 'record')} that can be, drawn by --seed {seed}"]
    )
    for number, (folder, made_on) in enumerate(chosen):
        try:
            found += _compare(folder, made_on, device, lambda done, number=number: report(number, done))  # type: ignore[misc]
        except TemperError as error:
            found.problems.append(f"{folder}: cannot be judged again: {error}")
    return found


def _compare(folder: Path, scenario: Scenario, device: str, report: Callable[[float], None]) -> Findings:
    stored, verdict = verdicts(read_outcomes(folder)), read_record(folder).evaluation
    model = build(scenario.student, scenario.data.shape, scenario.data.classes)
    load_weights(model, folder / "best.safetensors")
    test, spec = load(scenario.data, ("test",))["test"].to(device), scenario.evaluation
    teacher, told = robust_teacher(scenario, device)
    again = evaluate(
        model.to(device).eval(),
        test.inputs(),
        test.y,
        threat=scenario.threat,
        protocol=spec.protocol,
        randomness=spec.randomness,
        seed=spec.seed,
        batch_size=spec.batch_size,
        progress=report,
        teacher=teacher,
    )
    found = _verdict(folder, stored, verdicts(again.to_frame()))
    found += _signs(folder, verdict.diagnostics if verdict else {}, again.diagnostics)
    found.told += [f"{folder}: {line}" for line in told]
    return found


def _verdict(folder: Path, stored: np.ndarray, outcomes: np.ndarray) -> Findings:
    """Both verdicts on every example, uint8 (N,)."""
    if len(stored) != len(outcomes):
        split = f"the test split has {counted(len(outcomes), 'example')}"
        return Findings([f"{folder}: {counted(len(stored), 'outcome')} stored, {split}"])
    equal = (stored == ROBUST) == (outcomes == ROBUST)
    robust = " -> ".join(f"{100 * np.mean(each == ROBUST):.2f}" for each in (stored, outcomes))
    line = f"{folder}: {equal.sum()} of {len(equal)} robust verdicts are equal, robust {robust} %"
    if np.mean(equal) >= AGREEMENT:
        return Findings(told=[f"{line}, {int((stored != outcomes).sum())} other outcomes"])
    first = "; ".join(outcome_changes(stored, np.where(equal, stored, outcomes))[:SHOWN])
    return Findings([f"{line}; at least {100 * AGREEMENT:.0f} % must be; {first}"])


def _signs(folder: Path, stored: Mapping[str, Any], found: Mapping[str, Any]) -> Findings:
    """The diagnostics of both, by name; a problem is one that trips, and that the record says is better."""
    findings = Findings()
    for name, sign in found.items():
        told, verdict = stored.get(name), sign["verdict"]
        recorded = told["verdict"] if isinstance(told, dict) and told.get("verdict") in VERDICTS else VERDICTS[0]
        line = f"{folder}: diagnostic {name} is recorded as {recorded}, and found as {verdict}: {sign['words']}"
        if verdict == "not run":
            findings.told.append(line)
        elif VERDICTS.index(recorded) < VERDICTS.index(verdict):
            findings.problems.append(line)
    return findings


def _judged_by(folder: Path, own: Scenario | None, data: Path | None) -> Scenario | None:
    """The scenario by which a record was judged, where it can be again."""
    try:
        record = read_record(folder)
    except TemperError:
        return None  # `verify_folder` says why
    name = record.trial.scenario
    if own is None and name not in shipped_scenarios():
        return None
    scenario = (own or load_scenario(name)).with_data(data)
    here = record.status == "complete" and (folder / "best.safetensors").is_file()
    return scenario if here and scenario.name == name and _made_on(record, scenario) else None


def _made_on(record: RunRecord, scenario: Scenario) -> bool:
    """Whether data, student and protocol are those of the record."""
    protocol = record.evaluation and record.evaluation.protocol_fingerprint
    return (
        record.trial.train_fingerprint == scenario.train_fingerprint() and protocol == scenario.protocol_fingerprint()
    )
