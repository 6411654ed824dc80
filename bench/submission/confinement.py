"""The trusted side of a confined training: it hands in the training split, judges every candidate on validation itself,
and takes nothing but tensors that fit the student. What the method's process says of steps and passes is attested."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bench.data import load
from bench.errors import Refused, TemperError
from bench.execution.job import FAILURE, SURROUNDINGS, Job
from bench.execution.surroundings import surroundings
from bench.execution.train import make_deterministic
from bench.execution.worker import tell
from bench.files import replacing, write_text
from bench.registry import named_files
from bench.submission.confined import BESIDE, CHECKPOINT, DATA, JOB, SOURCE
from bench.submission.desk import Desk, on_gpu
from bench.submission.replay import Arrived, Replay
from bench.submission.sandbox import GIVEN, Limits, Read, Sandbox
from bench.submission.shown import search_path
from bench.submission.trail import Window
from bench.teachers import weights_path
from bench.words import printable

KINDS = ("offer", "file", "point", "checkpoint")  # of what is handed over with bytes
FAILURE_BYTES = 2000  # of the words for a failure


def run_confined(stage: str, job: Job, folder: Path, desk: Desk | Replay | None = None) -> dict[str, Any]:
    """Run a stage of `bench.submission.confined` on the method file in `folder`; returns all that it told.

    Raises Refused where a limit or the contract was broken, with the process's own words for what failed in it.
    """
    _inside(job).write(folder / "inside")
    given = {SOURCE: folder / SOURCE, DATA: _training_split(job, folder), JOB: folder / "inside" / JOB}
    given |= {name: weights_path(job.scenario, name) for name in job.scenario.teachers}
    given |= {f"{BESIDE}{number}.py": file for number, file in enumerate(_beside(folder))}
    if desk and (kept := desk.checkpoint).exists():
        given[CHECKPOINT] = kept
    listener = _Listener(desk)
    sandbox = Sandbox(given, desk.limits if desk else Limits(cpu_seconds=600, seconds=1800), on_gpu(job))
    if desk:
        desk.sandbox = sandbox
    try:
        code, errors = sandbox.run(["-m", "bench.submission.confined", stage], listener)
    finally:
        if desk:
            desk.save()
    if not listener.ready:
        raise _cannot_start(errors)
    if listener.error:
        raise Refused(listener.error)
    if code:
        last = errors.strip().splitlines()[-1:] or ["nothing on standard error"]
        raise Refused(f"its process ended with exit code {code}: {last[0][:500]}")
    return listener.told


def train_confined(job: Job, folder: Path) -> None:
    """The training stage of a submission, from `folder`/method.py to weights, `training.json` and audits."""
    make_deterministic()
    write_text(folder / SURROUNDINGS, surroundings(job.device).model_dump_json())
    started = time.perf_counter()
    desk = Desk.open(job, folder)
    run_confined("train", job, folder, desk)
    if FAILURE in desk.texts:
        failure = desk.texts[FAILURE][:FAILURE_BYTES].decode(errors="replace")
        write_text(folder / FAILURE, printable(failure).strip() + "\n")
        return
    seconds = time.perf_counter() - started
    arrived = {window: replayed(job, folder, desk, window) for window in set(desk.trail.windows.values())}
    desk.finish(seconds, arrived)


def replayed(job: Job, folder: Path, desk: Desk, window: Window) -> bool:
    """Whether a window of a training comes to the same bits when it is run again, in a fresh sandbox, where it cannot
    tell this from a training that was interrupted."""
    replay = Replay(desk, window)
    with suppress(Arrived):
        run_confined("train", job, folder, replay)
    return replay.arrived


@dataclass
class _Listener:
    """Hears what the process prints: JSON lines with progress, an error, results, or what a desk takes, whose bytes
    follow the line; the rest is noise."""

    desk: Desk | Replay | None
    error: str = ""
    ready: bool = False  # whether all that a stage needs was imported, before anything of the method ran

    def __post_init__(self) -> None:
        self.told: dict[str, Any] = {}

    def __call__(self, line: bytes, read: Read) -> bytes | None:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(event, dict):
            return None
        if "bytes" in event:
            return self._taken(event, read)
        if "ready" in event:
            self.ready = True
        elif "error" in event:
            self.error = printable(str(event["error"]))[:1000]
        elif "done" in event and isinstance(event["done"], int | float):
            tell(stage="train", done=float(min(1, max(0, event["done"]))))
        else:
            self.told |= event
        return None

    def _taken(self, event: Mapping[str, Any], read: Read) -> bytes | None:
        """What the desk answers to an event with its bytes. Raises Refused for more of them than there can be."""
        kind = next((each for each in KINDS if each in event), "")
        if self.desk is None or not kind:
            raise Refused("it handed something over that nobody asked for")
        limit, size = self.desk.most(kind), event["bytes"]
        if type(size) is not int or not 0 <= size <= limit:
            raise Refused(f"the {kind} that it hands over has more than {limit:,} bytes")
        content = read(size)
        if len(content) < size:
            raise Refused(f"it ended in the middle of the {kind} that it handed over")
        return self.desk.take(kind, event, content)


def _beside(folder: Path) -> list[Path]:
    """The files of `--file`, which hold what the scenario uses; not the submission itself."""
    return [file for file in named_files() if file.read_bytes() != (folder / SOURCE).read_bytes()]


def _cannot_start(errors: str) -> TemperError:
    """The error of a sandbox in which Temper itself does not start, from what went to standard error."""
    lines = errors.strip().splitlines() or ["nothing on standard error"]
    files = [line.split('"')[1] for line in lines if line.lstrip().startswith('File "')]
    where = f", in {files[-1]}" if files else ""
    seen = ", ".join(map(str, search_path()))
    return TemperError(
        f"Temper cannot start in its sandbox (no fault of the method): {lines[-1][:500]}{where}; it looks in {seen}: "
        "install Temper and its packages into one environment, or name theirs in PYTHONPATH"
    )


def _inside(job: Job) -> Job:
    """The job as the sandbox sees it: data and teachers are files there, nothing is logged outside."""
    scenario = job.scenario
    teachers = {
        name: spec if spec.zoo else spec.model_copy(update={"weights": str(GIVEN / name)})
        for name, spec in scenario.teachers.items()
    }
    return job.model_copy(update={"scenario": scenario.model_copy(update={"teachers": teachers}), "tensorboard": None})


def _training_split(job: Job, folder: Path) -> Path:
    """The training split as a file; zeros in the data-free track, which sees nothing of the data but its shape."""
    file = folder / DATA
    if not file.exists():
        train = load(job.scenario.data, ("train",))["train"]
        with replacing(file) as temporary:
            x, y = train.x.contiguous(), train.y.contiguous()
            if job.track == "data-free":
                x, y = torch.zeros_like(x), torch.zeros_like(y)
            save_file({"x": x, "y": y}, temporary)
    return file
