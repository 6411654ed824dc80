"""A kill, a full disk or a read-only folder at any moment of recording: nothing is lost, nothing is half there."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.errors import TemperError
from bench.execution.search import run_missing
from bench.execution.trials import Runner
from bench.method import make_method
from bench.records import Trial, make_trial, read_record, trial_folder, work_folder
from bench.scenario import load_scenario
from bench.verification import verify_records
from tests.here import in_this_process

TOUCHES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}  # what Python tells of files that it changes


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, digits_file: Path, tiny_text: str) -> Iterator[SimpleNamespace]:
    """A trial that was trained and judged and not recorded yet, and the record that it gives."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "digits.safetensors").symlink_to(digits_file)
    (folder / "tiny.toml").write_text(tiny_text)
    scenario = load_scenario(folder / "tiny.toml")
    trial = make_trial(scenario, make_method("natural"), 0)
    runner = Runner(scenario, folder / "leaderboards")
    with in_this_process(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(Runner, "_record", lambda *_: None)
        assert runner.run([trial]) == []
    work = shutil.copytree(work_folder(runner.leaderboards, trial), folder / "work")
    assert runner.run([trial]) == []
    record = contents(trial_folder(runner.leaderboards, trial))
    yield SimpleNamespace(file=folder / "tiny.toml", scenario=scenario, trial=trial, work=work, record=record)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def unrecorded(done: SimpleNamespace, board: Path) -> Runner:
    """A board with that trial, up to its recording."""
    shutil.copytree(done.work, work_folder(board, done.trial))
    return Runner(done.scenario, board)


def judged_before(done: SimpleNamespace, board: Path) -> Runner:
    """A board where it was recorded under an earlier protocol, and is judged again, up to its recording."""
    runner = unrecorded(done, board)
    place = trial_folder(board, done.trial)
    place.mkdir(parents=True)
    for name, content in done.record.items():
        (place / name).write_bytes(content)
    (place / "outcomes.parquet").write_bytes(b"of then")
    record = read_record(place)
    verdict = record.evaluation.model_copy(update={"protocol_fingerprint": "0" * 64, "robust": 0.0})
    record.model_copy(update={"evaluation": verdict}).save(place)
    return runner


def killed_while_recording(runner: Runner, trial: Trial, moment: int) -> bool:
    """Record in a process that kills itself when it touches a file for that time; whether it came so far."""
    child = os.fork()
    if not child:
        touched = iter(range(moment))

        def hook(event: str, told: tuple[object, ...]) -> None:
            writes = event == "open" and int(told[2]) & (os.O_WRONLY | os.O_RDWR)
            if (writes or event in TOUCHES) and next(touched, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            runner._record(trial, work_folder(runner.leaderboards, trial))
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("start", [unrecorded, judged_before])
def test_a_kill_at_any_moment_of_recording_leaves_a_record_whole_and_the_next_run_ends_it(done, tmp_path, start):
    moments, kept = 0, {b"of then", done.record["outcomes.parquet"]}
    while True:
        board = tmp_path / str(moments)
        runner, place = start(done, board), trial_folder(board, done.trial)
        killed = killed_while_recording(runner, done.trial, moments)
        if start is unrecorded:
            assert verify_records(board)[1] == []
            assert contents(place) in ({}, done.record)
        else:
            assert read_record(place).status == "complete"
            assert (place / "outcomes.parquet").read_bytes() in kept
        assert run_missing(Runner(done.scenario, board), [done.trial]) == []
        assert contents(place) == done.record
        assert contents(board / "records").keys() == {f"tiny/natural/{place.name}/{name}" for name in done.record}
        assert list((board / ".work").iterdir()) == []
        shutil.rmtree(board)
        if not killed:
            break
        moments += 1
    assert moments > 20


def test_a_verdict_of_an_earlier_protocol_that_was_not_recorded_is_not_taken_for_a_new_one(done, tmp_path, monkeypatch):
    runner = judged_before(done, tmp_path)
    work = work_folder(tmp_path, done.trial)
    verdict = (work / "evaluation.json").read_text()
    current = done.scenario.protocol_fingerprint()
    (work / "evaluation.json").write_text(verdict.replace(current, "0" * 64))
    judged = []
    monkeypatch.setattr("bench.execution.pool.Pool._stage", lambda self, stage, folder, _: judged.append(stage))
    with pytest.raises(FileNotFoundError):
        runner.run([done.trial])
    assert judged == ["evaluate"]


def in_own_mounts(act: Callable[[], list[str]], said: Path) -> list[str]:
    """What `act` returns in a process with mounts of its own; skips where none can be made."""
    child = os.fork()
    if not child:
        try:
            new_mounts = ctypes.CDLL(None).unshare(0x00020000)  # CLONE_NEWNS
            private = not new_mounts and mount("--make-rprivate", "/")
            said.write_text(json.dumps(act() if private else None))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    answer = json.loads(said.read_text())
    if answer is None:
        pytest.skip("may not mount anything here")
    return answer


def mount(*arguments: object) -> bool:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode == 0


@pytest.mark.parametrize("place", ["records", ".work", "."])
def test_a_folder_that_is_read_only_loses_nothing(done, tmp_path, place):
    board = tmp_path / "board"
    runner = unrecorded(done, board)
    (board / "records").mkdir()
    before = contents(board / ".work")

    def run() -> list[str]:
        assert mount("--bind", board / place, board / place)
        assert mount("-o", "remount,bind,ro", board / place)
        try:
            return run_missing(runner, [done.trial])
        except TemperError as error:
            return [str(error)]

    (problem,) = in_own_mounts(run, tmp_path / "said")
    assert "cannot write" in problem
    assert before.items() <= contents(board / ".work").items()
    assert run_missing(runner, [done.trial]) == []
    assert contents(trial_folder(board, done.trial)) == done.record


@pytest.mark.parametrize("spare", [0, 20_000, 40_000])
def test_a_disk_that_is_full_while_recording_loses_nothing(done, tmp_path, spare):
    board = tmp_path / "board"
    board.mkdir()
    pages = sum(-(-len(content) // 4096) for content in contents(done.work).values()) * 4096

    def run() -> list[str]:
        assert mount("-t", "tmpfs", "-o", f"size={pages + spare}", "none", board)
        runner = unrecorded(done, board)
        try:
            problems = run_missing(runner, [done.trial])
        except TemperError as error:
            problems = [str(error)]
        assert mount("-o", "remount,size=10m", board)
        again = run_missing(runner, [done.trial])
        shutil.copytree(trial_folder(board, done.trial), tmp_path / "record")
        return [*problems, *again]

    (problem,) = in_own_mounts(run, tmp_path / "said")
    assert "no space left to write" in problem
    assert contents(tmp_path / "record") == done.record
