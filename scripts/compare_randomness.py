"""How far AutoAttack's verdicts depend on its random numbers: `stable` against `compat`, and each against another seed.

python scripts/compare_randomness.py digits-linf --method pgd-at --method rslad > docs/randomness-digits-linf.md

Judges the stored students of seed 0 again. With `compat`, the outcomes are pyautoattack's own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

import bench
from bench.data import load
from bench.networks import build, load_weights
from bench.protocol import ROBUST
from bench.records import read_record, record_folders, shipped_leaderboards
from bench.scenario import Scenario, load_scenario

MODES = (("compat", 0), ("compat", 1), ("stable", 0), ("stable", 1))
PAIRS = ((0, 1), (2, 3), (0, 2))  # of modes


def outcomes(scenario: Scenario, weights: Path) -> list[np.ndarray]:
    """The outcomes (N,) of a student in each mode."""
    module = build(scenario.student, scenario.data.shape, scenario.data.classes)
    load_weights(module, weights)
    test = load(scenario.data, ("test",))["test"]
    found = []
    for randomness, seed in MODES:
        verdict = bench.evaluate(
            module, test.inputs(), test.y, threat=scenario.threat, randomness=randomness, seed=seed, diagnose=False
        )
        found.append(verdict.outcomes)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario")
    parser.add_argument("--method", action="append", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scenario = load_scenario(arguments.scenario)
    print(f"# What random numbers change: {scenario.name}\n\nWritten by `scripts/compare_randomness.py`. ", end="")
    print("Students of seed 0, all test images. A cell: how many verdicts differ / outcomes, attack included.\n")
    names = [f"{randomness}, seed {seed}" for randomness, seed in MODES]
    heads = [f"{names[a]} against {names[b]}" for a, b in PAIRS]
    print(f"| student | images | {' | '.join(f'robust %: {name}' for name in names)} | {' | '.join(heads)} |")
    print("|" + "---|" * (2 + len(names) + len(heads)))
    for folder in record_folders(shipped_leaderboards(), scenario.name):
        trial = read_record(folder).trial
        if trial.method not in arguments.method or trial.seed_index:
            continue
        found = outcomes(scenario, folder / "best.safetensors")
        cells = [f"{100 * np.mean(each == ROBUST):.2f}" for each in found]
        cells += [f"{_verdicts(found[a], found[b])} / {int((found[a] != found[b]).sum())}" for a, b in PAIRS]
        print(f"| {trial.method} | {len(found[0])} | {' | '.join(cells)} |", flush=True)


def _verdicts(one: np.ndarray, other: np.ndarray) -> int:
    return int(((one == ROBUST) != (other == ROBUST)).sum())


if __name__ == "__main__":
    main()
