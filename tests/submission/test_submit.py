"""`temper submit`, from the file to the row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench import leaderboard
from bench.dashboard.submitted import submission_blocks
from bench.dashboard.view import View
from bench.errors import Problem, Refused, TemperError
from bench.networks import save_weights
from bench.ranking.collect import collect
from bench.ranking.rows import read_board
from bench.records import Audit, RunRecord, SubmissionRecord, read_record
from bench.registry import FILES
from bench.scenario import Scenario, load_scenario
from bench.submission.audits import AUDITED, confirming_seed, gap_audit
from bench.submission.entry import Entry, fault
from bench.submission.landing import confirmation, landing
from bench.submission.sandbox import isolation_problem
from bench.submission.shown import readable, search_path
from bench.training.loop import initial_student
from bench.verification import content_problems, verify_folder, verify_records
from tests.dashboard.conftest import write_records
from tests.submission.files import PLAIN, written

isolated = pytest.mark.skipif(bool(isolation_problem()), reason=isolation_problem())
SOURCE = "a" * 64


@isolated
@pytest.mark.slow
def test_a_file_becomes_a_row_with_a_confirming_seed_beside_it(
    tiny: Path, temper: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write_text(tiny.read_text().replace("\ns = 2", "\ns = 20"))
    file, board = written(tmp_path), tmp_path / "leaderboards"
    result = temper("submit", file, "-s", tiny, "--jobs", 2)
    assert result.code == 0, result.out + result.err
    assert "The confirming seed has" in result.out
    assert not list((board / ".work").iterdir())

    records = {record.trial.seed_index: record for record in map(read_record, _folders(board))}
    assert sorted(records) == [0, 1, 2]
    for record in records.values():
        assert record.submission is not None
        assert set(record.submission.audits) == set(AUDITED)
        assert {audit.verdict for audit in record.submission.audits.values()} == {"pass"}
    assert [bool(records[k].submission.nonce) for k in range(3)] == [False, False, True]

    (row,) = leaderboard(tiny, leaderboards=board).to_dict("records")
    assert (row["method"], row["seeds"], row["status"]) == ("plain", [0, 1], "ranked")
    assert row["robust"] == pytest.approx(np.mean([records[k].evaluation.robust for k in (0, 1)]))

    assert all("not registered" in "".join(verify_folder(folder)) for folder in _folders(board))
    monkeypatch.setenv(FILES, str(file))
    from bench.registry import run_file

    run_file(file)
    assert [verify_folder(folder) for folder in _folders(board)] == [[]] * 3

    before = {folder: (folder / "record.json").read_bytes() for folder in _folders(board)}
    assert temper("submit", file, "-s", tiny).code == 0, "the same file again: nothing is drawn or trained anew"
    assert {folder: (folder / "record.json").read_bytes() for folder in _folders(board)} == before


def _weights(board: Path) -> dict[int, str]:
    """SHA-256 of the weights of each seed that was known before."""
    records = [read_record(folder) for folder in _folders(board)]
    known = [each for each in records if each.submission and not each.submission.nonce]
    return {each.trial.seed_index: each.weights["best"].sha256 for each in known}


def _folders(board: Path) -> list[Path]:
    return sorted(file.parent for file in board.rglob("record.json"))


@isolated
@pytest.mark.slow
def test_a_rehearsal_records_nothing(tiny: Path, temper: Callable, tmp_path: Path) -> None:
    tiny.write_text(tiny.read_text().replace("\ns = 2", "\ns = 20"))
    result = temper("submit", written(tmp_path), "-s", tiny, "--dry-run")
    assert result.code == 0, result.out + result.err
    assert "Nothing was recorded." in result.out
    assert not list((tmp_path / "leaderboards").rglob("record.json"))


@isolated
def test_a_broken_contract_is_refused_with_its_clause(tiny: Path, temper: Callable, tmp_path: Path) -> None:
    text = PLAIN.replace("self.weight *", "self.weight * batch.x.sum(0).mean() *")
    result = temper("submit", written(tmp_path, text.replace('licence="MIT"', 'licence="MIT", passes="7"')), "-s", tiny)
    assert result.code == 1
    assert "Refused: method 'plain' breaks the contract: a step spends" in " ".join(result.out.split())


@isolated
def test_a_sandbox_that_lacks_a_package_is_no_refusal(
    tiny: Path, temper: Callable, tmp_path: Path, monkeypatch
) -> None:
    """A package of that name which does not load stands for one that is missing."""
    (tmp_path / "early" / "pydantic").mkdir(parents=True)
    (tmp_path / "early" / "pydantic" / "__init__.py").write_text("import no_such_module\n")
    monkeypatch.setattr("bench.submission.sandbox.search_path", lambda: [tmp_path / "early", *search_path()])
    monkeypatch.setattr("bench.submission.sandbox.readable", lambda: [*readable(), tmp_path / "early"])
    result = temper("submit", written(tmp_path), "-s", tiny, "--dry-run")
    assert result.code == 2
    assert "ModuleNotFoundError: No module named 'no_such_module', in" in result.err
    assert str(tmp_path / "early" / "pydantic" / "__init__.py") in result.err
    assert "Refused" not in result.out


@isolated
@pytest.mark.slow
def test_what_a_refused_file_left_helps_no_other(tiny: Path, temper: Callable, tmp_path: Path) -> None:
    """A file that is refused in the middle of its training, and a clean one of the same name and version after it."""
    tiny.write_text(tiny.read_text().replace("\ns = 2", "\ns = 20"))
    board, clean = tmp_path / "leaderboards", written(tmp_path)
    left = clean.with_name("left.py")
    left.write_text(
        clean.read_text().replace("return self.weight", "1 / int(batch.progress < 0.7); return self.weight")
    )
    refused = temper("submit", left, "-s", tiny)
    assert (refused.code, "ZeroDivisionError" in refused.out) == (1, True)
    assert not list((board / ".work").iterdir())
    assert not list(board.rglob("record.json"))

    (tmp_path / "alone").mkdir()
    boards = [board, tmp_path / "alone"]
    for place in boards:
        assert temper("submit", clean, "-s", tiny, "--leaderboards", place).code == 0
    ours, theirs = (
        [read_record(f).weights for f in _folders(p) if not read_record(f).submission.nonce] for p in boards
    )
    assert ours == theirs


@pytest.mark.parametrize(("refused", "kind"), [(True, Refused), (False, TemperError)])
def test_only_what_was_refused_is_a_refusal(refused: bool, kind: type) -> None:
    problem = Problem("plain seed 0: it did not work")
    problem.refused = refused
    assert type(fault(["a stage was interrupted", problem])) is kind


def test_a_file_that_is_not_ready_is_refused_with_every_reason(tiny: Path, temper: Callable, tmp_path: Path) -> None:
    text = f"import os\n{PLAIN}\nx = open('file')\n"
    result = temper("submit", written(tmp_path, text), "-s", tiny)
    assert result.code == 1
    assert "imports os" in result.out
    assert "uses open" in result.out
    told = temper("submit", written(tmp_path, text), "-s", tiny, "--json")
    assert (told.code, "imports os" in json.loads(told.out)["refused"]) == (1, True)


def test_a_file_that_is_not_there_is_a_mistake_of_the_caller(tiny: Path, temper: Callable) -> None:
    result = temper("submit", "nowhere.py", "-s", tiny)
    assert (result.code, "cannot read nowhere.py" in result.err) == (2, True)
    result = temper("submit", "/dev/zero", "-s", tiny)
    assert (result.code, "/dev/zero is a device" in result.err) == (2, True)


def test_without_a_sandbox_nothing_runs(tiny: Path, temper: Callable, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("bench.submission.sandbox.isolation_problem", lambda: "bubblewrap is not installed")
    result = temper("submit", written(tmp_path), "-s", tiny)
    assert (result.code, "no isolation: bubblewrap is not installed" in result.err) == (2, True)


# --- records of submissions -------------------------------------------------------------------------


def submitted(record: RunRecord, scenario: Scenario, nonce: str = "") -> RunRecord:
    """The record as that of a submission whose audits pass."""
    assert record.training is not None
    best = record.training.best.model_copy(update={"robust": 0.9, "clean": 1.0})
    training = record.training.model_copy(update={"best": best, "curve": [best]})
    record = record.model_copy(update={"training": training})
    passed = Audit(value=1.0, threshold=4.0, verdict="pass", words="as honest ones")
    about = SubmissionRecord(source=SOURCE, authors="A", licence="MIT", nonce=nonce)
    audits = dict.fromkeys(AUDITED, passed) | {"gap": gap_audit([record], scenario)}
    record = record.model_copy(update={"submission": about.model_copy(update={"audits": audits})})
    if nonce:
        seed = confirming_seed(record.trial.train_fingerprint, SOURCE, nonce)
        trial = record.trial.model_copy(update={"seed": seed})
        record = record.model_copy(update={"trial": trial, "trial_id": trial.id})
    return record


@pytest.fixture
def digits() -> Scenario:
    return load_scenario("digits-linf")


@pytest.fixture
def board(tmp_path: Path, digits: Scenario, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five seeds of trades, and a sixth that confirms them."""
    root = tmp_path / "leaderboards"
    monkeypatch.setenv("TEMPER_SHIPPED", str(tmp_path / "nothing"))
    *_, last = write_records(root, digits, {"trades": 0.8, "pgd-at": 0.7}, seeds=6)
    last = next(f for f in last.parents[1].glob("trades/*") if read_record(f).trial.seed_index == 5)
    other = next(f for f in last.parents[1].glob("pgd-at/*") if read_record(f).trial.seed_index == 5)
    for file in other.iterdir():
        file.unlink()
    other.rmdir()
    record = submitted(read_record(last), digits, nonce="00")
    record.save(last)
    last.rename(last.with_name(record.trial_id))
    return root


def test_a_confirming_seed_is_shown_and_enters_no_average(board: Path, digits: Scenario) -> None:
    frame = leaderboard(digits, leaderboards=board)
    assert [row["seeds"] for row in frame.to_dict("records") if row["status"] == "ranked"] == [[0, 1, 2, 3, 4]] * 2
    read = read_board(digits, board)
    place = next(k for k, row in enumerate(read.rows) if row[0].record.trial.method == "trades")
    assert "inside the others' 95% prediction interval" in confirmation(read, place)
    assert confirmation(read, 1 - place) == ""
    assert len(collect(digits, board).confirming) == 1


def test_the_page_of_a_method_shows_its_submission(board: Path, digits: Scenario) -> None:
    read = read_board(digits, board)
    place = next(k for k, row in enumerate(read.rows) if row[0].record.trial.method == "trades")
    assert submission_blocks(View.of(read), place) == []
    for entry in read.rows[place]:
        submitted(entry.record, digits).save(entry.folder)
    _, finding, facts, table = submission_blocks(View.of(read_board(digits, board)), place)
    assert "The confirming seed has" in str(finding)
    assert SOURCE in str(facts)
    assert set(table.frame["audit"]) == set(AUDITED)


def test_where_it_lands(board: Path, digits: Scenario) -> None:
    trial = read_board(digits, board).rows[0][0].record.trial
    found = landing(digits, trial, board)
    assert found.rows.iloc[found.place]["method"] == "trades"
    with pytest.raises(TemperError, match="has no record"):
        landing(digits, trial.model_copy(update={"version": "another"}), board)


def test_verify_knows_what_a_submission_must_say(board: Path, digits: Scenario) -> None:
    (confirming,) = collect(digits, board).confirming.values()
    record = confirming.record
    said = [each for each in content_problems(record) if "method file" not in each]
    assert said == []
    assert "the registered one has" in " ".join(content_problems(record))
    assert record.submission is not None

    def problems(**change: object) -> str:
        return " ".join(
            content_problems(record.model_copy(update={"submission": record.submission.model_copy(update=change)}))
        )

    assert "is not what its file and nonce give" in problems(nonce="01")
    assert "is not the scenario's seed number" in problems(nonce="")
    audits = record.submission.audits
    assert "they must be compute, gap" in problems(audits={"gap": audits["gap"]})
    failed = audits["compute"].model_copy(update={"verdict": "fail"})
    assert "submission.audits.compute failed" in problems(audits=audits | {"compute": failed})


def test_a_student_that_knows_the_test_split_is_refused(board: Path, digits: Scenario, tmp_path: Path) -> None:
    (entry,) = read_board(digits, board).confirming.values()
    record, verdict = entry.record, entry.record.evaluation
    assert verdict is not None
    seen = verdict.model_copy(update={"further": verdict.further | {"pgd-20": 0.99}})
    cheat = record.model_copy(update={"evaluation": seen})
    assert "submission.audits.gap fails" in " ".join(content_problems(cheat))

    save_weights(tmp_path / "best.safetensors", initial_student(digits, 0).state_dict())
    frozen = Entry.freeze(str(written(tmp_path)), digits, tmp_path / "lb")
    with pytest.raises(Refused, match=r"refused by its audits: gap: 90.0 % robust on validation, 99.0 % on test"):
        frozen.audited(cheat, tmp_path)


def test_seeds_that_together_know_the_test_split_are_named(board: Path, digits: Scenario) -> None:
    """Each of them is within what one honest student may be off; five of them are not."""
    for entry in read_board(digits, board).rows[0]:
        record = submitted(entry.record, digits)
        assert record.evaluation is not None
        verdict = record.evaluation.model_copy(update={"further": record.evaluation.further | {"pgd-20": 0.90}})
        record.model_copy(update={"evaluation": verdict}).save(entry.folder)
    alone, together = (gap_audit([entry.record for entry in row], digits) for row in _first(board, digits))
    assert (alone.verdict, together.verdict) == ("pass", "fail")
    assert "5 seeds together fail the audit of the gap" in " ".join(verify_records(board)[1])


def _first(board: Path, digits: Scenario) -> list[list]:
    """The first record of a row, and the whole row."""
    row = read_board(digits, board).rows[0]
    return [row[:1], row]
