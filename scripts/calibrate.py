"""Measures what honest students look like, for the audits of submissions: `python scripts/calibrate.py`.

It judges the selected weights of every record that ships by PGD-10 on training and test images, which takes a minute
for 100 records, and writes `bench/submission/honest.json`. Scenarios whose data are not here keep what they had.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import torch

from bench.data import load
from bench.errors import TemperError
from bench.execution.judge import load_network
from bench.files import write_text
from bench.records import RunRecord, read_record, record_folders, shipped_leaderboards
from bench.scenario import load_scenario, shipped_scenarios
from bench.submission.audits import on_training
from bench.submission.honest import FILE, Honest, Line, honest_students


def main() -> None:
    """Measure, and write."""
    torch.set_num_threads(1)
    found = dict(honest_students())
    for name in shipped_scenarios():
        try:
            frame = students(name)
        except TemperError as error:
            print(f"{name}: {error}")
            continue
        if len(frame):
            found[load_scenario(name).train_fingerprint()] = summary(name, frame)
    write_text(FILE, json.dumps({key: each.model_dump() for key, each in sorted(found.items())}, indent=1) + "\n")


def students(name: str) -> pd.DataFrame:
    """A row a student: its row on the board, whether it saw data, and its accuracies."""
    scenario = load_scenario(name)
    records = [(folder, read_record(folder)) for folder in record_folders(shipped_leaderboards(), name)]
    able = [(folder, record) for folder, record in records if _whole(record, scenario.train_fingerprint())]
    splits = load(scenario.data, ("train", "test")) if able else {}
    rows = []
    for folder, record in able:
        assert record.training and record.evaluation
        network = load_network(scenario, folder / "best.safetensors")
        train, test = on_training(network, scenario, splits)
        validation = record.training.best.robust
        gap = record.evaluation.further["pgd-20"] - validation
        free = record.trial.track == "data-free"
        rows.append((record.trial.row, free, validation, gap, train, test - train))
    print(f"{name}: {len(rows)} students")
    return pd.DataFrame(rows, columns=["row", "free", "validation", "gap", "train", "seen"])


def summary(name: str, frame: pd.DataFrame) -> Honest:
    """The lines of a scenario."""
    strong = float(frame["validation"].max()) / 2
    counted = frame[frame["validation"] >= strong]
    seen = line(counted[~counted["free"]], "train", "seen")
    return Honest(
        scenario=name, students=len(counted), strong=strong, gap=line(counted, "validation", "gap"), seen=seen
    )


def line(frame: pd.DataFrame, accuracy: str, difference: str) -> Line:
    """Least squares, and the scatter about it between rows and within them."""
    slope, intercept = np.polyfit(frame[accuracy], frame[difference], 1)
    off = frame[difference] - intercept - slope * frame[accuracy]
    print(f"  {difference}: the farthest is {off.max() / off.std():.1f} standard deviations above the line")
    rows = off.groupby(frame["row"])
    within = float(np.sqrt(rows.var().mean()))
    return Line(intercept=float(intercept), slope=float(slope), between=float(rows.mean().std()), within=within)


def _whole(record: RunRecord, fingerprint: str) -> bool:
    return record.status == "complete" and record.trial.train_fingerprint == fingerprint and not record.withdrawn


if __name__ == "__main__":
    main()
