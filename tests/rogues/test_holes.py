"""Holes that were found in the sandbox and at the desk, and are closed."""

from __future__ import annotations

import json
import threading
from base64 import b85encode
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bench.errors import Refused
from bench.execution.pool import Pool
from bench.scenario import Scenario
from bench.skeleton import SKELETON
from bench.submission import confinement, entry, sandbox
from bench.submission import desk as desks
from bench.submission.confinement import _Listener
from bench.submission.desk import Desk
from bench.submission.entry import Entry
from bench.submission.sandbox import Sandbox, isolation_problem
from bench.submission.shown import masked
from bench.submission.source import read_source, read_submission
from bench.submission.taken import take_curve, take_result
from bench.submission.usage import Usage
from bench.testing import CHECKS
from tests.rogues.ground import LIMITS, job_of, of, open_desk

SOURCE = SKELETON.replace("@NAME", "my-method").replace("@CLASS", "MyMethod")
CANDIDATE = {"step": 9, "progress": 1.0, "robust": 0.5, "clean": 0.9, "top_class": 0.1}
RESULT: dict[str, Any] = {
    "steps": 9,
    "passes": 4.0,
    "allowed": 46.0,
    "counts": {"student/forward": 1024},
    "prices": {"student": 1.0},
    "seconds": 1.0,
    "device_seconds": 1.0,
    "peak_memory": 1,
    "curve": [CANDIDATE],
    "best": CANDIDATE,
    "collapsed": False,
}


def nothing(size: int) -> bytes:
    """What follows a line that nothing follows."""
    raise AssertionError


sandboxed = pytest.mark.skipif(bool(isolation_problem()), reason=f"no sandbox: {isolation_problem()}")


def run(code: str) -> tuple[int, str, list[str]]:
    said: list[str] = []
    status, errors = Sandbox({}, LIMITS).run(["-c", code], lambda line, read: said.append(line.decode().strip()))
    return status, errors, said


@sandboxed
def test_nothing_but_scratch_and_bounded_temporary_folders_can_be_written():
    hidden = [str(path) for path in masked() if path.is_dir()]
    assert hidden
    code = f"""
import os
for path in ["/", "/given", "/dev", *{hidden}]:
    try:
        open(os.path.join(path, "x"), "w")
        print("wrote to", path)
    except OSError:
        pass
for path in ("/scratch", "/tmp", "/dev/shm"):
    space = os.statvfs(path)
    print(path, space.f_blocks * space.f_frsize <= {LIMITS.disk}, bool(space.f_flag & os.ST_NOSUID))
print(sum(os.access(os.path.join(top, file), os.W_OK) for top, _, files in os.walk("/proc/sys") for file in files))
print(os.path.exists("/sys"), os.getuid() > 0, os.listdir("/scratch"))
"""
    bounded = [f"{place} True True" for place in ("/scratch", "/tmp", "/dev/shm")]
    assert run(code) == (0, "", [*bounded, "0", "False True []"])


@sandboxed
def test_no_file_of_ours_but_its_own_pipes_is_open_in_it():
    code = (
        "import os; print(*(os.readlink(f'/proc/self/fd/{n}')[:4] for n in range(3)), len(os.listdir('/proc/self/fd')))"
    )
    assert run(code) == (0, "", ["pipe pipe pipe 4"]), "the fourth is the folder that is being listed"


@sandboxed
def test_what_it_used_is_on_the_account_though_nobody_looked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sandbox, "usage_of", lambda first, writable: Usage(0, 0, 0, 0))
    box = Sandbox({}, LIMITS)
    box.run(["-c", "import time\nwhile time.process_time() < 1: pass"])
    assert 1 <= box.cpu_seconds < 2
    with pytest.raises(Refused, match="seconds of CPU time"):
        Sandbox({}, LIMITS).run(["-c", "import time\nwhile time.process_time() < 2.5: pass"])


@sandboxed
def test_a_watcher_that_fails_ends_the_sandbox(monkeypatch: pytest.MonkeyPatch):
    def fails(first: int, writable: object) -> Usage:
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("what it reads is no number")
        return Usage(0, 0, 0, 0)

    monkeypatch.setattr(sandbox, "usage_of", fails)
    with pytest.raises(Refused, match="could not be watched any more: ValueError: what it reads is no number"):
        Sandbox({}, LIMITS).run(["-c", "import time; time.sleep(20)"])


def test_a_run_that_was_refused_is_on_the_account(ground: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(self: Sandbox, *arguments: object) -> None:
        self.cpu_seconds = 7.0
        raise Refused("it was stopped")

    monkeypatch.setattr(desks, "_expected", lambda *arguments: 1.0)
    monkeypatch.setattr(Sandbox, "run", refused)
    for spent in (7.0, 14.0):
        desk = Desk.open(job_of("my-method", ground), tmp_path)
        with pytest.raises(Refused, match="it was stopped"):
            confinement.run_confined("train", desk.job, tmp_path, desk)
        assert Desk.open(desk.job, tmp_path).spent == spent


@pytest.mark.usefixtures("quick")
def test_the_desk_takes_candidates_that_can_be_and_each_once(ground: Scenario, tmp_path: Path):
    desk = open_desk(of("asks_again"), ground, tmp_path)

    def judge(name: str, **event: object) -> bytes:
        weights = (tmp_path / f"{name}.safetensors").read_bytes()
        return desk.judge({"offer": "", "progress": 1.0, "step": 5} | event, weights)

    first = judge("student")
    assert judge("other") == first, "the same step is not judged again"
    assert judge("other", step=6) != first
    with pytest.raises(Refused, match="step 4 after step 6"):
        judge("student", step=4)
    desk.offers = 0
    for event in (
        {"step": -1},
        {"step": 10**300},
        {"step": True},
        {"progress": float("nan")},
        {"progress": float("inf")},
        {"progress": 10**400},
        {"offer": "x" * 10**5},
    ):
        with pytest.raises(Refused, match="is not a candidate"):
            judge("student", **{"step": 7, **event})


@pytest.mark.parametrize(
    "line",
    [b"5", b"[]", b"{", b"\xff", b"[" * 10**5, b'{"done": %s}' % (b"9" * 400), b'{"done": NaN}', b'{"done": "x"}'],
)
def test_lines_that_mean_nothing_are_noise(line: bytes):
    assert _Listener(None)(line, nothing) is None


def test_words_of_a_stranger_move_no_terminal():
    listener = _Listener(None)
    listener(json.dumps({"error": "all \x1b[2Jis \ud800well"}).encode(), nothing)
    assert listener.error == "all [2Jis well"
    assert str(Refused("\x1b[31mred\x07\nline")) == "[31mred\nline"


def test_words_of_a_stranger_are_no_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(self: Pool, *arguments: object) -> None:
        raise Refused("it says [/nonsense]")

    monkeypatch.setattr(Pool, "_job", refuse)
    assert Pool(1).run([("one", tmp_path)], lambda folder: None) == ["one: it says [/nonsense]"]


@pytest.mark.parametrize(
    "change",
    [
        {"passes": float("nan")},
        {"passes": float("inf")},
        {"passes": -4.0},
        {"passes": 3.0},
        {"counts": {}},
        {"counts": {"student": 1024}},
        {"counts": {"student/thought": 1024}},
        {"counts": {"teacher/forward": 1024}},
        {"counts": {"student/forward": 10**400}},
        {"counts": {"student/forward": -1024}, "prices": {"student": -1.0}},
        {"prices": {"student": float("nan")}},
        {"prices": {"student": 1.0, "\x1b[2J": 1.0}},
        {"prices": {"student": 1.0} | {str(k): 1.0 for k in range(1000)}},
        {"\x1b[2J": 1},
    ],
)
def test_a_result_whose_numbers_do_not_go_together_is_refused(change: dict[str, Any]):
    assert take_result(json.dumps(RESULT).encode(), 256).passes == 4.0
    with pytest.raises(Refused) as refusal:
        take_result(json.dumps(RESULT | change).encode(), 256)
    assert "\x1b" not in str(refusal.value)


@pytest.mark.parametrize("line", ["5", "[[[", '{"losses": {}}', '{"step": -1}', "[" * 10**5])
def test_a_curve_that_is_none_is_refused(line: str):
    good = {"step": 1, "progress": 0.5, "learning_rate": 0.1, "passes": 1.0, "losses": {"student": 1.0}, "metrics": {}}
    assert json.loads(take_curve(json.dumps(good).encode())) == good
    with pytest.raises(Refused, match="its learning curve is not valid"):
        take_curve(f"{json.dumps(good)}\n{line}\n".encode())


@pytest.mark.parametrize(
    "told",
    [
        {"hyperparameters": {"weight": float("nan")}, "needs": []},
        {"hyperparameters": {"weight": "\ud800"}, "needs": []},
        {"hyperparameters": {"weight": "x" * 10**5}, "needs": []},
        {"hyperparameters": {}, "needs": ["\x1b[2J"]},
        {"hyperparameters": [], "needs": []},
        {"hyperparameters": {}, "needs": [], "passed": ["everything"]},
        {"hyperparameters": {}, "needs": [], "passed": [check.__name__ for check in CHECKS[1:]]},
    ],
)
def test_what_a_process_tells_of_a_method_is_checked(
    told: dict[str, Any], ground: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(entry, "run_confined", lambda *arguments: told)
    with pytest.raises(Refused) as refusal:
        Entry(read_source(SOURCE.encode()), ground, tmp_path).checked()
    assert "\x1b" not in str(refusal.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"my-method"', '"../../../elsewhere"', "a method is named like my-method"),
        ('"my-method"', '"my\\x1bmethod"', "a method is named like my-method"),
        ('"my-method"', '"' + "m" * 300 + '"', "a method is named like my-method"),
        ('"Your Name"', '"Your\\x1b[2JName"', "authors must be one line"),
        ('"arXiv:0000.00000"', '"' + "x" * 300 + '"', "reference must be one line"),
        ('version="1"', "version=str(1)", "@register needs version=, as text"),
        ('version="1"', 'version="1", track="fast"', "track must be one of"),
        ('version="1"', 'version="1", track=str("main")', "track must be one of"),
        ("5 / 6", "0x" + "f" * 1000, "holds a number of 4,000 bits"),
        ("5 / 6", f"len({b85encode(Random(0).randbytes(2_200)).decode()!r})", "bytes of information"),
    ],
)
def test_what_a_source_must_not_hold(old: str, new: str, words: str):
    assert read_submission(SOURCE.encode()).problems == []
    problems = read_submission(SOURCE.replace(old, new).encode()).problems
    assert any(words in each for each in problems), problems
    assert "\x1b" not in "".join(problems)
