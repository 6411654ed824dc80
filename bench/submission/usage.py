"""What sandboxed processes use, as the kernel tells it: CPU time, memory, threads, files."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
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
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
            files = max(files, _files(Path(f"/proc/{pid}/root"), writable))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        ticks += sum(int(each) for each in fields[11:15])
        threads += int(fields[17])
        memory += pages * resource.getpagesize()
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), memory, threads, files)


def _files(root: Path, writable: Sequence[Path]) -> int:
    """How many files a process with this root has in the folders; none before it has a root of its own."""
    if root.stat().st_dev == Path("/").stat().st_dev:
        return 0
    folders = [root / place.relative_to("/") for place in writable]
    spaces = [os.statvfs(folder) for folder in folders if folder.is_dir()]
    return sum(space.f_files - space.f_ffree for space in spaces)


def _tree(first: int) -> Iterator[int]:
    """A process and all that descend from it, as far as it takes to find too many."""
    pending = [first]
    for _ in range(MOST):
        if not pending:
            return
        yield (pid := pending.pop())
        pending += _children(pid)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_bytes().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended meanwhile
    return found
