"""The evaluation stage: from weights on disk to outcomes on the test split."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor, nn

from bench.data import load
from bench.evaluation import Evaluation, evaluate, judging
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
    x, y = test.inputs(), test.y
    last = further(_network(job, folder / "last.safetensors"), x, y, scenario)
    best = _network(job, folder / "best.safetensors")
    beside = further(best, x, y, scenario)
    spec = scenario.evaluation
    verdict = evaluate(
        best,
        x,
        y,
        threat=scenario.threat,
        seed=spec.seed,
        batch_size=spec.batch_size,
        progress=lambda done: tell(stage="evaluate", done=done),
    )
    frame = outcome_frame(verdict, beside)
    with replacing(folder / "outcomes.parquet") as temporary:
        frame.to_parquet(temporary, index=False)
    result = EvaluationRecord(
        **summarise(frame),
        protocol_fingerprint=scenario.protocol_fingerprint(),
        last={name: float(np.mean(last[name])) for name in ("clean", "pgd-20")},
        outcomes=outcome_hashes(frame),
        diagnostics=verdict.diagnostics,
        seconds=time.perf_counter() - started,
    )
    write_text(folder / RESULTS["evaluate"], result.model_dump_json())


def further(model: nn.Module, x: Tensor, y: Tensor, scenario: Scenario) -> dict[str, np.ndarray]:
    """Clean verdicts and those of the attacks beside the score."""
    spec = scenario.evaluation
    with judging(model):
        verdicts = further_attacks(model, x, y, scenario.threat, seed=spec.seed, batch_size=spec.batch_size)
        clean = [
            (model(x[k : k + spec.batch_size]).argmax(1) == y[k : k + spec.batch_size]).cpu().numpy()
            for k in range(0, len(x), spec.batch_size)
        ]
    return {"clean": np.concatenate(clean)} | verdicts


def outcome_frame(verdict: Evaluation, further: dict[str, np.ndarray]) -> pd.DataFrame:
    """One row a test example: label, prediction, outcome byte, and whether it is right under each further attack."""
    frame = verdict.to_frame().drop(columns="broken_by")
    return frame.assign(**{name: right for name, right in further.items() if name != "clean"})


def _network(job: Job, path: Path) -> nn.Module:
    module = build(job.scenario.student, job.scenario.data.shape, job.scenario.data.classes)
    load_weights(module, path)
    return module.to(job.device).eval()
