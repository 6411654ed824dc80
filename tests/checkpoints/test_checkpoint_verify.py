"""`temper verify` on one real checkpoint, doctored in one place at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.checkpoint_checks import verify_checkpoint, verify_checkpoints
from bench.checkpoints import FILE
from bench.evaluation.summary import outcome_hashes
from bench.stamp import record_text, write_stamped
from bench.verification import verify_records
from tests.checkpoints.made import put
from tests.ranking import made


@pytest.fixture
def row(judged, tmp_path) -> Path:
    """A copy to doctor."""
    return shutil.copytree(judged.leaderboards, tmp_path / "lb") / judged.row.relative_to(judged.leaderboards)


def edited(folder: Path, change: Callable[[dict[str, Any]], None]) -> list[str]:
    """What verify says after a change behind everybody's back that was stamped anew."""
    content = json.loads((folder / FILE).read_text())
    change(content)
    (folder / FILE).write_text(record_text(content))
    return verify_checkpoint(folder)


def replaced(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> list[str]:
    """What verify says after the outcomes were changed, with their hashes and the stamp."""
    frame = change(pd.read_parquet(folder / "outcomes.parquet"))
    frame.to_parquet(folder / "outcomes.parquet", index=False)
    content = json.loads((folder / FILE).read_text())
    content["evaluation"]["outcomes"] = outcome_hashes(frame)
    write_stamped(folder, content, FILE)
    return verify_checkpoint(folder)


def test_an_honest_one_verifies(row):
    assert verify_checkpoint(row) == []
    assert verify_checkpoints(row.parents[2]) == ([row], []) == verify_checkpoints(row)
    assert verify_records(row.parents[2]) == ([], []) == verify_records(row.parents[1])


def test_a_byte_is_named_by_the_stamp(row):
    text = (row / FILE).read_text()
    (row / FILE).write_text(text.replace("example.org", "example.com"))
    assert any("checkpoint.json was changed since it was saved" in each for each in verify_checkpoint(row))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["evaluation"].update(robust=0.999), "evaluation.robust is 0.999, the outcomes give"),
        (lambda c: c["evaluation"]["further"].update(cw=1.0), "evaluation.further is"),
        (lambda c: c["evaluation"].update(proved=None), "evaluation.proved is None, the outcomes give"),
        (lambda c: c["evaluation"].update(last={"clean": 0.5}), "evaluation.last"),
        (lambda c: c["evaluation"].update(surroundings=None), "where it was judged"),
        (lambda c: c["evaluation"]["diagnostics"]["large_eps"].update(value=0.9), "diagnostics.large_eps says pass"),
        (lambda c: c["evaluation"]["outcomes"].update(standard="0" * 64), "outcomes of standard hash to"),
        (lambda c: c.update(name="Another"), "wrong place, belongs in checkpoints/tiny/another"),
        (lambda c: c.update(scenario="digits-linf"), "wrong place"),
        (lambda c: c.update(source="javascript:alert(1)"), "not a valid checkpoint: source"),
        (lambda c: c.update(name="=1"), "not a valid checkpoint: name"),
        (lambda c: c.update(rank=1), "not a valid checkpoint: rank"),
        (lambda c: c["files"].clear(), "outcomes.parquet has SHA-256"),
    ],
)
def test_what_was_doctored_and_stamped_anew_is_named(change, says, row):
    problems = edited(row, change)
    assert any(says in problem for problem in problems), problems
    assert all(str(row) in problem and len(problem.splitlines()) == 1 for problem in problems)


def test_an_unstamped_one_is_named(row):
    content = json.loads((row / FILE).read_text())
    (row / FILE).write_text(json.dumps(content | {"digest": None}))
    assert any("unstamped" in problem for problem in verify_checkpoint(row))


def test_outcomes_that_were_made_better_do_not_give_the_accuracies(row):
    better = replaced(row, lambda frame: frame.assign(outcome=np.full(len(frame), 255, np.uint8)))
    assert any("evaluation.robust" in problem for problem in better)


def test_rows_that_are_missing_are_counted_where_the_scenario_ships(tmp_path):
    from bench.scenario import load_scenario

    folder = put(tmp_path, load_scenario("digits-linf"), "short", made.outcomes(0.5, 0))
    assert any("has 60 rows, the test split 600" in problem for problem in verify_checkpoint(folder))


def test_files_that_are_missing_or_too_many_are_named(row):
    (row / "best.safetensors").write_bytes(b"")
    assert any("best.safetensors does not belong to a checkpoint" in each for each in verify_checkpoint(row))
    (row / "best.safetensors").unlink()
    (row / "outcomes.parquet").unlink()
    assert any("outcomes.parquet is missing" in each for each in verify_checkpoint(row))


def test_a_checkpoint_among_the_records_is_named(row):
    records = row.parents[2] / "records" / "tiny"
    records.mkdir(parents=True)
    shutil.copytree(row, records / row.name)
    assert any("belongs to no record" in problem for problem in verify_records(row.parents[2])[1])
    assert any("wrong place" in problem for problem in verify_checkpoints(records)[1])
