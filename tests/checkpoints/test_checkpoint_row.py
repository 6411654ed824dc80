"""`temper evaluate --add-row`, from a file to the table, and what it refuses before anything is judged."""

from __future__ import annotations

import json
import shutil

import pytest

from bench.checkpoints import read_checkpoint
from bench.hashing import file_digest
from bench.ranking.collect import read_outcomes
from bench.scenario import load_scenario
from tests.checkpoints.conftest import student


@pytest.fixture(autouse=True)
def _nothing_shipped(monkeypatch, tmp_path):
    monkeypatch.setenv("TEMPER_SHIPPED", str(tmp_path / "none"))


@pytest.fixture
def no_judging(monkeypatch):
    """Whoever judges now fails."""
    monkeypatch.setattr("bench.evaluate", lambda *_, **__: pytest.fail("judged"))
    monkeypatch.setattr("bench.execution.checkpoint.outcomes_of", lambda *_, **__: pytest.fail("judged"))


def test_the_record_says_what_was_judged(judged):
    record, scenario = read_checkpoint(judged.row), load_scenario(judged.scenario)
    assert (record.name, record.source, record.network) == ("Mine, v1", "https://example.org/x", "cnn")
    assert record.weights.sha256 == file_digest(judged.weights)
    assert record.current(scenario.train_fingerprint(), scenario.protocol_fingerprint())
    frame = read_outcomes(judged.row)
    assert len(frame) == 40 and {"fgsm", "pgd-20", "cw", "beyond", "proved"} <= set(frame)
    assert record.evaluation.diagnostics.keys() >= {"square_gain", "more_steps"} and record.evaluation.curve
    assert sorted(path.name for path in judged.row.iterdir()) == ["checkpoint.json", "outcomes.parquet"]
    assert str(judged.scenario.parent) not in (judged.row / "checkpoint.json").read_text()


def test_a_board_without_records_shows_it(judged, temper):
    root = ("--leaderboards", judged.leaderboards)
    shown = temper("leaderboard", judged.scenario, *root)
    assert shown.code == 0 and "Mine, v1" in shown.out and "no records" not in shown.err
    (row,) = json.loads(temper("leaderboard", judged.scenario, "--json", *root).out)
    assert row["status"] == "checkpoint" and row["robust"] == read_checkpoint(judged.row).evaluation.robust
    assert row["robust_low"] <= row["robust"] <= row["robust_high"]
    assert "no records of" in temper("leaderboard", judged.scenario, "--table", "published", *root).err


def test_verify_counts_it(judged, temper):
    result = temper("verify", judged.leaderboards)
    assert result.code == 0 and result.out.startswith("0 records, 1 checkpoint, 0 problems")
    assert json.loads(temper("verify", judged.row, "--json").out)["checkpoints"] == 1
    (judged.leaderboards / "checkpoints" / "notes.txt").write_text("x")
    try:
        stray = temper("verify", judged.leaderboards)
    finally:
        (judged.leaderboards / "checkpoints" / "notes.txt").unlink()
    assert stray.code == 1 and "notes.txt: belongs to no checkpoint" in stray.out


REFUSED = {
    "--protocol": ["--protocol", "screen"],
    "--engine": ["--engine", "reference"],
    "--seed": ["--seed", 1],
    "--shard": ["--shard", "1/2"],
    "--limit": ["--limit", 5],
    "--prove": ["--prove"],
    "--minimal-norm": ["--minimal-norm"],
    "--corrupted": ["--corrupted", "x.npy"],
}


@pytest.mark.parametrize("option", REFUSED)
def test_what_is_not_the_whole_protocol_is_no_row(option, tiny, temper, no_judging):
    result = temper("evaluate", student(tiny), "--scenario", tiny, "--add-row", "mine", *REFUSED[option])
    assert (result.code, result.out) == (2, "")
    assert f"leave out {option}, or --add-row" in result.err and len(result.err.splitlines()) == 1


def test_batches_matter_only_where_random_numbers_depend_on_them(tiny, temper, no_judging):
    tiny.write_text(tiny.read_text() + '[evaluation]\nrandomness = "compat"\n')
    result = temper("evaluate", student(tiny), "--scenario", tiny, "--add-row", "mine", "--batch-size", 20)
    assert result.code == 2 and "leave out --batch-size" in result.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--add-row", "=HYPERLINK(1)"], "for a formula"),
        (["--add-row", ""], "a name has 1 to 60 characters, this one 0"),
        (["--add-row", "mine", "--source", "javascript:x"], "a source is an address"),
        (["--source", "https://example.org"], "name the row with --add-row"),
    ],
)
def test_names_and_sources_are_checked_before_judging(options, says, tiny, temper, no_judging):
    result = temper("evaluate", student(tiny), "--scenario", tiny, *options)
    assert (result.code, result.out) == (2, "") and says in result.err and len(result.err.splitlines()) == 1


def test_a_name_that_other_weights_have_is_refused_before_judging(judged, temper, no_judging, tmp_path):
    root = shutil.copytree(judged.leaderboards, tmp_path / "copy")
    command = ["--scenario", judged.scenario, "--add-row", "Mine, v1", "--leaderboards", root]
    result = temper("evaluate", student(judged.scenario, seed=1), *command)
    assert result.code == 2 and "is a row of other weights" in result.err


def test_a_limit_is_said_and_is_no_result_of_the_board(tiny, temper):
    command = ["evaluate", student(tiny), "--scenario", tiny, "--limit", 3, "--batch-size", 2, "--protocol", "screen"]
    verdict = json.loads(temper(*command, "--json").out)
    assert (verdict["examples"], verdict["limit"]) == (3, 3)
    assert "first 3 of 40 examples: not a result of the board, never a row" in temper(*command).out
