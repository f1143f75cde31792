"""What we ask the kernel: names of processes, parents, death signals, processor time, memory."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import time
from typing import List, NamedTuple, Tuple

from .process import Process

try:
    from setproctitle import setproctitle
except ImportError:  # the application's environment need not have it
    setproctitle = None  # type: ignore[assignment]

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36


def _prctl(option: int, argument: object) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def set_title(title: str) -> None:
    """Set what ps shows; without setproctitle only the name of this thread, 15 characters of it."""
    if setproctitle is not None:
        setproctitle(title)
    else:
        _prctl(_PR_SET_NAME, title.replace("queuemaster: ", "qm:").encode()[:15])


def die_with_parent(parent: int, signum: int = signal.SIGTERM) -> bool:
    """Have the kernel send ``signum`` when our parent dies. False: ``parent`` is not our parent any more."""
    _prctl(_PR_SET_PDEATHSIG, int(signum))
    return os.getppid() == parent  # asked after arming: else a death in between goes unnoticed


def adopt_orphans() -> None:
    """Descendants whose parent exits become children of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def wait_for_parent(parent: int, seconds: float = 10.0) -> bool:
    """Wait until the kernel has made ``parent`` our parent (the process between us and it exits)."""
    deadline = time.monotonic() + seconds
    while os.getppid() != parent:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.0005)
    return True


def raise_descriptor_limit() -> None:
    """Let this process have as many open files as it may: by default that is fewer than there may be workers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def boot_id() -> str:
    """Changes with every boot: pids of another boot mean nothing."""
    with open("/proc/sys/kernel/random/boot_id") as stream:
        return stream.read().strip()


def start_time(pid: int) -> int:
    """Clock ticks from boot to the start of a process; 0 when there is none, or only a zombie."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in (b"Z", b"X") else 0


class Times(NamedTuple):
    """Nanoseconds; as exact as the kernel's ticks, of which there are a hundred a second."""

    used: int  # processor time of all threads, and of the children that ended and were waited for
    started: int  # CLOCK_MONOTONIC


def times(pid: int) -> Times:
    """Processor time and start of a process; zeros when there is none."""
    fields = _stat(pid)
    if not fields:
        return Times(0, 0)
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    # the kernel counts from boot, with the time that the machine was suspended
    suspended = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return Times(sum(map(int, fields[11:15])) * tick, int(fields[19]) * tick - suspended)


def resident_memory(pid: int) -> int:
    """Resident bytes of a process; 0 when there is none."""
    return _memory_pages(pid)[0] * os.sysconf("SC_PAGE_SIZE")


def private_memory(pid: int) -> int:
    """Resident bytes that are neither a file's nor shared memory; 0 when there is no such process."""
    resident, shared = _memory_pages(pid)
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def _stat(pid: int) -> List[bytes]:
    """The fields after the name, from the state on; none when there is no such process."""
    # the name may hold blanks and parentheses: count from the last one
    return _read_process_file(pid, "stat").rpartition(b")")[2].split()


def _memory_pages(pid: int) -> Tuple[int, int]:
    # not psutil: a worker may not have it, and it takes five times as long, which the master pays twice a second for
    # every worker with a limit
    fields = _read_process_file(pid, "statm").split()
    return (int(fields[1]), int(fields[2])) if fields else (0, 0)


def _read_process_file(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as stream:
            return stream.read()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def own_processor_time() -> int:
    """Nanoseconds that this process has used, with the children that ended and were waited for."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() + int((ended.ru_utime + ended.ru_stime) * 1e9)


def this_process() -> Process:
    """This process, as the database names it."""
    return Process(socket.gethostname(), boot_id(), os.getpid(), start_time(os.getpid()))
