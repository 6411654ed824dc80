"""Checkpoints on a board: shown in every format, and without a part in any rank, tie, interval or difference."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO

import pandas as pd
import pytest
from scipy.stats import binomtest

from bench.ranking.across import across
from bench.ranking.board import ranking
from bench.ranking.collect import collect
from bench.ranking.explanation import explain
from bench.ranking.render import render
from bench.ranking.rows import Board, board_of, settings
from bench.ranking.tables import build_all
from bench.ranking.variance import image_interval
from bench.ranking.words import in_words, labels
from tests.checkpoints.made import put
from tests.ranking import made

SOURCE = "https://example.org/a?b=1&c=2"


@pytest.fixture
def board(tmp_path, monkeypatch) -> Board:
    """Three methods and three checkpoints, one of which is called like a method."""
    monkeypatch.setenv("TEMPER_SHIPPED", str(tmp_path / "none"))
    on = made.scenario()
    put(tmp_path, on, "mine", made.outcomes(0.4, 7), source=SOURCE)
    put(tmp_path, on, "pgd-at", made.outcomes(0.9, 8))
    put(tmp_path, on, "none robust", made.outcomes(0.0, 9))
    found = collect(on, tmp_path)
    rows = made.rows(tmp_path / "elsewhere", on, {"pgd-at": 0.6, "trades": 0.55, "kd": 0.1})
    return replace(made.board(on, *rows), checkpoints=board_of(on, found).checkpoints)


def test_the_interval_is_scipys(board):
    for robust, count in ((board.checkpoints[1].robust, 24), (board.checkpoints[2].robust, 0)):
        theirs = binomtest(count, made.IMAGES).proportion_ci(method="wilson")
        ours = image_interval(robust)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    row = ranking(board).set_index("method").loc["mine"]
    assert (row["robust_low"], row["robust_high"]) == (
        image_interval(board.checkpoints[1].robust).low,
        image_interval(board.checkpoints[1].robust).high,
    )


def test_they_stand_below_the_best_first_and_change_nothing_above(board):
    frame, without = ranking(board), ranking(replace(board, checkpoints=[]))
    below = frame.iloc[len(board.rows) :]
    assert list(below["method"]) == ["pgd-at", "mine", "none robust"]
    assert set(below["status"]) == set(below["family"]) == {"checkpoint"}
    for field in ("rank", "tie_group", "ruleset", "budget", "recipe", "track", "passes", "seconds", "gap_closed"):
        assert below[field].isna().all(), field
    pd.testing.assert_frame_equal(frame.head(len(without)), without, check_dtype=False)
    for attribute in ("minimum_detectable_difference", "teacher_cost"):
        assert frame.attrs[attribute] == without.attrs[attribute]
    assert explain(board, "pgd-at", "trades") == explain(replace(board, checkpoints=[]), "pgd-at", "trades")
    assert "trained elsewhere" in frame.attrs["caption"] and "elsewhere" not in without.attrs["caption"]
    assert across([board]).equals(across([replace(board, checkpoints=[])]))


def test_a_checkpoint_renames_no_method(board):
    assert labels(ranking(board))[:4] == ["pgd-at", "trades", "kd", "pgd-at (checkpoint)"]


def test_every_table_is_made_and_accuracies_are_those_of_the_outcomes(board):
    tables = build_all(board)
    frame = made.outcomes(0.4, 7)
    attacked = tables["attacks"].set_index("method").loc["mine"]
    assert attacked["cw"] == frame["cw"].mean() and attacked["after_square"] == 0.4
    by_class = tables["classes"].set_index("method").loc["mine"]
    robust = (frame["outcome"] == made.ROBUST).groupby(frame["label"]).mean()
    assert [by_class[f"class_{k}"] for k in range(10)] == pytest.approx(list(robust))
    assert "mine" not in {*tables["cost"]["method"], *tables["checkpoints"]["method"], *tables["published"]["method"]}


def test_every_format_says_what_it_is(board):
    frame = ranking(board)
    told = {form: render(frame, form).decode() for form in ("table", "markdown", "csv", "latex")}
    assert all("budget unknown" in told[form] for form in ("markdown", "latex"))
    assert "checkpoint: trained" in told["table"] and SOURCE in told["csv"]
    (row,) = [row for row in json.loads(render(frame, "json")) if row["method"] == "mine"]
    assert (row["status"], row["rank"], row["budget"], row["seeds"], row["reference"]) == (
        *("checkpoint", None, None, [], SOURCE),
    )
    parquet = pd.read_parquet(BytesIO(render(frame, "parquet"))).set_index("method")
    assert parquet.loc["mine", "status"] == "checkpoint" and parquet.loc["mine", "robust"] == 0.4
    assert list(in_words(frame)["notes"])[-1] == "checkpoint: trained elsewhere, budget unknown"


def test_on_the_terminal_a_line_stands_between(board):
    lines = render(ranking(board), "table").decode().splitlines()
    last, first = (next(k for k, line in enumerate(lines) if name in line) for name in ("clean-kd", "(checkpoint)"))
    assert first == last + 2 and lines[last + 1].startswith("├")


def test_those_of_other_fingerprints_and_damaged_ones_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_SHIPPED", str(tmp_path / "none"))
    on = made.scenario()
    put(tmp_path, on, "old", made.outcomes(0.4, 7), train_fingerprint="0" * 64)
    short = put(tmp_path, on, "short", made.outcomes(0.4, 7).head(59))
    found = collect(on, tmp_path)
    assert board_of(on, found).checkpoints == [] and [*found.checkpoints] == ["old"]
    assert found.problems == [f"{short / 'outcomes.parquet'} has 59 rows, the test split 60"]


def test_a_local_one_takes_the_place_of_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_SHIPPED", str(tmp_path / "shipped"))
    on = made.scenario()
    put(tmp_path / "shipped", on, "mine", made.outcomes(0.4, 7))
    put(tmp_path / "local", on, "mine", made.outcomes(0.5, 7), weights="b")
    (only,) = board_of(on, collect(on, tmp_path / "local")).checkpoints
    assert only.record.evaluation.robust == 0.5


def test_alone_they_make_the_default_board(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMPER_SHIPPED", str(tmp_path / "none"))
    on = made.scenario().model_copy(update={"teachers": {}})
    assert settings(collect(on, tmp_path)) == []
    put(tmp_path, on, "mine", made.outcomes(0.4, 7))
    (setting,) = settings(collect(on, tmp_path))
    board = board_of(on, collect(on, tmp_path), **setting)
    assert board.shows and board.stem == on.name
    assert list(ranking(board)["status"]) == ["checkpoint"]
    assert all(isinstance(frame, pd.DataFrame) for frame in build_all(board).values())
