"""What sandboxed processes use, as the kernel tells it: CPU time, memory, threads, files."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MOST = 4096  # processes and threads that are looked at, and that an ordinary user can start


@dataclass(frozen=True)
class Usage:
    """What processes use."""

    cpu_seconds: float  # with those of children that have ended and were waited for
    memory: int  # bytes
    threads: int
    files: int  # in the folders that they can write to


def usage_of(first: int, writable: Sequence[Path]) -> Usage:
    """What a process and all below it use now; `writable` are the folders where they can make files.

    `/proc` is read as bytes, for a process may call itself anything. Raises OSError or ValueError when that cannot be
    told.
    """
    ticks = memory = threads = files = 0
    for pid in _tree(first):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            ticks += sum(int(each) for each in fields[11:15])
            threads += int(fields[17])
        seen = [_task(task, writable) for task in _tasks(pid)]  # the first thread may have ended before the others
        memory += max((pages for pages, _ in seen), default=0) * resource.getpagesize()
        files = max([files, *(count for _, count in seen)])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), memory, threads, files)


def _task(task: Path, writable: Sequence[Path]) -> tuple[int, int]:
    """The pages of memory that a thread shares with the others of its process, and the files that they have made in the
    folders; 0 for one that has ended, and no files before it has a root of its own."""
    pages = files = 0
    with suppress(FileNotFoundError, ProcessLookupError):
        pages = int((task / "statm").read_bytes().split()[1])
        if (task / "root").stat().st_dev != Path("/").stat().st_dev:
            folders = [task / "root" / place.relative_to("/") for place in writable]
            spaces = [os.statvfs(folder) for folder in folders if folder.is_dir()]
            files = sum(space.f_files - space.f_ffree for space in spaces)
    return pages, files


def _tree(first: int) -> Iterator[int]:
    """A process and all that descend from it, as far as it takes to find too many."""
    pending = [first]
    for _ in range(MOST):
        if not pending:
            return
        yield (pid := pending.pop())
        pending += _children(pid)


def _tasks(pid: int) -> list[Path]:
    """The threads of a process."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in _tasks(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, (task / "children").read_bytes().split())
    return found
