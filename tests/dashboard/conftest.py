"""Boards for the tests of the dashboard: valid records with invented outcomes. Never shown as results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from bench.method import METHODS
from bench.protocol import ATTACKS, FURTHER, ROBUST
from bench.records import (
    CandidateRecord,
    EvaluationRecord,
    RunRecord,
    Surroundings,
    TrainingRecord,
    make_trial,
    trial_folder,
)
from bench.scenario import Scenario, load_scenario

CHANCES = {"trades": 0.80, "pgd-at": 0.754, "ard": 0.75, "rslad": 0.748, "gkd-logit": 0.70, "kd": 0.10}
ZEROS = "0" * 64


@pytest.fixture(scope="session")
def digits() -> Scenario:
    return load_scenario("digits-linf")


@pytest.fixture
def leaderboards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder of records, and no shipped ones."""
    import streamlit as st

    folder = tmp_path / "leaderboards"
    folder.mkdir()
    monkeypatch.setenv("TEMPER_LEADERBOARDS", str(folder))
    monkeypatch.setenv("TEMPER_SHIPPED", str(tmp_path / "nothing"))
    st.cache_data.clear()
    st.cache_resource.clear()
    yield folder
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def fill(leaderboards: Path, digits: Scenario) -> Callable[..., list[Path]]:
    """Write records of some methods with these chances to be robust; returns their folders."""

    def write(chances: Mapping[str, float] = CHANCES, seeds: int = 5, **more: Any) -> list[Path]:
        return write_records(leaderboards, digits, chances, seeds, **more)

    return write


def write_records(
    root: Path,
    scenario: Scenario,
    chances: Mapping[str, float] = CHANCES,
    seeds: int = 5,
    setting: Mapping[str, Any] = {},
    **more: Any,
) -> list[Path]:
    """Records of each method and seed under `root`, in a `setting` of the board; `more` goes into every record."""
    pairs = [(name, chance, index) for name, chance in chances.items() for index in range(seeds)]
    return [write_record(root, scenario, *pair, setting, **more) for pair in pairs]


def write_record(
    root: Path, scenario: Scenario, name: str, chance: float, seed_index: int, setting: Mapping[str, Any], **more: Any
) -> Path:
    """One valid record with its outcomes; images differ in difficulty, the same for all methods."""
    method = METHODS[name]()
    trial = make_trial(scenario, method, seed_index, **setting)
    outcomes = _outcomes(scenario, name, chance, seed_index)
    record = RunRecord(
        trial_id=trial.id,
        trial=trial,
        family=method.info.family,
        reference=method.info.reference,
        status="complete",
        training=_training(),
        evaluation=_evaluation(scenario, outcomes),
        surroundings=Surroundings(
            commit=None, dirty=None, versions={}, device="cpu", machine="invented for a test", threads=1
        ),
    )
    folder = trial_folder(root, trial)
    folder.mkdir(parents=True)
    record.model_copy(update=more).save(folder)
    outcomes.to_parquet(folder / "outcomes.parquet")
    return folder


def fail(folder: Path) -> None:
    """Make a record one of a trial that failed."""
    content = json.loads((folder / "record.json").read_text())
    content |= {"status": "failed", "failure": "NaN", "evaluation": None, "training": None, "weights": {}}
    (folder / "record.json").write_text(json.dumps(content))
    (folder / "outcomes.parquet").unlink()


def _outcomes(scenario: Scenario, name: str, chance: float, seed_index: int) -> pd.DataFrame:
    """Each image has an ease, each method and seed adds noise to it; robust above the threshold of that chance."""
    images = scenario.data.split.test
    ease = np.random.default_rng(0).normal(size=images)
    noise = np.random.default_rng([*name.encode(), seed_index]).normal(size=images)
    score = (ease + noise) / np.sqrt(2)
    outcome = np.where(score > norm.isf(chance), ROBUST, 1).astype(np.uint8)
    outcome[score < norm.isf(0.98)] = 0
    label = np.zeros(images, np.int64)
    return pd.DataFrame({"label": label, "prediction": label, "outcome": outcome})


def _evaluation(scenario: Scenario, outcomes: pd.DataFrame) -> EvaluationRecord:
    clean, robust = float((outcomes["outcome"] > 0).mean()), float((outcomes["outcome"] == ROBUST).mean())
    return EvaluationRecord(
        protocol_fingerprint=scenario.protocol_fingerprint(),
        clean=clean,
        robust=robust,
        attacks=dict.fromkeys(ATTACKS, robust),
        further=dict.fromkeys(FURTHER, robust),
        last={"clean": clean, "pgd-20": robust},
        outcomes={"standard": ZEROS},
        diagnostics={},
        seconds=1.0,
    )


def _training() -> TrainingRecord:
    candidate = CandidateRecord(step=1, progress=1.0, robust=0.5, clean=0.9, top_class=0.1)
    return TrainingRecord(
        steps=1,
        passes=2299.0,
        allowed=2300.0,
        counts={"student/forward": 2299 * 897},
        prices={"student": 1.0, "teacher": 8.6},
        seconds=40.0,
        device_seconds=40.0,
        peak_memory=0,
        curve=[candidate],
        best=candidate,
        collapsed=False,
    )
