"""Make the golden records anew: `python tests/golden/make.py`, from a clean checkout. Only where results must change.

Five seeds of rslad at equal epochs. All stay small: the table of outcomes keeps the columns that the record hashes, and
weights are kept of the first seed only.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from bench.execution.trials import Runner
from bench.method import make_method
from bench.records import make_trial, read_record, trial_folder
from bench.scenario import load_scenario

HERE = Path(__file__).parent
SEEDS = 5


def main() -> None:
    scenario = load_scenario(HERE / "golden.toml")
    shutil.rmtree(HERE / "records", ignore_errors=True)
    trials = [make_trial(scenario, make_method("rslad"), seed, ruleset="epochs") for seed in range(SEEDS)]
    problems = Runner(scenario, HERE, jobs=2).run(trials)
    assert problems == [], problems
    for trial in trials:
        slim(trial_folder(HERE, trial), weights=trial.seed_index == 0)


def slim(folder: Path, weights: bool) -> None:
    """Leave what the comparison needs."""
    record = read_record(folder)
    assert record.evaluation is not None
    hashed = [name for name in record.evaluation.outcomes if name != "standard"]
    table = pd.read_parquet(folder / "outcomes.parquet")[["label", "prediction", "outcome", "proved", *hashed]]
    table.to_parquet(folder / "outcomes.parquet", index=False, compression="zstd")
    (folder / "metrics.jsonl").write_text("")
    if not weights:
        for name in ("best", "last"):
            (folder / f"{name}.safetensors").unlink()


if __name__ == "__main__":
    main()
