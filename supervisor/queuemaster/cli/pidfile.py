"""The master that a pid file names, for commands that read its status or signal it.

The number in the file proves nothing: files outlive processes, and pids get reused. The lock on the file does.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import psutil

from queuemaster.cli.output import Failure, Refusal
from queuemaster.config.sources import Compiled
from queuemaster.master.pidfile import PidFileError, owner

OF_THE_SERVICE = Path("/run/queuemaster/queuemaster.pid")  # where unit and init script put it


@dataclass(frozen=True)
class RunningMaster:
    """A master that is alive, or was when it was looked up."""

    process: psutil.Process
    pidfile: Path

    @property
    def pid(self) -> int:
        """The master's process id."""
        return self.process.pid

    def gone(self) -> bool:
        """Whether it has ended; a zombie has."""
        try:
            return not self.process.is_running() or self.process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; false if the master has just ended. Raises Failure when it belongs to another user."""
        try:
            self.process.send_signal(number)
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied as error:
            raise Failure(f"process {self.pid} of {self.pidfile} belongs to another user") from error
        return True

    def just_ended(self) -> Failure:
        """The error of a command that needed it alive."""
        return Failure(f"not running: the master of {self.pidfile} has just ended")


def pidfile_of(configuration: Compiled) -> Path:
    """The pid file that is named; else the default one, or the service's if only its master runs."""
    path = Path(configuration.settings.pidfile)
    is_named = any(value.option == "pidfile" and value.source != "default" for value in configuration.values)
    if is_named or _may_run(path) or not _may_run(OF_THE_SERVICE):
        return path
    return OF_THE_SERVICE


def _may_run(path: Path) -> bool:
    """Whether a master holds this file; true also when that cannot be seen: :func:`running_master` says why."""
    try:
        return owner(path) is not None
    except PidFileError:
        return True


def running_master(path: Path) -> RunningMaster:
    """The master of this pid file. Raises Failure when none runs, Refusal when the file is none of ours."""
    try:
        pid = owner(path)
        if pid is None:
            reason = (
                f"{path} is left from a master that has ended" if path.exists() else f"there is no {path}"
            )
            raise Failure(f"not running: {reason}")
        master = RunningMaster(psutil.Process(pid), path)
        # the lock again, now that the process is looked up: while it is held, the pid is not reused
        if owner(path) != pid:
            raise master.just_ended()
    except PidFileError as error:
        raise Refusal(f"{error}; expected the pid file of a running queuemaster (option pidfile)") from error
    except OSError as error:
        raise Refusal(f"pid file {path}: {error.strerror}; expected the pid file of a queuemaster") from error
    except (psutil.NoSuchProcess, OverflowError) as error:
        raise Refusal(
            f"pid file {path}: it is locked, but process {pid} does not exist here;"
            " is it another program's file, or of a master in another container?"
        ) from error
    return master
