"""An untrusted process in bubblewrap: no network, no other processes, only the files that it needs, its own
environment, and limits that are watched from outside."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO

from bench.errors import Refused, TemperError
from bench.submission.shown import masked, readable, search_path
from bench.words import printable

POLL = 0.1  # seconds between two looks at what the processes use
MOST = 4096  # processes and threads that the kernel lets start between two looks, unless its user is root
SCRATCH, GIVEN = Path("/scratch"), Path("/given")  # what the folders of a sandbox are called inside it
GIB = 2**30
BLOCK, DEPTH = 4096, 16  # bytes that a file costs at least, and folders inside each other


Answer = Callable[[bytes], bytes | None]  # a line of output to what is written to standard input


@dataclass(frozen=True)
class Limits:
    """What the processes of a sandbox may use, all of them together."""

    cpu_seconds: float = 3600
    seconds: float = 4 * 3600  # of the clock, sleep included
    memory: int = 6 * GIB  # bytes
    processes: int = 64  # and threads
    disk: int = GIB  # bytes below the scratch folder
    output: int = 20_000_000  # bytes on standard output


@cache
def isolation_problem() -> str:
    """Why there can be no sandbox on this machine; "" where there can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (apt-get install bubblewrap)"
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        return "this kernel does not report the children of a process, so it cannot be watched"
    tried = subprocess.run([*_bwrap(), "--ro-bind", "/", "/", "--", "true"], capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"bubblewrap cannot make namespaces here: {tried.stderr.strip()}"


@dataclass
class Sandbox:
    """Runs `command` in `folder`, which it sees as /scratch and alone may write to.

    It reads what it is `given`, files in /given by name, and Python with its packages and Temper's code; of the rest,
    of data sets inside packages, of records and of the home directory it sees nothing.
    """

    folder: Path
    given: Mapping[str, Path] = field(default_factory=dict)
    limits: Limits = Limits()
    gpu: bool = False
    stopped: str = ""  # why the watcher ended it
    cpu_seconds: float = 0.0
    peak_memory: int = 0

    def run(self, command: Sequence[str], answer: Answer | None = None) -> tuple[int, str]:
        """Run to the end; returns the exit code and the last of what went to standard error.

        Each line of standard output goes to `answer`; what that returns goes to standard input. Raises Refused when
        a limit was passed, TemperError where there can be no sandbox.
        """
        if problem := isolation_problem():
            raise TemperError(f"no isolation: {problem}")
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [*self._limited(), *self._isolated(), sys.executable, "-usP", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self.folder,
                env=self._environment(),
                start_new_session=True,
            )
            watcher = threading.Thread(target=self._watch, args=(process, errors), daemon=True)
            watcher.start()
            try:
                self._talk(process, answer)
            finally:
                _kill(process)
                watcher.join()
            if self.stopped:
                raise Refused(self.stopped)
            return process.returncode, _end_of(errors)

    def _talk(self, process: subprocess.Popen[bytes], answer: Answer | None) -> None:
        """Read all that the process says, and answer it."""
        assert process.stdout and process.stdin
        said = 0
        while line := process.stdout.readline(self.limits.output):
            said += len(line)
            if said > self.limits.output:
                self._stop(process, f"it printed more than {self.limits.output:,} bytes")
                return
            if answer and (reply := answer(line)) is not None:
                try:
                    process.stdin.write(reply)
                    process.stdin.flush()
                except BrokenPipeError:
                    return
        process.wait()

    def _watch(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        """Look at what the processes use until they have ended, and end them when it is too much."""
        started = time.monotonic()
        own: dict[str, float] = {}  # seconds of CPU time of each process that was ever seen
        limits = self.limits
        while process.poll() is None:
            used = _usage(process.pid, limits.processes)
            own |= used.own
            self.peak_memory = max(self.peak_memory, used.memory)
            self.cpu_seconds = max(self.cpu_seconds, used.cpu_seconds, sum(own.values()))
            disk = used.unlinked + _disk(self.folder, limits.disk)
            for found, limit, words in (
                (time.monotonic() - started, limits.seconds, "took longer than {:,.0f} seconds"),
                (self.cpu_seconds, limits.cpu_seconds, "used more than {:,.0f} seconds of CPU time"),
                (used.threads, limits.processes, "had more than {} processes and threads"),
                (used.memory, limits.memory, "used more than {:,} bytes of memory"),
                (disk, limits.disk, "wrote more than {:,} bytes"),
                (os.fstat(errors.fileno()).st_size, limits.output, "printed more than {:,} bytes"),
            ):
                if found > limit:
                    self._stop(process, f"it {words.format(limit)}")
                    return
            time.sleep(POLL)

    def _stop(self, process: subprocess.Popen[bytes], why: str) -> None:
        self.stopped = self.stopped or why
        _kill(process)

    def _limited(self) -> list[str]:
        """Limits that the kernel keeps for each process, below those that are watched for all of them."""
        limits = self.limits
        return [
            *(
                shutil.which("prlimit") or "prlimit",
                "--core=0",
                "--nofile=512",
                f"--cpu={int(limits.cpu_seconds) + 60}",
            ),
            *(f"--fsize={limits.disk}", f"--data={limits.memory}", "--"),
        ]

    def _isolated(self) -> list[str]:
        """bubblewrap and the file system that it builds."""
        command = [*_bwrap(), "--tmpfs", "/", "--size", str(self.limits.disk), "--tmpfs", "/tmp"]
        for path in readable():
            command += ["--ro-bind", str(path), str(path)]
        for path in masked():
            empty = ["--tmpfs", str(path), "--remount-ro", str(path)]
            command += empty if path.is_dir() else ["--ro-bind", os.devnull, str(path)]
        command += ["--proc", "/proc", "--dev", "/dev"]
        for device in sorted(Path("/dev").glob("nvidia*")) if self.gpu else ():
            command += ["--dev-bind", str(device), str(device)]
        command += ["--remount-ro", "/dev"]
        command += ["--size", str(self.limits.disk), "--tmpfs", "/dev/shm"]
        command += ["--bind", str(self.folder.resolve()), str(SCRATCH)]
        for name, file in self.given.items():
            command += ["--ro-bind", str(file.resolve()), str(GIVEN / name)]
        command += ["--remount-ro", "/", "--chdir", str(SCRATCH), "--"]
        return [*command, "prlimit", f"--nproc={MOST}", "--"]

    def _environment(self) -> dict[str, str]:
        """Nothing of ours but where Temper's code is: no secret, no name of a folder of records."""
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        python = {"PYTHONPATH": os.pathsep.join(map(str, search_path())), "PYTHONDONTWRITEBYTECODE": "1"}
        return threads | python | {"PATH": "/usr/bin:/bin", "HOME": str(SCRATCH)}


@dataclass(frozen=True)
class _Usage:
    memory: int
    threads: int
    cpu_seconds: float  # with those of children that have ended and were waited for
    own: dict[str, float]  # without them, by process and start
    unlinked: int  # bytes of files that are open and in no folder


def _bwrap() -> list[str]:
    return [
        *(
            shutil.which("bwrap") or "bwrap",
            "--unshare-all",
            "--unshare-user",
            "--uid",
            "1000",
            "--gid",
            "1000",
            "--disable-userns",
        ),
        *("--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    ]


def _usage(root: int, enough: int) -> _Usage:
    """What a process and all below it use now; of more than `enough` processes and threads only the first ones."""
    memory = threads = ticks = 0
    own: dict[str, float] = {}
    files: dict[tuple[int, int], int] = {}
    hertz = os.sysconf("SC_CLK_TCK")
    for pid in _tree(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
        utime, stime, *waited_for = (int(fields[k]) for k in (11, 12, 13, 14))
        ticks += utime + stime + sum(waited_for)
        own[f"{pid} {fields[19]}"] = (utime + stime) / hertz
        threads += int(fields[17])
        memory += pages * resource.getpagesize()
        files |= _unlinked(pid)
        if threads > enough:
            break
    return _Usage(memory, threads, ticks / hertz, own, sum(files.values()))


def _unlinked(pid: int) -> dict[tuple[int, int], int]:
    """Bytes of the files that a process holds open and that no folder shows, by device and inode."""
    found = {}
    for handle in _names(Path(f"/proc/{pid}/fd")):
        try:
            about = handle.stat()
        except OSError:
            continue
        if stat.S_ISREG(about.st_mode) and not about.st_nlink:
            found[about.st_dev, about.st_ino] = about.st_blocks * 512
    return found


def _tree(root: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield root
    for child in _children(root):
        yield from _tree(child)


def _children(pid: int) -> Iterator[int]:
    for task in _names(Path(f"/proc/{pid}/task")):
        try:
            yield from map(int, (task / "children").read_text().split())
        except OSError:
            continue


def _names(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _disk(folder: Path, enough: int) -> float:
    """Bytes of all that lies below a folder, at least a block each, counted until it is `enough`; links are not
    followed. Infinite where folders are nested deeper than anybody needs, and may end beyond what can be named."""
    total = 0
    pending = [(str(folder), 0)]
    while pending and total <= enough:
        parent, depth = pending.pop()
        if depth > DEPTH:
            return float("inf")
        try:
            with os.scandir(parent) as entries:
                for entry in entries:
                    total += max(BLOCK, entry.stat(follow_symlinks=False).st_blocks * 512)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((entry.path, depth + 1))
        except OSError:
            continue
    return total


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it: with the first process of its namespace the kernel kills all that live there, however many they are."""
    if process.poll() is None:
        for pid in list(_children(process.pid)) or [process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
    process.wait()


def _end_of(file: IO[bytes], size: int = 4000) -> str:
    """The last of what was written to a file, as text without control characters."""
    file.seek(max(0, os.fstat(file.fileno()).st_size - size))
    return printable(file.read().decode(errors="replace"))
