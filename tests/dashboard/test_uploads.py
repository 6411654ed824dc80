"""What is dropped on the Submit page is read and never run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.dashboard.pages.submit import record_blocks, source_blocks
from bench.dashboard.uploads import landing, read_upload
from bench.dashboard.view import View
from bench.ranking.rows import read_board
from bench.scenario import Scenario
from bench.skeleton import write_skeleton
from bench.submission.source import read_submission

Fill = Callable[..., list[Path]]


def said(blocks) -> str:
    return "\n".join(f"{block.text} {list(getattr(block, 'points', []))}" for block in blocks if hasattr(block, "text"))


def test_a_second_run_of_a_trial_is_never_averaged(fill: Fill) -> None:
    folders = fill({"trades": 0.8, "kd": 0.1})
    words = said(record_blocks((folders[0] / "record.json").read_bytes()))
    assert "trades, seed 0, on digits-linf: complete." in words
    assert "already recorded" in words and "never averaged" in words and "It is inside the stored seeds'" in words
    assert "only attested" in words


def test_another_seed_moves_the_mean_of_its_row(fill: Fill) -> None:
    folders = fill({"trades": 0.8, "kd": 0.1}, seeds=6)
    content = (folders[5] / "record.json").read_bytes()
    (folders[5] / "record.json").unlink()
    words = said(record_blocks(content))
    assert "mean over 6 seeds is" in words and "below 0 and above 1 of the other ranked rows" in words
    assert "It is inside the stored seeds'" in words


def test_a_record_of_a_new_row_says_so(fill: Fill, digits: Scenario, leaderboards: Path) -> None:
    (folder,) = fill({"ard": 0.7}, seeds=1)
    record, problems = read_upload((folder / "record.json").read_bytes())
    (folder / "record.json").unlink()
    fill({"trades": 0.8, "kd": 0.1})
    view = View.of(read_board(digits, leaderboards))
    assert record and not problems
    assert "a new provisional row, below 1 and above 1 of the other ranked rows" in landing(record, view)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trial_id": "0" * 16}, "its trial hashes to"),
        ({"status": "done"}, "status: Input should be 'complete' or 'failed'"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"evaluation": None}, "a complete record needs training and evaluation"),
        ({"retracted": "Wrong data."}, "It is retracted and no longer counts."),
    ],
)
def test_what_is_wrong_with_a_record_is_shown(fill: Fill, change: dict[str, object], words: str) -> None:
    (folder,) = fill({"trades": 0.8}, seeds=1)
    content = json.loads((folder / "record.json").read_text()) | change
    assert words in said(record_blocks(json.dumps(content).encode()))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"null", b'{"trial": {}}', b"[" * 100_000])
def test_what_is_no_record_is_refused(leaderboards: Path, content: bytes) -> None:
    assert "This is not a valid record." in said(record_blocks(content))


@pytest.mark.parametrize("accuracy", ["5.0", "-0.1", "NaN"])
def test_an_accuracy_that_is_none_is_refused(fill: Fill, accuracy: str) -> None:
    (folder,) = fill({"trades": 0.8}, seeds=1)
    content = json.loads((folder / "record.json").read_text())
    content["evaluation"]["robust"] = float(accuracy)
    assert "evaluation.robust: Input should be" in said(record_blocks(json.dumps(content).encode()))


def test_a_record_of_another_protocol_is_not_placed(fill: Fill) -> None:
    (folder,) = fill({"trades": 0.8}, seeds=1)
    content = json.loads((folder / "record.json").read_text())
    content["evaluation"]["protocol_fingerprint"] = "0" * 64
    assert "evaluated with another protocol" in said(record_blocks(json.dumps(content).encode()))


def test_a_record_of_data_that_are_not_here_fetches_nothing(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.data.split_hashes", lambda spec: pytest.fail("would download"))
    (folder,) = fill({"trades": 0.8}, seeds=1)
    content = (folder / "record.json").read_text().replace('"digits-linf"', '"cifar100-linf"')
    assert "not pinned" in said(record_blocks(content.encode()))


def test_a_record_of_an_unknown_scenario_is_not_placed(fill: Fill) -> None:
    (folder,) = fill({"trades": 0.8}, seeds=1)
    content = (folder / "record.json").read_text().replace('"digits-linf"', '"elsewhere"')
    assert "No shipped scenario is called elsewhere" in said(record_blocks(content.encode()))


def test_the_skeleton_is_ready(tmp_path: Path) -> None:
    file = write_skeleton("my-method", tmp_path)
    source = read_submission(file.read_bytes())
    assert (source.names, source.problems) == (["my-method"], [])
    assert "The file registers my-method" in said(source_blocks(file.read_bytes()))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"my-method",', '"rslad",', "there is a method 'rslad' already"),
        ('    version="1",\n', "", "@register needs version="),
        ('version="1"', "version=1", "version must be text"),
        ('version="1"', 'version="1", stars=5', "@register knows no stars"),
        ("def loss", "def lose", "the class defines no loss"),
        ("@register(", "@enlist(", "no class of the file has the decorator"),
        ("class MyMethod(Method)", "class MyMethod", "must derive from bench.Method"),
        ("def loss", "def 1loss", "not a Python file"),
    ],
)
def test_what_is_wrong_with_a_method_file_is_shown(tmp_path: Path, before: str, after: str, words: str) -> None:
    text = write_skeleton("my-method", tmp_path).read_text()
    assert before in text
    assert words in said(source_blocks(text.replace(before, after).encode()))


def test_nothing_of_a_file_runs(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    text = write_skeleton("my-method", tmp_path).read_text()
    read_submission(f"{text}\nopen({str(trace)!r}, 'w').close()\n".encode())
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"\x00", b"\xff", b"(" * 5_000, b"x = 1"])
def test_what_is_no_method_file_is_refused(content: bytes) -> None:
    assert "This file is not ready" in said(source_blocks(content))
