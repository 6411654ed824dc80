"""The evaluation stage: from weights on disk to outcomes on the test split."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bench.data import Split, load
from bench.errors import TemperError
from bench.evaluation import Progress, evaluate
from bench.evaluation.beyond import beyond
from bench.evaluation.bounds import hidden_units, proved_robust
from bench.evaluation.columns import accuracy_curve
from bench.evaluation.further import further_attacks
from bench.evaluation.inputs import prepare
from bench.evaluation.summary import outcome_hashes, summarise
from bench.execution.job import RESULTS, Job
from bench.execution.surroundings import surroundings
from bench.execution.train import make_deterministic
from bench.execution.worker import tell
from bench.files import replacing, write_text
from bench.networks import build, load_weights
from bench.protocol import ROBUST
from bench.records import EvaluationRecord
from bench.scenario import Scenario
from bench.teachers import load_teacher

PROVABLE = 4000  # hidden units of a network that is small enough to prove something about all the time
RESTARTS = 0  # of the attacks beyond AutoAttack: with up to 10 classes, MALT is such a restart already


def judge(job: Job, folder: Path) -> None:
    """Evaluate the best weights (and the last, by cheap attacks) on the test split; goes on where it was stopped."""
    make_deterministic()
    scenario = job.scenario
    started = time.perf_counter()
    test = load(scenario.data, ("test",))["test"].to(job.device)
    last, best = (load_network(scenario, folder / f"{name}.safetensors", job.device) for name in ("last", "best"))
    seen = beside(last, test, scenario)
    verdict = outcomes_of(best, test, scenario, _tell, folder=folder / "ledgers", teacher=_teacher(job))
    with replacing(folder / "outcomes.parquet") as temporary:
        verdict.frame.to_parquet(temporary, index=False)
    result = EvaluationRecord(
        **summarise(verdict.frame),
        **verdict.told,
        protocol_fingerprint=scenario.protocol_fingerprint(),
        last={name: float(np.mean(seen[name])) for name in ("clean", "pgd-20")},
        outcomes=outcome_hashes(verdict.frame),
        seconds=time.perf_counter() - started,
        surroundings=surroundings(job.device),
    )
    write_text(folder / RESULTS["evaluate"], result.model_dump_json())


@dataclass(frozen=True)
class Judgement:
    """What an evaluation found: a row an example, and what no table holds (diagnostics, curve, deviations)."""

    frame: pd.DataFrame
    told: dict[str, Any]


def outcomes_of(
    model: nn.Module,
    test: Split,
    scenario: Scenario,
    report: Progress,
    *,
    folder: Path | None = None,
    teacher: nn.Module | None = None,
) -> Judgement:
    """The verdicts of the scenario's protocol on a model, and all that is shown beside them.

    One row a test example: what `Evaluation.to_frame` holds, and bool columns of who is right under each further
    attack, under the attacks beyond AutoAttack, and who is proved robust.
    """
    spec, x, y = scenario.evaluation, test.inputs(), test.y
    seed, size = spec.seed, spec.batch_size
    further = beside(model, test, scenario)
    verdict = evaluate(
        model,
        x,
        y,
        threat=scenario.threat,
        protocol=spec.protocol,
        randomness=spec.randomness,
        progress=lambda done: report(0.7 * done),
        folder=folder,
        teacher=teacher,
        seed=seed,
        batch_size=size,
    )
    if verdict.protocol != spec.protocol:
        raise TemperError(
            f"the model has no gradient, so it was judged by `{verdict.protocol}`, not by the scenario's protocol"
        )
    standing = torch.from_numpy(verdict.outcomes == ROBUST)
    more = beyond(model, x, y, scenario.threat, standing, seed=seed, batch_size=size, restarts=RESTARTS)
    columns = {name: right for name, right in further.items() if name != "clean"}
    columns["beyond"] = more.left.numpy()
    report(0.85)
    curve = accuracy_curve(model, x, y, scenario.threat, seed=seed, batch_size=size)
    report(0.95)
    proved = _proved(model, x, y, more.left, scenario)
    if proved is not None:
        columns["proved"] = proved
    told = {
        "diagnostics": verdict.diagnostics,
        "deviations": list(verdict.deviations),
        "curve": list(curve.accuracy.items()),
    }
    return Judgement(verdict.to_frame().assign(**columns), told)


def _proved(model: nn.Module, x: Tensor, y: Tensor, left: Tensor, scenario: Scenario) -> np.ndarray | None:
    """Which of the examples that no attack broke are proved robust; None where that cannot be or takes too long."""
    if hidden_units(model, x) > PROVABLE:
        return None
    try:
        return proved_robust(model, x, y, scenario.threat, left=left).cpu().numpy()
    except TemperError:
        return None


def beside(model: nn.Module, test: Split, scenario: Scenario) -> dict[str, np.ndarray]:
    """Which examples are right clean and, where there is a gradient, under each attack beside the score: bool (N,) by
    name."""
    spec = scenario.evaluation
    with prepare(model, test.inputs(), test.y, scenario.threat, spec.batch_size) as judged:
        given = (judged.model, judged.x, judged.y, judged.threat)
        further = further_attacks(*given, seed=spec.seed, batch_size=spec.batch_size) if not judged.gradient else {}
        return {"clean": judged.right.cpu().numpy()} | further


def _tell(done: float) -> None:
    tell(stage="evaluate", done=done)


def _teacher(job: Job) -> nn.Module | None:
    """The scenario's robust teacher, for the diagnostic that wants one."""
    return load_teacher(job.scenario, "robust").to(job.device) if "robust" in job.scenario.teachers else None


def load_network(scenario: Scenario, path: Path, device: str = "cpu") -> nn.Module:
    """The scenario's student with these weights, in eval mode."""
    module = build(scenario.student, scenario.data.shape, scenario.data.classes)
    load_weights(module, path)
    return module.to(device).eval()
