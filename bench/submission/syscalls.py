"""The calls of the kernel that a sandboxed process may not make, as a seccomp filter that bubblewrap installs."""

from __future__ import annotations

import errno
import os
from functools import cache

from bench.errors import TemperError

CLONE_THREAD = 0x00010000
UNKNOWN = -1  # the number of a call that this libseccomp has not heard of
PROCESSES = ("fork", "vfork")  # and `clone` that makes no thread
DENIED = (  # what no training needs: memory and messages that nobody counts, keys that outlive a process, the machine
    *("memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "semget", "msgget", "mq_open"),
    *("add_key", "keyctl", "request_key"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_open", "pidfd_getfd"),
    *("mount", "umount2", "unshare", "setns", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsmount"),
    *("fsconfig", "fspick", "mount_setattr", "open_by_handle_at", "name_to_handle_at", "fanotify_init", "quotactl"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "perf_event_open", "bpf"),
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff"),
    *("syslog", "acct", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname"),
)
SOCKETS = ("socket", "socketpair")  # the driver of a GPU may want some


@cache
def filter_problem() -> str:
    """Why no filter can be made on this machine; "" where one can."""
    try:
        os.close(filter_pipe(processes=False, sockets=False))
    except TemperError as error:
        return str(error)
    return ""


def filter_pipe(*, processes: bool, sockets: bool) -> int:
    """The filter in a pipe: the end from which `bwrap --seccomp` reads it. A denied call fails with EPERM.

    With `processes` it lets new ones start, with `sockets` it lets sockets be made. Raises TemperError where libseccomp
    is missing.
    """
    try:
        import pyseccomp as seccomp
    except (ImportError, OSError, RuntimeError) as error:
        raise TemperError(f"libseccomp cannot be used (apt-get install libseccomp2): {error}") from None
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    refuse = seccomp.ERRNO(errno.EPERM)
    for name in (*DENIED, *(() if sockets else SOCKETS), *(() if processes else PROCESSES)):
        if seccomp.resolve_syscall(seccomp.Arch.NATIVE, name) != UNKNOWN:
            rules.add_rule(refuse, name)
    if not processes:
        rules.add_rule(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, 0))
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")  # whose flags lie in memory: libraries fall back on clone
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        rules.export_bpf(pipe)
    return reading
