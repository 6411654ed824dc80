"""`temper leaderboard`: which table, in which format, to where."""

from __future__ import annotations

import json

import pandas as pd
import pytest


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["digits-linf", "--format", "parquet"], "--output FILE"),
        (["--table", "cost"], "the table 'cost' is of one scenario, 0 are named"),
        (["digits-linf", "fashion-mnist-small-linf", "--table", "ranking"], "`across` compares several"),
        (["digit-linf"], "did you mean digits-linf"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, says, temper):
    result = temper("leaderboard", *arguments)
    assert (result.code, result.out) == (2, "") and says in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_any_table_can_be_printed(temper):
    rows = json.loads(temper("leaderboard", "digits-linf", "--table", "attacks", "--json").out)
    assert {"after_square", "pgd_20", "beyond"} <= rows[0].keys()
    assert "worst class" in temper("leaderboard", "digits-linf", "--table", "classes").out


def test_no_scenario_is_the_table_across_all_that_have_records(temper):
    def gains(*scenarios: str) -> dict[str, float]:
        return {
            row["method"]: row["digits-linf"] for row in json.loads(temper("leaderboard", *scenarios, "--json").out)
        }

    assert gains()["pgd-at"] == 0
    assert gains("digits-linf", "digits-linf") == gains()


@pytest.mark.parametrize("form", ["table", "csv"])
def test_a_file_holds_what_the_terminal_shows(form, temper, tmp_path):
    shown = temper("leaderboard", "digits-linf", "--format", form).out
    result = temper("leaderboard", "digits-linf", "--format", form, "--output", tmp_path / "deep" / "board")
    assert result.out == "" and "wrote" in result.err
    assert (tmp_path / "deep" / "board").read_text() == shown


def test_parquet_goes_to_a_file(temper, tmp_path):
    assert temper("leaderboard", "digits-linf", "--format", "parquet", "-o", tmp_path / "b.parquet").code == 0
    assert pd.read_parquet(tmp_path / "b.parquet")["rank"].dropna().tolist()[:2] == [1, 2]


def test_an_empty_board_can_be_any_table(tiny, temper):
    for table, says in (("classes", "no records"), ("published", "no records"), ("across", "no method is ranked")):
        result = temper("leaderboard", tiny, "--table", table)
        assert (result.code, result.out) == (0, "")
        assert says in result.err and len(result.err.strip().splitlines()) == 1
        assert temper("leaderboard", tiny, "--table", table, "--json").out == "[]\n"


def test_an_explanation_is_sentences_or_json(temper):
    words = temper("leaderboard", "digits-linf", "--explain", "pgd-at", "kd")
    assert "pgd-at beats kd by" in words.out
    found = json.loads(temper("leaderboard", "digits-linf", "--explain", "pgd-at", "kd", "--json").out)
    assert found["winner"] == "pgd-at" and found["text"] == words.out.strip()
    assert "no format 'csv'" in temper("leaderboard", "digits-linf", "--explain", "pgd-at", "kd", "--format", "csv").err


def test_a_release_that_cannot_be_made_says_why(temper):
    result = temper("leaderboard", "--release", "2999-01-01")
    assert result.code == 2 and "in the future" in result.err
