"""The evaluation stage: from weights on disk to outcomes on the test split."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from bench.data import Split, load
from bench.evaluation import Progress, evaluate, judging
from bench.evaluation.further import further_attacks
from bench.evaluation.summary import outcome_hashes, summarise
from bench.execution.job import RESULTS, Job
from bench.execution.train import make_deterministic
from bench.execution.worker import tell
from bench.files import replacing, write_text
from bench.networks import build, load_weights
from bench.records import EvaluationRecord
from bench.scenario import Scenario


def judge(job: Job, folder: Path) -> None:
    """Evaluate the best weights (and, by the cheap attacks, the last) on the test split."""
    make_deterministic()
    scenario = job.scenario
    started = time.perf_counter()
    test = load(scenario.data, ("test",))["test"].to(job.device)
    last = beside(_network(job, folder / "last.safetensors"), test, scenario)
    best = _network(job, folder / "best.safetensors")
    frame, diagnostics = outcomes_of(best, test, scenario, lambda done: tell(stage="evaluate", done=done))
    with replacing(folder / "outcomes.parquet") as temporary:
        frame.to_parquet(temporary, index=False)
    result = EvaluationRecord(
        **summarise(frame),
        protocol_fingerprint=scenario.protocol_fingerprint(),
        last={name: float(np.mean(last[name])) for name in ("clean", "pgd-20")},
        outcomes=outcome_hashes(frame),
        diagnostics=diagnostics,
        seconds=time.perf_counter() - started,
    )
    write_text(folder / RESULTS["evaluate"], result.model_dump_json())


def outcomes_of(
    model: nn.Module, test: Split, scenario: Scenario, report: Progress
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The verdicts of the scenario's protocol on a model, and its diagnostics.

    One row a test example: label, prediction, outcome byte, and whether it is right under each further attack.
    """
    spec = scenario.evaluation
    further = beside(model, test, scenario)
    verdict = evaluate(
        model,
        test.inputs(),
        test.y,
        threat=scenario.threat,
        seed=spec.seed,
        batch_size=spec.batch_size,
        progress=report,
    )
    frame = verdict.to_frame().drop(columns="broken_by")
    columns = {name: right for name, right in further.items() if name != "clean"}
    return frame.assign(**columns), verdict.diagnostics


def beside(model: nn.Module, test: Split, scenario: Scenario) -> dict[str, np.ndarray]:
    """Which examples are right clean and under each attack beside the score: bool (N,) by name."""
    spec = scenario.evaluation
    x, y = test.inputs(), test.y
    with judging(model):
        with torch.no_grad():
            clean = torch.cat([model(part).argmax(1) for part in x.split(spec.batch_size)]) == y
        further = further_attacks(model, x, y, scenario.threat, seed=spec.seed, batch_size=spec.batch_size)
    return {"clean": clean.cpu().numpy()} | further


def _network(job: Job, path: Path) -> nn.Module:
    module = build(job.scenario.student, job.scenario.data.shape, job.scenario.data.classes)
    load_weights(module, path)
    return module.to(job.device).eval()
