"""The sandbox against processes that do not want to end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.submission.sandbox import Refused, Sandbox, isolation_problem

pytestmark = pytest.mark.skipif(bool(isolation_problem()), reason=isolation_problem() or "-")
BOMBS = {  # as large as a machine bears where root runs them, whom the kernel does not limit
    "all fork": "import os, time\nfor _ in range(11): os.fork()\ntime.sleep(600)",
    "a chain": "import os, time\nfor _ in range(2000):\n    if os.fork(): break\ntime.sleep(600)",
    "parents end": "import os\nfor _ in range(100_000):\n    if os.fork() and os.getpid() > 3: os._exit(0)",
}


@pytest.mark.parametrize("name", BOMBS)
def test_processes_without_end_are_ended_and_none_stays(tmp_path: Path, name: str) -> None:
    mark = f"# {tmp_path}"
    started = time.monotonic()
    with pytest.raises(Refused, match="processes and threads"):
        Sandbox(tmp_path).run(["-c", f"{BOMBS[name]} {mark}"])
    assert time.monotonic() - started < 60
    assert _running(mark) == []


def _running(mark: str) -> list[str]:
    """The command lines that hold a mark."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if mark in line:
            found.append(line)
    return found
