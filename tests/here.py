"""Trials without processes of their own, each of which would import torch for seconds before it does anything."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.errors import TemperError


class _Now(Executor):
    """Runs what is submitted at once, in the caller's thread."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments, **options))
        except TemperError as error:
            future.set_exception(error)
        return future


class _Process:
    """A worker's process that is this one: what it tells, and its exit code."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        from bench.execution import judge, train, worker

        self.stdout: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            for module in (worker, train, judge):
                patch.setattr(module, "tell", lambda **event: self.stdout.append(json.dumps(event)))
            self.code = worker.main(command[-2], Path(command[-1]))

    def wait(self) -> int:
        return self.code


@contextmanager
def in_this_process() -> Iterator[None]:
    """Inside, the stages of jobs run in this process, one after another; signals and torch are left as found."""
    from bench.execution import pool

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    deterministic = torch.get_deterministic_debug_mode()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pool, "ThreadPoolExecutor", _Now)
            patch.setattr(pool, "subprocess", SimpleNamespace(Popen=_Process, PIPE=subprocess.PIPE))
            yield
    finally:
        torch.set_deterministic_debug_mode(deterministic)
        for number, handler in handlers.items():
            signal.signal(number, handler)
