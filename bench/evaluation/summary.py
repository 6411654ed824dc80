"""The numbers and hashes that follow from a table of outcomes, and from nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.evaluation.columns import worst_class
from bench.protocol import ADAPTIVE, ATTACKS, FURTHER, MISCLASSIFIED, ROBUST, verdicts

BESIDE = (*FURTHER, "beyond")  # the columns that tell who is right under a further attack; others begin with ADAPTIVE
OTHERS = (  # the other columns that an evaluation of the scenario's protocol writes
    *("label", "prediction", "margin", "outcome", "target", "iteration", *(f"margin_{name}" for name in ATTACKS)),
    *("forwards", "backwards", "broken_by", "distance", "verified", "proved"),
)


def summarise(frame: pd.DataFrame, attacks: Sequence[str] = ATTACKS) -> dict[str, Any]:
    """Accuracies from outcomes: `clean`, `robust` (of record, see `verdicts`), `attacks` (left after each), `further`
    (under each), the `worst_class`, and the share `proved` robust (None where nothing was tried to prove)."""
    outcome = verdicts(frame)
    label, worst = worst_class(outcome, frame["label"].to_numpy())
    return {
        "clean": float(np.mean(outcome != MISCLASSIFIED)),
        "robust": float(np.mean(outcome == ROBUST)),
        "attacks": {name: float(np.mean(outcome > k)) for k, name in enumerate(attacks, start=1)},
        "further": {name: float(frame[name].mean()) for name in _further(frame)},
        "proved": float(frame["proved"].mean()) if "proved" in frame else None,
        "worst_class": {"label": float(label), "robust": worst},
    }


def outcome_hashes(frame: pd.DataFrame) -> dict[str, str]:
    """SHA-256 of the outcome bytes of AutoAttack (`standard`) and of each further attack, in test order."""
    sets = {"standard": frame["outcome"]} | {name: frame[name] for name in _further(frame)}
    return {name: hashlib.sha256(column.to_numpy(np.uint8).tobytes()).hexdigest() for name, column in sets.items()}


def unknown_columns(frame: pd.DataFrame) -> list[str]:
    """The columns that no evaluation writes."""
    return [name for name in map(str, frame.columns) if name not in (*OTHERS, *_further(frame))]


def _further(frame: pd.DataFrame) -> list[str]:
    return [name for name in map(str, frame.columns) if name in BESIDE or name.startswith(ADAPTIVE)]
