"""Doctored records: what somebody might do to records of a method, stamps and all, and which check refuses it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.evaluation.summary import outcome_hashes, summarise
from bench.protocol import ATTACKS, MISCLASSIFIED, ROBUST, outcome_name
from bench.records import read_record
from bench.scenario import load_scenario
from bench.stamp import record_text, write_stamped
from bench.verification import FILES
from tests.recorded import SCENARIO, another, edit

METHOD, ROOT = "pgd-at", 3  # whose records are doctored; how far above them their `leaderboards` folder is
REEVALUATE = "verify --reevaluate"  # what finds what no other check can
Folders = list[Path]  # of the records of a row, by seed


@dataclass(frozen=True)
class Doctored:
    """A way to doctor records, on copies of a row's folders."""

    cheat: str
    words: str  # of the problem that is found
    check: str  # of what `verify` finds it, or REEVALUATE
    change: Callable[[Folders], None]


def retable(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change the table of outcomes, and make hashes, accuracies and stamp fit it again."""
    frame = change(pd.read_parquet(folder / "outcomes.parquet"))
    frame.to_parquet(folder / "outcomes.parquet", index=False)
    content = json.loads((folder / "record.json").read_text())
    content["evaluation"] |= summarise(frame) | {"outcomes": outcome_hashes(frame)}
    write_stamped(folder, content)


def recurve(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change every line of the learning curve, and make the stamp fit it again."""
    file = folder / "metrics.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        change(line)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    edit_stamped(folder, lambda content: None)


def edit_stamped(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the content of a record, and stamp it and the files beside it anew."""
    content = json.loads((folder / "record.json").read_text())
    change(content)
    write_stamped(folder, content)


def signs(change: Callable[[dict[str, Any]], object]) -> Callable[[Folders], None]:
    """Changes the diagnostics of the first record."""
    return lambda folders: edit(folders[0], lambda content: change(content["evaluation"]["diagnostics"]))


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Folders], None]:
    """Changes the table of outcomes of the first record."""
    return lambda folders: retable(folders[0], change)


def curve(change: Callable[[dict[str, Any]], None]) -> Callable[[Folders], None]:
    """Changes the learning curve of the first record."""
    return lambda folders: recurve(folders[0], change)


def score(folder: Path) -> float:
    """The robust accuracy that a record says."""
    return read_record(folder).evaluation.robust  # type: ignore[union-attr]


def sixth_seed(folders: Folders) -> None:
    another(folders[0].parents[ROOT], max(folders, key=score), seed_index=5, seed=load_scenario(SCENARIO).seed(5))


def lucky_seed(folders: Folders) -> None:
    sixth_seed(folders)
    shutil.rmtree(min(folders, key=score))


def same_student(folders: Folders) -> None:
    """The first record gets all that the last one has but its seed."""
    content = json.loads((folders[-1] / "record.json").read_text())
    for name in FILES[1:]:
        shutil.copy(folders[-1] / name, folders[0] / name)
    taken = {key: content[key] for key in ("training", "evaluation", "weights")}
    edit_stamped(folders[0], lambda own: own.update(taken))


def renamed(**changes: Any) -> Callable[[Folders], None]:
    """The records become those of a trial that differs in these fields."""

    def change(folders: Folders) -> None:
        for folder in folders:
            another(folder.parents[ROOT], folder, **changes)
            shutil.rmtree(folder)

    return change


def described(folders: Folders) -> None:
    for folder in folders:
        edit(folder, lambda content: content.update(family="ours", reference="<b>ours</b>"))


def all_zero(frame: pd.DataFrame) -> pd.DataFrame:
    """Every label 0, and predictions that keep the accuracy."""
    return frame.assign(label=0, prediction=np.where(frame["outcome"] == MISCLASSIFIED, 1, 0), target=-1)


def robust(frame: pd.DataFrame) -> pd.DataFrame:
    """Every example that was classified right is robust, under all attacks; the other columns stay."""
    stands = (frame["outcome"] != MISCLASSIFIED).to_numpy()
    outcome = np.where(stands, ROBUST, MISCLASSIFIED).astype(np.uint8)
    words = [outcome_name(int(each)) for each in outcome]
    further = dict.fromkeys(("fgsm", "pgd-20", "cw", "beyond"), stands)
    return frame.assign(outcome=outcome, broken_by=words, **further)


def robust_throughout(frame: pd.DataFrame) -> pd.DataFrame:
    """The same, and all columns say so."""
    frame = robust(frame)
    stands = frame["outcome"] == ROBUST
    margins = {f"margin_{name}": frame["margin"].where(stands) for name in ATTACKS}
    calls = {name: frame[name].max() * stands for name in ("forwards", "backwards")}
    none = {"target": np.int16(-1), "iteration": np.int16(-1), "distance": np.float32(0), "verified": False}
    return frame.assign(**margins, **calls, **none)


def all_robust(folders: Folders) -> None:
    """All columns, accuracies and diagnostics of the first record say that every example is robust."""
    retable(folders[0], robust_throughout)
    signs(lambda content: content["square_gain"].update(value=0.0, verdict="pass"))(folders)


def far(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(distance=frame["distance"].mask(frame["distance"] > 0, np.float32(99)))


def unverified(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(verified=frame["verified"] & (frame["iteration"] > 3))


def no_margin(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(margin=np.float32(np.nan))


def said_twice(folders: Folders) -> None:
    file = folders[0] / "record.json"
    file.write_text(file.read_text().replace('"clean":', '"clean": 0.999,\n  "clean":', 1))


def no_number(folders: Folders) -> None:
    file = folders[0] / "record.json"
    content = json.loads(file.read_text())
    content["evaluation"]["diagnostics"]["transfer"]["value"] = float("nan")
    file.write_text(record_text(content))


DOCTORED = [
    # rows
    Doctored(
        "adds the best student once more, as a sixth seed", "its weights are those of trial", "weights", sixth_seed
    ),
    Doctored("replaces the worst seed by a lucky sixth", "they must be 0 to n-1, each once", "seeds", lucky_seed),
    Doctored(
        "gives the first seed the best student, its outcomes and its training",
        "its weights are those of trial",
        "weights",
        same_student,
    ),
    # the method
    Doctored(
        "calls the students those of another method, of an invented version",
        "and the registered one is",
        "registration",
        renamed(method="trades", version="ours2026"),
    ),
    Doctored("invents a family and a reference", "is registered with", "registration", described),
    Doctored(
        "invents a hyper-parameter",
        "field 'beta'",
        "registration",
        renamed(hyperparameters={"beta": 6.0}),
    ),
    # outcomes
    Doctored("sets all labels to 0", "the labels are not those of the test split", "labels", table(all_zero)),
    Doctored(
        "turns the rows of the outcomes round",
        "the labels are not those of the test split",
        "labels",
        table(lambda frame: frame.iloc[::-1]),
    ),
    Doctored(
        "makes every example robust, against the margins that stand beside it",
        "is not positive where the example stood",
        "columns",
        table(robust),
    ),
    Doctored("has adversarial examples at a distance of 99", "`distance` exceeds eps", "columns", table(far)),
    Doctored("has no margins", "`margin` is not that of the outcome", "columns", table(no_margin)),
    Doctored(
        "lets further attacks break nothing",
        "`beyond` is true where an attack broke the example",
        "columns",
        table(lambda frame: frame.assign(beyond=True)),
    ),
    Doctored(
        "makes every example robust, and every column and diagnostic say so",
        "robust verdicts are equal",
        REEVALUATE,
        all_robust,
    ),
    # diagnostics
    Doctored(
        "leaves out a diagnostic", "more_steps is missing", "diagnostics", signs(lambda all: all.pop("more_steps"))
    ),
    Doctored(
        "raises the threshold of a diagnostic",
        "threshold is 0.5, it must be 0.01",
        "diagnostics",
        signs(lambda all: all["zero_gradients"].update(threshold=0.5, value=0.25)),
    ),
    Doctored(
        "has adversarial examples that fool no more, and a diagnostic that passes",
        "that are broken and not verified",
        "diagnostics",
        table(unverified),
    ),
    Doctored(
        "sets a diagnostic that warns to pass",
        "is recorded as pass, and found as warn",
        REEVALUATE,
        signs(lambda all: all["zero_gradients"].update(value=0.0, verdict="pass")),
    ),
    # JSON
    Doctored("says an accuracy twice", "the key 'clean' is there twice", "strict JSON", said_twice),
    Doctored("has a diagnostic of NaN", "NaN is no number in JSON", "strict JSON", no_number),
    Doctored(
        "has a loss of NaN",
        "metrics.jsonl is damaged: line 1: losses.student",
        "strict JSON",
        curve(lambda line: line["losses"].update(student=float("nan"))),
    ),
    Doctored(
        "has a metric whose name clears the screen",
        "must be one line of at most 200 printable",
        "strict JSON",
        curve(lambda line: line.update(metrics={"\x1b[2J": 1.0})),
    ),
    Doctored(
        "has fields in its learning curve that nobody knows",
        "metrics.jsonl is damaged: line 1: extra",
        "strict JSON",
        curve(lambda line: line.update(extra={"any": ["thing"]})),
    ),
]
