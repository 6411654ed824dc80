"""An untrusted process in bubblewrap: no network, no other process, nothing of this machine that it can write, its own
environment, and limits that the kernel keeps and that are watched from outside."""

from __future__ import annotations

import ctypes
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bench.errors import Refused, TemperError
from bench.submission.shown import masked, readable, search_path
from bench.submission.syscalls import filter_pipe, filter_problem
from bench.submission.usage import MOST, Usage, usage_of
from bench.words import printable

POLL = 0.1  # seconds between two looks at what the process uses
SCRATCH, GIVEN = Path("/scratch"), Path("/given")  # what the folders of a sandbox are called inside it
MIB, GIB = 2**20, 2**30
WRITABLE = (SCRATCH, Path("/tmp"), Path("/dev/shm"))
SMALL = 64 * MIB  # bytes of each of them beside /scratch
PR_SET_CHILD_SUBREAPER = 36
KEPT = 4000  # bytes of what went to standard error
NOBODY = 65534  # who runs it, and its group, where root starts it

Read = Callable[[int], bytes]  # so many bytes of what follows a line
Hear = Callable[[bytes, Read], bytes | None]  # a line of output to what is written to standard input


@dataclass(frozen=True)
class Limits:
    """What a sandbox may use."""

    cpu_seconds: float = 3600
    seconds: float = 4 * 3600  # of the clock, sleep included
    memory: int = 6 * GIB  # bytes, without files
    processes: int = 1
    threads: int = 64  # of all processes together
    disk: int = GIB  # bytes in /scratch, which is memory too
    files: int = 100_000  # there and in the temporary folders
    output: int = 20_000_000  # bytes of lines on standard output, and of all on standard error


@cache
def isolation_problem() -> str:
    """Why there can be no sandbox on this machine; "" where there can."""
    for tool, package in (("bwrap", "bubblewrap"), ("setpriv", "util-linux"), ("prlimit", "util-linux")):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (apt-get install {package})"
    if problem := filter_problem():
        return problem
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        return "this kernel does not report the children of a process, so it cannot be watched"
    tried = subprocess.run(
        [*_namespaces(), "--ro-bind", "/", "/", "--", *_as_nobody(), "true"], capture_output=True, text=True
    )
    whom = "root cannot become an ordinary user in" if _root() else "bubblewrap cannot make"
    return "" if tried.returncode == 0 else f"{whom} namespaces here: {tried.stderr.strip()}"


@dataclass
class Sandbox:
    """Runs a command in /scratch, which is empty, bounded, and gone when it ends.

    It reads what it is `given`, files in /given by name, and Python with its packages and Temper's code; of the rest,
    of data sets inside packages, of records and of the home directory it sees nothing. All that it has to say goes
    through standard output. It runs as the user who starts it, and as nobody where that is root.
    """

    given: Mapping[str, Path] = field(default_factory=dict)
    limits: Limits = Limits()
    gpu: bool = False
    stopped: str = ""  # why it was ended
    errors: bytes = b""  # the last of what went to standard error
    cpu_seconds: float = 0.0
    peak_memory: int = 0  # bytes

    def run(self, command: Sequence[str], hear: Hear | None = None) -> tuple[int, str]:
        """Run to the end; returns the exit code and the last of what went to standard error.

        Each line of standard output goes to `hear`; what that returns goes to standard input. Raises Refused when
        a limit was passed, TemperError where there can be no sandbox.
        """
        if problem := isolation_problem():
            raise TemperError(f"no isolation: {problem}")
        with _adopting():
            return self._run(command, hear)

    def _run(self, command: Sequence[str], hear: Hear | None) -> tuple[int, str]:
        calls = filter_pipe(processes=self.limits.processes > 1, sockets=self.gpu)
        told, telling = os.pipe()
        outer = subprocess.Popen(
            [*self._isolated(calls, telling), *self._limited(), sys.executable, "-usP", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[calls, telling],
            env=self._environment(),
            start_new_session=True,
        )
        os.close(calls)
        os.close(telling)
        with os.fdopen(told, "rb") as file:
            first = json.loads(file.read() or b"{}").get("child-pid", outer.pid)
        ended = threading.Event()
        threads = [
            threading.Thread(target=self._watch, args=(first, ended), daemon=True),
            threading.Thread(target=self._listen, args=(outer, first), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            self._talk(outer, first, hear)
        except Refused:
            if not self.stopped:  # that is why it did not say all that it had to
                raise
        finally:
            try:
                self._look(first)
            finally:
                _kill(first)
                ended.set()
                for thread in threads:
                    thread.join()
                self._account(outer, first)
        if self.stopped:
            raise Refused(self.stopped)
        return outer.returncode, printable(self.errors.decode(errors="replace"))

    def _talk(self, outer: subprocess.Popen[bytes], first: int, hear: Hear | None) -> None:
        """Hear all that the process says, and answer it, until it ends or closes its standard output."""
        assert outer.stdout and outer.stdin
        said = 0
        while line := outer.stdout.readline(self.limits.output):
            said += len(line)
            if said > self.limits.output:
                self._stop(first, f"it printed more than {self.limits.output:,} bytes")
                return
            if hear and (reply := hear(line, outer.stdout.read)) is not None:
                try:
                    outer.stdin.write(reply)
                    outer.stdin.flush()
                except BrokenPipeError:
                    return
        os.waitid(os.P_PID, outer.pid, os.WEXITED | os.WNOWAIT)

    def _listen(self, outer: subprocess.Popen[bytes], first: int) -> None:
        """Hear what goes to standard error, and keep the end of it."""
        assert outer.stderr
        said = 0
        while text := os.read(outer.stderr.fileno(), 2**16):
            said += len(text)
            self.errors = (self.errors + text)[-KEPT:]
            if said > self.limits.output:
                self._stop(first, f"it printed more than {self.limits.output:,} bytes")
                return

    def _watch(self, first: int, ended: threading.Event) -> None:
        """Look at what is used until it has ended, and end it when that is too much, or cannot be told."""
        started, limits = time.monotonic(), self.limits
        try:
            while not ended.wait(POLL):
                used = self._look(first)
                for found, limit, words in (
                    (time.monotonic() - started, limits.seconds, "took longer than {:,.0f} seconds"),
                    (self.cpu_seconds, limits.cpu_seconds, "used more than {:,.0f} seconds of CPU time"),
                    (used.threads, limits.threads, "had more than {} processes and threads"),
                    (used.memory, limits.memory, "used more than {:,} bytes of memory"),
                    (used.files, limits.files, "made more than {:,} files"),
                ):
                    if found > limit:
                        self._stop(first, f"it {words.format(limit)}")
                        return
        except Exception as error:
            self._stop(first, f"it could not be watched any more: {type(error).__name__}: {error}")

    def _look(self, first: int) -> Usage:
        """Take down what is used now."""
        used = usage_of(first, WRITABLE)
        self.cpu_seconds = max(self.cpu_seconds, used.cpu_seconds)
        self.peak_memory = max(self.peak_memory, used.memory)
        return used

    def _account(self, outer: subprocess.Popen[bytes], first: int) -> None:
        """Wait for the end of all, and take what the kernel counted where that is more than was seen."""
        _, status, used = os.wait4(outer.pid, 0)
        outer.returncode = os.waitstatus_to_exitcode(status)
        counts = [used]
        with suppress(ChildProcessError):  # bubblewrap itself has waited for it, and its count is in its own
            counts.append(os.wait4(first, 0)[2])
        self.cpu_seconds = max(self.cpu_seconds, sum(each.ru_utime + each.ru_stime for each in counts))
        self.peak_memory = max(self.peak_memory, *(each.ru_maxrss * 1024 for each in counts))
        if self.cpu_seconds > self.limits.cpu_seconds:
            self.stopped = self.stopped or f"it used more than {self.limits.cpu_seconds:,.0f} seconds of CPU time"

    def _stop(self, first: int, why: str) -> None:
        self.stopped = self.stopped or why
        _kill(first)

    def _limited(self) -> list[str]:
        """Limits that the kernel keeps for each process, below those that are watched for all of them."""
        limits = self.limits
        cpu = "unlimited" if math.isinf(limits.cpu_seconds) else int(limits.cpu_seconds) + 60
        return [
            *_as_nobody(),
            *("prlimit", "--core=0", "--nofile=512", f"--nproc={MOST}", f"--cpu={cpu}"),
            *(f"--fsize={limits.disk}", f"--data={limits.memory}", "--"),
        ]

    def _isolated(self, calls: int, telling: int) -> list[str]:
        """bubblewrap and the file system that it builds. From the pipe `calls` it reads the filter of what may be
        called; into `telling` it writes which process is the first of its namespace."""
        scratch, temporary, shared = WRITABLE
        command = [*_namespaces(), "--info-fd", str(telling), "--size", str(MIB), "--tmpfs", "/"]
        command += [*_writable(scratch, self.limits.disk), *_writable(temporary, SMALL)]
        for path in readable():
            command += [*_parents(path), "--ro-bind", str(path), str(path)]
        for path in masked():
            command += _empty(path) if path.is_dir() else ["--ro-bind", os.devnull, str(path)]
        command += ["--proc", "/proc", *_empty(Path("/proc/sys")), "--dev", "/dev"]
        for device in sorted(Path("/dev").glob("nvidia*")) if self.gpu else ():
            command += ["--dev-bind", str(device), str(device)]
        command += ["--remount-ro", "/dev", *_writable(shared, SMALL)]
        for name, file in self.given.items():
            command += [*_parents(GIVEN / name), "--ro-bind", str(file.resolve()), str(GIVEN / name)]
        return [*command, "--remount-ro", "/", "--chdir", str(SCRATCH), "--seccomp", str(calls), "--"]

    def _environment(self) -> dict[str, str]:
        """Nothing of ours but where Temper's code is: no secret, no name of a folder of records."""
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        python = {"PYTHONPATH": os.pathsep.join(map(str, search_path())), "PYTHONDONTWRITEBYTECODE": "1"}
        return threads | python | {"PATH": "/usr/bin:/bin", "HOME": str(SCRATCH)}


def _root() -> bool:
    return os.geteuid() == 0


def _namespaces() -> list[str]:
    """bubblewrap with namespaces of its own. Root needs none for users: it becomes another one (`_as_nobody`)."""
    user = [*("--unshare-user", "--uid", "1000", "--gid", "1000", "--disable-userns")]
    become = [*("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")]
    return [
        *(shutil.which("bwrap") or "bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
        *("--unshare-cgroup-try", "--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *(become if _root() else user),
    ]


def _as_nobody() -> list[str]:
    """What makes root an ordinary user, for good, before anything else runs."""
    groups = ("--clear-groups", "--inh-caps=-all", "--no-new-privs", "--")
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", *groups] if _root() else []


def _parents(path: Path) -> list[str]:
    """The folders above a path, for anybody to go through: bubblewrap alone would keep them to root."""
    above = [str(each) for each in reversed(path.parents) if each != Path("/")]
    return [word for each in above for word in ("--perms", "0755", "--dir", each)]


def _writable(folder: Path, size: int) -> list[str]:
    """A folder that anybody can write so many bytes to."""
    return ["--perms", "1777", "--size", str(size), "--tmpfs", str(folder)]


def _empty(folder: Path) -> list[str]:
    return ["--tmpfs", str(folder), "--remount-ro", str(folder)]


def _kill(first: int) -> None:
    """End all: with the first process of a namespace the kernel kills those that live there, however many they are."""
    with suppress(ProcessLookupError):
        os.kill(first, signal.SIGKILL)


@contextmanager
def _adopting() -> Iterator[None]:
    """Inside, this process is whom the first process of a namespace falls to, which bubblewrap leaves without waiting
    for it: what it used is known to who does."""
    kernel = ctypes.CDLL(None, use_errno=True)
    if kernel.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise TemperError(f"this process cannot wait for its sandboxes: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        kernel.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
