"""The pid file as others than the master see it: who runs, told by the lock that the master holds on it.

The number alone proves nothing: files outlive processes, and pids get reused. A stale file is not locked.
"""

from __future__ import annotations

import fcntl
import re
from dataclasses import dataclass
from pathlib import Path

import psutil

from queuemaster.cli.output import Failure, Refusal

_CONTENT = re.compile(rb"(\d{1,10})\n?")


@dataclass(frozen=True)
class Running:
    """A master that is alive."""

    process: psutil.Process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def gone(self) -> bool:
        """Whether it has ended; one that only waits to be reaped has."""
        try:
            return not self.process.is_running() or self.process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


def find(path: Path) -> Running:
    """The master of this pid file. Raises Failure when none runs, Refusal when the file is not ours."""
    try:
        with path.open("rb") as stream:
            content = stream.read(64)
            match = _CONTENT.fullmatch(content)
            if match is None and content:
                raise Refusal(f"pidfile {path}: expected a process id alone; is it another program's?")
            if _unlocked(stream.fileno()):
                raise Failure(f"not running: {path} is left from a master that has ended")
            if match is None:
                raise Failure(f"a master is just starting, {path} is still empty: try again")
            process = psutil.Process(int(match[1]))
            # the lock again, now that the process is looked up: while it is held, the pid is not reused
            if _unlocked(stream.fileno()):
                raise Failure(f"not running: the master of {path} has just ended")
    except FileNotFoundError as error:
        raise Failure(f"not running: there is no pid file {path}") from error
    except OSError as error:
        raise Refusal(f"pidfile {path}: {error.strerror}; expected a readable file") from error
    except psutil.NoSuchProcess as error:
        raise Refusal(
            f"pidfile {path}: it is locked, but there is no process {error.pid} here;"
            " is it another program's file, or a master in another container?"
        ) from error
    return Running(process)


def _unlocked(fd: int) -> bool:
    # shared: two who look do not see each other
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True
