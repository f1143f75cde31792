"""What we ask of the kernel: names, parents, death signals."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import time
from typing import NamedTuple

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
    """What ps shows. Without setproctitle only the thread's name, 15 characters of it."""
    if setproctitle is not None:
        setproctitle(title)
    else:
        _prctl(_PR_SET_NAME, title.replace("queuemaster: ", "qm:").encode()[:15])


def die_with_parent(parent: int, signum: int = signal.SIGTERM) -> bool:
    """Have the kernel send ``signum`` when the parent dies. False: it is not ``parent`` any more."""
    _prctl(_PR_SET_PDEATHSIG, int(signum))
    return os.getppid() == parent  # after arming, else a death in between goes unnoticed


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


def boot_id() -> str:
    """Changes with every boot: pids of another boot mean nothing."""
    with open("/proc/sys/kernel/random/boot_id") as stream:
        return stream.read().strip()


def start_time(pid: int) -> int:
    """Clock ticks from boot to the start of ``pid``; 0 when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            # the name may hold blanks and parentheses: count from the last one
            fields = stream.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    if fields[0] in (b"Z", b"X"):
        return 0
    return int(fields[19])


def private_memory(pid: int) -> int:
    """Resident bytes that are not a file's or shared memory; 0 when there is no such process."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as stream:
            fields = stream.read().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


class Times(NamedTuple):
    """Nanoseconds; as exact as the kernel's ticks, of which there are a hundred a second."""

    used: int  # processor time of all threads, and of the children that ended and were waited for
    started: int  # CLOCK_MONOTONIC


def times(pid: int) -> Times:
    """Of a process; nothing when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return Times(0, 0)
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    # counted from boot, with the time that the machine was suspended
    suspended = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return Times(sum(map(int, fields[11:15])) * tick, int(fields[19]) * tick - suspended)


def own_processor_time() -> int:
    """Nanoseconds that this process has used, with the children that ended and were waited for."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() + int((ended.ru_utime + ended.ru_stime) * 1e9)


def this_process() -> Process:
    """This process, as the database names it."""
    return Process(socket.gethostname(), boot_id(), os.getpid(), start_time(os.getpid()))
