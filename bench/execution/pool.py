"""Runs the stages of jobs in processes of their own, several jobs at a time, under one progress display."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.errors import Problem, Refused, TemperError
from bench.execution.job import STAGES, done
from bench.files import writing

Report = Callable[[str, float], None]  # stage, fraction of it done
SHARE = {"train": (0.0, 0.5), "evaluate": (0.5, 1.0)}  # of a job's bar
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Stopped(TemperError):
    """A stage ended before its time; what it had saved is kept."""


class Pool:
    """Up to `workers` jobs at a time. A job is a folder with a `job.json`; its stages run until all are done."""

    def __init__(self, workers: int, stages: Sequence[str] = STAGES) -> None:
        self.workers = workers
        self.stages = stages
        self._running: set[subprocess.Popen[str]] = set()
        self._stopping = threading.Event()
        self._guard = threading.Lock()

    def run(self, folders: Sequence[tuple[str, Path]], finish: Callable[[Path], None]) -> list[str]:
        """Take each (title, folder) through all stages, then call `finish(folder)`. Returns what went wrong.

        On KeyboardInterrupt the running stages save their state and the exception goes on.
        """
        problems: list[str] = []
        console = Console(stderr=True)
        with _bars(console) as bars, ThreadPoolExecutor(self.workers) as executor:
            overall = bars.add_task("all", total=len(folders), note="")
            pending = {executor.submit(self._job, bars, title, folder): (title, folder) for title, folder in folders}
            try:
                for future in as_completed(pending):
                    title, folder = pending[future]
                    try:
                        future.result()
                        finish(folder)
                        bars.console.print(f"{title}: done", highlight=False)
                    except TemperError as error:
                        problems.append(_problem(title, error))
                        bars.console.print(f"[red]{title}:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
                    bars.advance(overall)
            except KeyboardInterrupt:
                self._stop()
                console.print("stopped; progress is saved, and the same command continues", highlight=False)
                raise
        return problems

    def _job(self, bars: Progress, title: str, folder: Path) -> None:
        task = bars.add_task(title, total=1.0, note="")

        def report(stage: str, fraction: float) -> None:
            low, high = SHARE[stage]
            bars.update(task, completed=low + (high - low) * fraction, note=stage)

        try:
            for stage in self.stages:
                if not done(folder, stage):
                    self._stage(stage, folder, report)
        finally:
            bars.remove_task(task)

    def _stage(self, stage: str, folder: Path, report: Report) -> None:
        if self._stopping.is_set():
            raise Stopped("not started")
        command = [sys.executable, "-m", "bench.execution.worker", stage, str(folder)]
        with writing(folder), (folder / f"{stage}.log").open("w") as log:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | ONE_THREAD
            )
        with self._guard:
            self._running.add(process)
        last = deque(_events(process, stage, report), maxlen=1)
        code = process.wait()
        with self._guard:
            self._running.discard(process)
        if code:
            raise last[0] if last else Stopped(_why(stage, code, folder))

    def _stop(self) -> None:
        """Ask every running stage to save its state, and wait until it did."""
        self._stopping.set()
        with self._guard:
            running = list(self._running)
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _events(process: subprocess.Popen[str], stage: str, report: Report) -> Iterator[TemperError]:
    """The errors that a stage tells of; its progress goes to `report`."""
    assert process.stdout is not None
    for line in process.stdout:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if "refused" in event:
            yield Refused(event["refused"])
        elif "error" in event:
            yield Stopped(event["error"])
        elif "done" in event:
            report(stage, event["done"])


def _problem(title: str, error: TemperError) -> Problem:
    problem = Problem(f"{title}: {error}")
    problem.refused = isinstance(error, Refused)
    return problem


def _why(stage: str, code: int, folder: Path) -> str:
    if code in (130, -2, -15):
        return f"{stage} was interrupted; its state is saved, and the same command continues"
    if code == -9:
        return f"{stage} was killed (out of memory?); its state is saved, and the same command continues"
    return f"{stage} ended with exit code {code}; see {folder / stage}.log"


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )
