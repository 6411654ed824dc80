"""Trials from the command to the record: skipped, continued, reproduced bit for bit, and what stops them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest

from bench import leaderboard, load_student
from bench.execution.job import locked
from bench.execution.trials import Runner
from bench.method import make_method
from bench.records import Trial, make_trial, read_record, trial_folder, work_folder
from bench.scenario import Scenario, load_scenario
from bench.verification import FILES, verify_folder
from tests.here import in_this_process


def trial_of(tiny: Path, method: str = "natural", seed: int = 0, **fields) -> tuple[Scenario, Trial]:
    scenario = load_scenario(tiny)
    return scenario, make_trial(scenario, make_method(method, fields), seed)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return tmp_path / "leaderboards"


def test_a_run_leaves_records_that_verify_and_a_board(tiny, temper, board, here):
    result = temper("run", tiny, "--method", "natural", "--method", "pgd-at", "--seeds", 2, "--jobs", 2)
    assert result.code == 0, result.err
    folders = [file.parent for file in board.rglob("record.json")]
    assert len(folders) == 4
    assert [verify_folder(folder) for folder in folders] == [[]] * 4
    assert not list((board / ".work").iterdir())

    frame = leaderboard(tiny, leaderboards=board)
    assert set(frame["method"]) == {"natural", "pgd-at"}
    assert set(frame["status"]) == {"ranked"}
    for row in frame.to_dict("records"):
        outcomes = [
            pd.read_parquet(board / "records" / "tiny" / row["method"] / trial / "outcomes.parquet")
            for trial in row["trials"]
        ]
        assert row["robust"] == pytest.approx(sum((o["outcome"] == 255).mean() for o in outcomes) / 2)
        assert row["robust_low"] <= row["robust"] <= row["robust_high"]

    again = temper("run", tiny, "--method", "natural", "--seeds", 2)
    assert "2 of 2 trials recorded already" in again.err
    student = load_student(folders[0], scenario=tiny)
    assert not student.training


def test_parallel_jobs_change_no_bit(tiny, tmp_path):
    """Two at a time, each in processes of its own, or one after another in this one."""
    scenario, trial = trial_of(tiny)
    _, other = trial_of(tiny, seed=1)
    weights = []
    for jobs, folder, where in ((1, tmp_path / "one", in_this_process()), (2, tmp_path / "two", nullcontext())):
        with where:
            assert Runner(scenario, folder, jobs=jobs).run([trial, other]) == []
        weights.append([read_record(trial_folder(folder, each)).weights for each in (trial, other)])
    assert weights[0] == weights[1]


def start(tiny: Path, board: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.cli.main", "run", str(tiny), "--leaderboards", str(board)]
    command += ["--method", "pgd-at", "--seeds", "1", *arguments]
    return subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell ignores it for us
    )


def wait_for(file: Path, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.02)


def same_bits(folder: Path, other: Path) -> bool:
    """Whether two records are equal: files byte for byte, and all that is no clock."""
    names = [name for name in FILES if name != "record.json"]
    files = all((folder / name).read_bytes() == (other / name).read_bytes() for name in names)
    return files and read_record(folder).repeatable() == read_record(other).repeatable()


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_stopped_run_continues_to_the_same_bits(tiny, temper, board, tmp_path, how, here):
    tiny.write_text(tiny.read_text().replace("m = 4", "m = 20"))
    scenario = load_scenario(tiny)
    trial = make_trial(scenario, make_method("pgd-at"), 0, budget="m")
    saved = work_folder(board, trial) / "checkpoint.safetensors"

    process = start(tiny, board, "--budget", "m", "--checkpoint-seconds", "0")
    wait_for(saved)
    os.killpg(process.pid, how)
    error = process.communicate()[1]
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command continues" in error
    assert saved.exists()
    assert not trial_folder(board, trial).exists()

    process = start(tiny, board, "--budget", "m")
    wait_for(work_folder(board, trial) / "ledgers")
    os.killpg(process.pid, how)
    process.communicate()
    assert not trial_folder(board, trial).exists()

    assert temper("run", tiny, "--method", "pgd-at", "--seeds", 1, "--budget", "m").code == 0
    assert Runner(scenario, tmp_path / "whole").run([trial]) == []
    assert same_bits(trial_folder(board, trial), trial_folder(tmp_path / "whole", trial))


def test_a_trial_that_meets_nan_is_recorded_as_failed_with_its_step(tiny, temper, board, here):
    text = tiny.read_text().replace("learning_rate = 0.1", "learning_rate = 1e38")
    network = 'network = "cnn"\noptions = { widths = [8, 8], strides = [2, 2] }'
    tiny.write_text(text.replace(network, 'network = "mlp"\noptions = { widths = [8] }'))  # batch norm would save it
    result = temper("run", tiny, "--method", "natural", "--seeds", 1)
    scenario, trial = trial_of(tiny)
    record = read_record(trial_folder(board, trial))
    assert record.status == "failed"
    assert "is not finite at step" in record.failure
    assert result.code == 1
    row = leaderboard(scenario, leaderboards=board).iloc[0]
    assert (row["status"], row["robust"], row["failed"]) == ("failed", 0.0, 1)


def test_two_runs_of_the_same_trial_do_not_meet(tiny, temper, board, here):
    _, trial = trial_of(tiny)
    with locked(work_folder(board, trial)):
        result = temper("run", tiny, "--method", "natural", "--seeds", 1)
    assert result.code == 1
    assert "another process is working on this trial" in result.err
    assert temper("run", tiny, "--method", "natural", "--seeds", 1).code == 0


def test_a_full_disk_loses_nothing(tiny, temper, board, here):
    """The limit on file sizes acts as a full disk: the run ends with one line, and a later one finishes it."""
    _, trial = trial_of(tiny, "pgd-at")
    code = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]));"
    code += "import sys; from bench.cli.main import run; sys.argv[0] = 'temper'; run()"
    command = [sys.executable, "-c", code, "run", str(tiny), "--method", "pgd-at", "--seeds", "1"]
    command += ["--leaderboards", str(board), "--checkpoint-seconds", "0"]
    full = subprocess.run(command, capture_output=True, text=True)
    assert full.returncode == 1
    assert "no space left to write" in full.stderr
    assert "Traceback" not in full.stderr
    assert temper("run", tiny, "--method", "pgd-at", "--seeds", 1).code == 0
    assert read_record(trial_folder(board, trial)).status == "complete"


def test_a_damaged_checkpoint_is_named(tiny, temper, board):
    _, trial = trial_of(tiny)
    work = work_folder(board, trial)
    work.mkdir(parents=True)
    (work / "checkpoint.safetensors").write_bytes(b"no checkpoint")
    result = temper("run", tiny, "--method", "natural", "--seeds", 1)
    assert result.code == 1
    assert "checkpoint.safetensors is damaged" in " ".join(result.err.split())


def test_learning_curve_and_record_agree(tiny, temper, board, here):
    temper("run", tiny, "--method", "pgd-at", "--seeds", 1)
    _, trial = trial_of(tiny, "pgd-at")
    folder = trial_folder(board, trial)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    training = read_record(folder).training
    assert lines[-1]["step"] == training.steps
    assert lines[-1]["passes"] == pytest.approx(training.passes)
    assert training.passes <= training.allowed
    assert [c.step for c in training.curve] == sorted({c.step for c in training.curve})


def test_tensorboard_gets_the_losses(tiny, temper, tmp_path, here):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert temper("run", tiny, "-m", "natural", "--seeds", 1, "--tensorboard", tmp_path / "logs").code == 0
    (folder,) = (tmp_path / "logs").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    assert {"loss/student", "learning_rate"} <= set(events.Tags()["scalars"])
