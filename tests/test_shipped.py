"""What ships: records that verify and are complete, tables that follow from them, examples that load."""

from __future__ import annotations

import runpy
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from bench import leaderboard, load_student
from bench.method import METHODS
from bench.records import read_record, record_folders, shipped_leaderboards
from bench.scenario import load_scenario
from bench.verification import verify_folder

ROOT = Path(__file__).parent.parent
SHIPPED = shipped_leaderboards()
FOLDERS = list(record_folders(SHIPPED))


def test_every_record_verifies():
    assert FOLDERS
    assert [problem for folder in FOLDERS for problem in verify_folder(folder)] == []


def test_the_readme_s_picture_shows_today_s_records():
    picture = runpy.run_path(str(ROOT / "scripts" / "picture.py"))
    assert picture["carried"](picture["PICTURE"]) == picture["facts"](), "run `python scripts/picture.py`"


def test_every_record_was_made_by_committed_code():
    assert {read_record(folder).surroundings.dirty for folder in FOLDERS} == {False}


def test_the_digits_board_is_complete():
    board = leaderboard("digits-linf", leaderboards=SHIPPED)
    ranked = board[board["status"] == "ranked"]
    apart = leaderboard("digits-linf", track="data-free", leaderboards=SHIPPED)
    assert {*ranked["method"], *apart.loc[apart["status"] == "ranked", "method"]} == set(METHODS)
    assert all(seeds == [0, 1, 2, 3, 4] for seeds in ranked["seeds"])
    assert board.attrs["problems"] == []
    (teacher,) = board[board["family"] == "teacher"].to_dict("records")
    assert teacher["status"] == "unranked"
    assert teacher["robust"] > ranked["robust"].max()


def test_under_epochs_every_method_has_three_seeds():
    both = {"ruleset": "epochs", "leaderboards": SHIPPED}
    boards = [leaderboard("digits-linf", track=track, **both) for track in ("main", "data-free")]
    rows = pd.concat(board[board["family"] != "teacher"] for board in boards)
    assert sorted(rows["method"]) == sorted(METHODS)
    assert all(seeds[:3] == [0, 1, 2] for seeds in rows["seeds"])


@pytest.mark.parametrize("setting", [{"budget": "m"}, {"recipe": "strong"}], ids=str)
def test_other_settings_have_three_seeds_of_a_method_of_each_family(setting):
    board = leaderboard("digits-linf", leaderboards=SHIPPED, **setting)
    rows = board[board["family"] != "teacher"]
    assert {*rows["family"]} == {METHODS[name].info.family for name in METHODS}
    assert all(seeds == [0, 1, 2] for seeds in rows["seeds"])


def test_the_fashion_board_ranks_every_family():
    board = leaderboard("fashion-mnist-small-linf", leaderboards=SHIPPED)
    ranked = board[board["status"] == "ranked"]
    assert len(ranked) >= 12
    assert {*ranked["family"]} == {METHODS[name].info.family for name in METHODS}
    assert all(seeds == [0, 1, 2] for seeds in ranked["seeds"])


def test_seeds_are_shared_by_all_methods():
    trials = [read_record(folder).trial for folder in FOLDERS]
    seeds = {(t.scenario, t.seed_index): t.seed for t in trials}
    assert all(seeds[t.scenario, t.seed_index] == t.seed for t in trials)
    assert max(Counter(seeds.values()).values()) == 1


def test_a_shipped_student_says_what_its_record_says():
    from bench.data import load
    from bench.ranking.collect import read_outcomes

    folder = next(folder for folder in FOLDERS if read_record(folder).trial.method == "rslad")
    test = load(load_scenario("digits-linf").data, ("test",))["test"]
    predictions = load_student(folder)(test.inputs()).argmax(1)
    assert (predictions.numpy() == read_outcomes(folder)["prediction"]).mean() > 0.995  # other CPUs round otherwise


def test_generated_files_follow_from_the_records(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "scripts" / "tables.py"), run_name="__main__")
    assert stop.value.code == 0, capsys.readouterr().out


@pytest.mark.parametrize("example", sorted((ROOT / "docs" / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_examples_of_the_docs_load(example):
    assert load_scenario(example).name == example.stem
