"""Records that are superseded or retracted: they stay, they never count, and no seed of a row goes alone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from bench import leaderboard, withdrawal
from bench.errors import TemperError
from bench.execution.job import RESULTS
from bench.execution.trials import Runner
from bench.ranking.collect import collect
from bench.records import read_record, record_folders, shipped_leaderboards
from bench.scenario import load_scenario
from bench.verification import verify_records
from tests.recorded import SCENARIO, another, copied, edit


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Local leaderboards, over shipped ones that are empty."""
    monkeypatch.setenv("TEMPER_SHIPPED", str(tmp_path / "none"))
    return tmp_path / "leaderboards"


@pytest.fixture
def current(root: Path) -> list[Path]:
    """The five records of `natural`, by seed."""
    return copied(root, "natural")


@pytest.fixture
def earlier(root: Path, current: list[Path]) -> list[Path]:
    """The same of an earlier version."""
    return [another(root, folder, version="earlier") for folder in current]


def trial_id(folder: Path) -> str:
    return read_record(folder).trial_id


def problems(root: Path) -> list[str]:
    return verify_records(root)[1]


def test_marks_are_all_that_changes_and_an_unmarked_record_is_written_without_them(current, tmp_path):
    text = (current[0] / "record.json").read_text()
    withdrawal.retract([current[0]], "its data were not the scenario's")
    marked = (current[0] / "record.json").read_text()
    assert marked != text
    assert withdrawal.unmarked(marked)[0] == text
    assert read_record(current[0]).withdrawn == "retracted"
    read_record(current[1]).save(tmp_path)
    assert not re.search("superseded_by|retracted", (tmp_path / "record.json").read_text())


def test_the_records_that_ship_are_written_as_we_write_them():
    """Else a mark would change more than itself, and a release would not know the record again."""
    folders = list(record_folders(shipped_leaderboards()))
    assert folders
    assert [f for f in folders if (f / "record.json").read_text() not in withdrawal.unmarked(_text(f))] == []


def _text(folder: Path) -> str:
    return (folder / "record.json").read_text().replace("\n}", ',\n "retracted": "x"\n}')


def test_a_withdrawn_record_is_collected_apart(root, current, earlier):
    withdrawal.supersede(earlier[0], trial_id(current[0]))
    withdrawal.retract(current[3:4], "a wrong seed")
    found = collect(load_scenario(SCENARIO), root)
    assert set(found.entries) == {trial_id(folder) for folder in current} - {trial_id(current[3])}
    assert set(found.withdrawn) == {trial_id(folder) for folder in [*earlier, current[3]]}
    assert found.reproductions == {}


def test_withdrawn_rows_are_shown_last_and_change_no_other(root, current, earlier):
    copied(root, "pgd-at")
    withdrawal.retract(earlier, "its loss had the wrong sign")
    alone = leaderboard(SCENARIO, leaderboards=root)
    assert list(alone["status"]) == ["ranked", "ranked", "unranked", "retracted"]
    assert list(alone["trials"])[-1] == [trial_id(folder) for folder in earlier]
    assert alone["rank"].isna().tolist() == [False, False, True, True]
    assert alone["robust"].iloc[-1] == alone["robust"].iloc[1]  # the same outcomes
    withdrawal.retract(current[4:], "a wrong seed")
    withdrawal.supersede(another(root, current[0], version="oldest"), trial_id(current[0]))
    board = leaderboard(SCENARIO, leaderboards=root)
    statuses = ["ranked", "provisional", "unranked", "retracted", "retracted", "superseded"]
    assert sorted(board["status"]) == sorted(statuses)
    assert list(board["seeds"].iloc[1]) == [0, 1, 2, 3]


def test_a_record_that_was_changed_is_not_marked(root, current, earlier):
    """The new stamp would hide the change."""
    for folder in (current[0], earlier[1]):
        file = folder / "record.json"
        file.write_text(file.read_text().replace('"steps": ', '"steps": 1'))
    before = [(folder / "record.json").read_bytes() for folder in [*current, *earlier]]
    with pytest.raises(TemperError, match=r"changed since it was saved.*fix that before"):
        withdrawal.retract(current, "a wrong seed")
    with pytest.raises(TemperError, match=r"changed since it was saved.*fix that before"):
        withdrawal.supersede(earlier[0], trial_id(current[0]))
    assert [(folder / "record.json").read_bytes() for folder in [*current, *earlier]] == before


def test_a_withdrawn_record_that_is_judged_again_stays_withdrawn(root, current, tmp_path):
    withdrawal.retract(current[:1], "a wrong seed")
    before = read_record(current[0])
    runner, work = Runner(load_scenario(SCENARIO), root), tmp_path / "work"
    runner._unpack(before.trial, work)
    shutil.copyfile(current[0] / "outcomes.parquet", work / "outcomes.parquet")
    (work / RESULTS["evaluate"]).write_text(before.evaluation.model_dump_json())
    runner._record(before.trial, work)
    again = read_record(current[0])
    assert again.model_copy(update={"digest": before.digest}) == before  # which lacks a field that is newer
    assert problems(root) == []


def test_a_local_copy_does_not_bring_a_retracted_record_back(root, current, tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    withdrawal.retract(copied(shipped, "natural")[:1], "a wrong seed")
    monkeypatch.setenv("TEMPER_SHIPPED", str(shipped))
    found = collect(load_scenario(SCENARIO), root)
    assert trial_id(current[0]) not in found.entries
    assert trial_id(current[0]) in found.reproductions


def test_a_row_is_superseded_as_a_whole_seed_by_seed(root, current, earlier):
    said = withdrawal.supersede(earlier[2], trial_id(current[4]))
    assert [read_record(folder).superseded_by for folder in earlier] == [trial_id(folder) for folder in current]
    assert len(said) == 5
    assert problems(root) == []
    withdrawal.supersede(earlier[2], trial_id(current[4]))  # once more changes nothing
    assert problems(root) == []


def test_what_a_row_is_not_superseded_by(root, current, earlier):
    epochs = another(root, current[0], ruleset="epochs")
    withdrawal.retract(earlier[3:4], "a wrong seed")
    before = {folder: (folder / "record.json").read_bytes() for folder in [*current, *earlier]}
    refused = {
        "0123456789abcdef": "no record here of trial",
        "*": "no record here of trial",
        trial_id(current[1]): "belongs to the row that should replace it",
        trial_id(epochs): "has ruleset 'epochs'",
        trial_id(earlier[0]): "is retracted itself",
    }
    for by, says in refused.items():
        with pytest.raises(TemperError, match=re.escape(says)):
            withdrawal.supersede(current[0], by)
    lone = another(root, current[0], version="lone")
    with pytest.raises(TemperError, match="has no seed 1"):
        withdrawal.supersede(current[0], trial_id(lone))
    assert {folder: (folder / "record.json").read_bytes() for folder in before} == before


def test_a_second_successor_or_another_reason_is_refused(root, current, earlier):
    newest = [another(root, folder, version="newest") for folder in current]
    withdrawal.supersede(earlier[0], trial_id(current[0]))
    with pytest.raises(TemperError, match="superseded already"):
        withdrawal.supersede(earlier[0], trial_id(newest[0]))
    withdrawal.retract(newest, "a typing error")
    withdrawal.retract(newest, "a typing  error")  # the same one
    with pytest.raises(TemperError, match="retracted already: a typing error"):
        withdrawal.retract(newest, "something else")
    with pytest.raises(TemperError, match="needs a reason"):
        withdrawal.retract(current, " \n")


@pytest.mark.parametrize(
    ("marks", "says"),
    [
        ({0: {"retracted": "  "}}, "retracted without a reason"),
        ({0: {"superseded_by": "0123456789abcdef"}}, "which is not a record of this scenario here"),
        ({0: {"superseded_by": "../../../.."}}, "which is not a record of this scenario here"),
        ({0: {"superseded_by": 0}}, "superseded in a circle"),
        ({0: {"superseded_by": 1}, 1: {"superseded_by": 0}}, "superseded in a circle"),
        ({0: {"superseded_by": 1}}, "which is of another seed"),
        ({0: {"superseded_by": 5}}, "and seed 4 of its row is not"),
        ({0: {"retracted": True}}, "retracted"),
    ],
)
def test_verify_names_a_mark_that_was_set_by_hand(root, current, marks, says):
    folders = [*current, another(root, current[0], version="later", hyperparameters={"a": 1})]
    withdrawal.retract(folders[5:], "it is a copy")
    assert problems(root) == []
    for which, mark in marks.items():
        values = {key: trial_id(folders[v]) if type(v) is int else v for key, v in mark.items()}
        edit(folders[which], lambda content, values=values: content.update(values))
    found = problems(root)
    assert any(says in problem and str(current[0]) in problem for problem in found), found


def test_verify_wants_an_earlier_version_linked_once_the_present_one_is_recorded(root, current, earlier):
    def unlinked() -> list[str]:
        return [problem for problem in problems(root) if "is of version earlier" in problem]

    assert len(unlinked()) == 5
    assert all("link it with `temper supersede`" in problem for problem in unlinked())
    withdrawal.retract(earlier[:2], "its loss had the wrong sign")
    assert len(unlinked()) == 3
    withdrawal.supersede(earlier[2], trial_id(current[2]))
    assert problems(root) == []


def test_verify_wants_a_version_that_is_not_registered_withdrawn(root, current):
    for folder in current:
        another(root, folder, version="earlier")
        shutil.rmtree(folder)
    assert all("and the registered one is '1': run that one, or retract this" in each for each in problems(root))
    assert len(problems(root)) == 5
    withdrawal.retract([file.parent for file in root.rglob("record.json")], "its loss had the wrong sign")
    assert problems(root) == []


def test_the_commands(root, current, earlier, temper):
    assert temper("supersede", earlier[0].parent, "--by", trial_id(current[0])).code == 2
    done = temper("supersede", earlier[0] / "record.json", "--by", trial_id(current[0]))
    assert (done.code, done.out.count("superseded by")) == (0, 5)
    assert temper("retract", current[0], "--reason", "").code == 2
    done = temper("retract", current[0].parent, "--reason", "its data were not the scenario's")
    assert (done.code, done.out.count("retracted:")) == (0, 10)
    assert temper("retract", root / "nowhere", "--reason", "x").code == 2
    assert temper("verify", root).code == 0
