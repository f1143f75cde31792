"""The master that a pid file names, for commands that have something to tell it.

The number alone proves nothing: files outlive processes, and pids get reused. The lock on the file does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from queuemaster.cli.output import Failure, Refusal
from queuemaster.config.sources import Compiled
from queuemaster.master.pidfile import PidFileError, owner

OF_THE_SERVICE = Path("/run/queuemaster/queuemaster.pid")  # where unit and init script put it


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


def named(configuration: Compiled) -> Path:
    """The pid file to look at: the one that is named; else the default one, or the service's if only that one runs."""
    path = Path(configuration.settings.pidfile)
    given = any(value.option == "pidfile" and value.source != "default" for value in configuration.values)
    if given or _may_run(path) or not _may_run(OF_THE_SERVICE):
        return path
    return OF_THE_SERVICE


def _may_run(path: Path) -> bool:
    """Whether a master holds this file, or it cannot be told, which is said where it is looked at closely."""
    try:
        return owner(path) is not None
    except PidFileError:
        return True


def find(path: Path) -> Running:
    """The master of this pid file. Raises Failure when none runs, Refusal when the file is not ours."""
    try:
        pid = owner(path)
        if pid is None:
            left = f"{path} is left from a master that has ended" if path.exists() else f"there is no {path}"
            raise Failure(f"not running: {left}")
        process = psutil.Process(pid)
        # the lock again, now that the process is looked up: while it is held, the pid is not reused
        if owner(path) != pid:
            raise Failure(f"not running: the master of {path} has just ended")
    except PidFileError as error:
        raise Refusal(f"{error}; expected the pid file of a running queuemaster (option pidfile)") from error
    except OSError as error:
        raise Refusal(f"pid file {path}: {error.strerror}; expected the pid file of a queuemaster") from error
    except (psutil.NoSuchProcess, OverflowError) as error:
        raise Refusal(
            f"pid file {path}: it is locked, but process {pid} does not exist here;"
            " is it another program's file, or of a master in another container?"
        ) from error
    return Running(process)
